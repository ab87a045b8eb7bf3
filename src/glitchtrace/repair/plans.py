"""A proposed repair, as arrays and as rows of ``repaired.parquet``."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.repair.actions import Action


@dataclass(frozen=True)
class Plan:
    """``actions`` (n,) of ``Action`` and the ``labels`` (n,) that the samples have afterwards."""

    actions: np.ndarray
    labels: np.ndarray

    @classmethod
    def of_answer(cls, answer: object, samples: int) -> "Plan":
        """The plan that a policy has answered.  Raises GlitchtraceError where it is none for so many samples."""
        parts = [np.asarray(part) for part in answer] if isinstance(answer, tuple) else []
        if [part.shape for part in parts] != [(samples,)] * 2 or any(
            part.dtype.kind not in "iu" for part in parts
        ):
            raise GlitchtraceError(
                f"propose returned no pair of {samples} actions and {samples} labels, whole numbers; return what "
                "repair.actions.resolve gives"
            )
        if not np.isin(parts[0], [int(action) for action in Action]).all():
            raise GlitchtraceError("propose returned an action that there is not; use repair.actions.Action")
        return cls(*parts)

    @property
    def kept(self) -> np.ndarray:
        """Samples to train on, bool (n,)."""
        result: np.ndarray = self.actions != Action.DROP
        return result

    @property
    def relabelled(self) -> int:
        """Number of samples with a new label."""
        return int((self.actions == Action.RELABEL).sum())

    @property
    def dropped(self) -> int:
        """Number of samples left out."""
        return int((self.actions == Action.DROP).sum())

    @property
    def changes_nothing(self) -> bool:
        """Whether every sample is kept as it is."""
        return bool((self.actions == Action.KEEP).all())

    def table(self, policy: str) -> pd.DataFrame:
        """The rows of ``repaired.parquet``: policy, sample, action by name, label."""
        names = np.array([action.label for action in Action])
        columns = {"policy": policy, "sample": np.arange(len(self.labels)), "action": names[self.actions]}
        return pd.DataFrame({**columns, "label": self.labels})


def read_plans(repaired: str | Path, *, samples: int) -> dict[str, Plan]:
    """The policies of ``repaired.parquet``, in their order, with their plans.

    Raises GlitchtraceError for a plan of another number of samples, and for one that drops them all.
    """
    plans = {}
    for policy, table in files.read_parquet(repaired).groupby("policy", sort=False):
        actions = table["action"].map({action.label: int(action) for action in Action})
        plan = Plan(actions.to_numpy(dtype=np.int8), table["label"].to_numpy())
        if len(plan.actions) != samples:
            raise GlitchtraceError(
                f"{repaired}: policy '{policy}' is for {len(plan.actions)} samples, the cell has {samples}; "
                f"delete {repaired} and repair the cell anew"
            )
        if not plan.kept.any():
            raise GlitchtraceError(
                f"{repaired}: policy '{policy}' drops all {samples} samples and leaves nothing to train on; "
                "lower the ratio of the glitch"
            )
        plans[str(policy)] = plan
    return plans

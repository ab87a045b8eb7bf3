"""What a repair policy may read: what is observed and how much is wrong, or the truth as well."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors.evidence import Detection
from glitchtrace.detectors.number import Number
from glitchtrace.evaluation.characterisation import coarse_kinds
from glitchtrace.glitches.kinds import Kind


@dataclass(frozen=True)
class Context:
    """What can be known of n samples under the known-ratio protocol.

    ``labels`` observed (n,) int64; ``detections``: detector → what it says, of those that the policies ask;
    ``numbers``: estimator → the number of wrong labels by it.  ``mislabelled`` and ``anomalous`` are the numbers of
    samples to relabel and to drop; corrupted samples and near duplicates count among the latter.  Which samples they
    are is not in here.
    """

    labels: np.ndarray
    detections: Mapping[str, Detection]
    numbers: Mapping[str, Number]
    mislabelled: int
    anomalous: int

    def detection(self, detector: str) -> Detection:
        """What one detector says; GlitchtraceError if no policy asks it."""
        if detector not in self.detections:
            raise GlitchtraceError(
                f"this repair needs the detector '{detector}'; name it in the card of the policy: "
                f'"uses": {{"detector": ["{detector}"]}}'
            )
        return self.detections[detector]

    def score(self, detector: str) -> np.ndarray:
        """The scores (n,) of one detector."""
        return self.detection(detector).scores

    def proposed_labels(self, detector: str) -> np.ndarray:
        """The labels (n,) that a detector proposes; GlitchtraceError if it proposes none."""
        found = self.detection(detector).proposed_labels
        if found is None:
            raise GlitchtraceError(f"the detector '{detector}' proposes no labels; repair by one that does")
        return found


@dataclass(frozen=True)
class RevealedContext(Context):
    """The same and the truth: ``kinds`` (n,) of ``Kind`` and ``true_labels`` (n,), −1 where there is none."""

    kinds: np.ndarray
    true_labels: np.ndarray

    def without_truth(self) -> Context:
        """The part that a policy without ``reveals_truth`` in its card is given."""
        return Context(**{field.name: getattr(self, field.name) for field in fields(Context)})


def make_context(
    samples: pd.DataFrame, detections: Mapping[str, Detection], numbers: Mapping[str, Number]
) -> RevealedContext:
    """The context of one cell, truth included, from its sample table and what detectors and estimators say."""
    kinds = samples["kind"].to_numpy()
    coarse = coarse_kinds(kinds)
    return RevealedContext(
        labels=samples["label"].to_numpy(),
        detections=detections,
        numbers=numbers,
        mislabelled=int((coarse == Kind.MISLABELLED).sum()),
        anomalous=int((coarse == Kind.ANOMALOUS).sum()),
        kinds=kinds,
        true_labels=samples["true_label"].to_numpy(),
    )

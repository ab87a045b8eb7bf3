"""What a repair policy may read: what is observed and how much is wrong, or the truth as well."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.evaluation.characterisation import coarse_kinds
from glitchtrace.evaluation.samples import read_samples, signal_names
from glitchtrace.glitches.kinds import Kind


@dataclass(frozen=True)
class Context:
    """What can be known of n samples under the known-ratio protocol.

    ``labels`` observed and ``proposed_labels`` (y⁻) are (n,) int64, ``verdicts`` (n,) of ``Kind``, ``scores``
    maps a signal to (n,) float64.  ``mislabelled`` and ``anomalous`` are the numbers of samples to relabel
    and to drop; corrupted samples and near duplicates count among the latter.  Which samples they are is not
    in here.
    """

    labels: np.ndarray
    proposed_labels: np.ndarray
    verdicts: np.ndarray
    scores: Mapping[str, np.ndarray]
    mislabelled: int
    anomalous: int

    def score(self, signal: str) -> np.ndarray:
        """The scores of one signal; GlitchtraceError if the cell has not scored it."""
        if signal not in self.scores:
            raise GlitchtraceError(
                f"this repair needs the signal '{signal}'; add it to 'signals' in the config"
            )
        return self.scores[signal]


@dataclass(frozen=True)
class RevealedContext(Context):
    """The same and the truth: ``kinds`` (n,) of ``Kind`` and ``true_labels`` (n,), −1 where there is none."""

    kinds: np.ndarray
    true_labels: np.ndarray

    def without_truth(self) -> Context:
        """The part that a policy without ``reveals_truth`` in its card is given."""
        return Context(**{field.name: getattr(self, field.name) for field in fields(Context)})


def read_context(signals: str | Path, glitch: str | Path) -> RevealedContext:
    """The context of one cell, truth included.

    Raises GlitchtraceError where the two files do not describe the same samples.
    """
    scored, samples = read_samples(signals, glitch)
    kinds = samples["kind"].to_numpy()
    coarse = coarse_kinds(kinds)
    return RevealedContext(
        labels=samples["label"].to_numpy(),
        proposed_labels=scored["proposed_label"].to_numpy(),
        verdicts=scored["verdict"].to_numpy(),
        scores={name: scored[name].to_numpy(dtype=np.float64) for name in signal_names(scored)},
        mislabelled=int((coarse == Kind.MISLABELLED).sum()),
        anomalous=int((coarse == Kind.ANOMALOUS).sum()),
        kinds=kinds,
        true_labels=samples["true_label"].to_numpy(),
    )

"""Which kind each detected glitch is: accuracies and confusion table.

Source: docs/methods/evaluation.md#kinds-told-apart.
"""

import math
from dataclasses import dataclass

import numpy as np

from glitchtrace.detectors.ranks import flag_top
from glitchtrace.glitches.kinds import Kind

KINDS = (Kind.CLEAN, Kind.MISLABELLED, Kind.ANOMALOUS)


@dataclass(frozen=True)
class Characterisation:
    """``confusion`` is (3, 3) counts, truth × predicted, both in the order clean, mislabelled, anomalous."""

    confusion: np.ndarray

    def count(self, kind: Kind) -> int:
        """Detected samples that truly are of this kind."""
        return int(self.confusion[KINDS.index(kind), 1:].sum())

    def accuracy(self, kind: Kind) -> float:
        """Share of the detected samples of this kind that are predicted as such; NaN if there are none."""
        count = self.count(kind)
        row = KINDS.index(kind)
        return int(self.confusion[row, row]) / count if count else math.nan


def coarse_kinds(kinds: np.ndarray) -> np.ndarray:
    """The kinds that a verdict tells apart: clean, mislabelled, and anomalous for every other glitch."""
    return np.where(kinds > Kind.MISLABELLED, np.int8(Kind.ANOMALOUS), kinds)


def characterise(
    cfrank: np.ndarray, verdicts: np.ndarray, kinds: np.ndarray, detected: int
) -> Characterisation:
    """Compare verdicts with the truth among the ``detected`` samples of highest CFRank.

    ``cfrank`` (n,) scores; ``verdicts`` (n,) of ``Kind``: mislabelled where the sample's CNCI rank is at
    least its PCID rank, else anomalous; ``kinds`` (n,) the truth.  A sample that is not detected is predicted
    clean.
    """
    predicted = np.where(flag_top(cfrank, detected), verdicts, np.int8(Kind.CLEAN))
    confusion = np.zeros((len(KINDS), len(KINDS)), dtype=np.int64)
    np.add.at(confusion, (coarse_kinds(kinds), predicted), 1)
    return Characterisation(confusion)

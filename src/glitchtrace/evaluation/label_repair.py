"""Whether the proposed labels are the original ones (docs/methods/evaluation.md#label-repair)."""

import math

import numpy as np

from glitchtrace.glitches.kinds import Kind


def label_repair_accuracy(
    proposed: np.ndarray, true_labels: np.ndarray, kinds: np.ndarray, detected: np.ndarray | None = None
) -> tuple[float, int]:
    """Share of truly mislabelled samples whose proposed label is the original one, and how many there are.

    ``proposed`` and ``true_labels`` (n,) labels, ``kinds`` (n,) of ``Kind``.  All mislabelled samples count,
    or only those that are also in ``detected``, bool (n,).  NaN and 0 where there are none.
    """
    considered = kinds == Kind.MISLABELLED
    if detected is not None:
        considered &= detected
    count = int(considered.sum())
    return float(np.mean(proposed[considered] == true_labels[considered])) if count else math.nan, count

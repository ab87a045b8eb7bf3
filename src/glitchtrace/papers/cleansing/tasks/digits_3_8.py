"""Digits 3 (label 0) against 8 (label 1) of scikit-learn: the fidelity study without any download.

Not published.  Of 357 samples a third goes into each part.
"""

from pathlib import Path

import numpy as np

from glitchtrace.papers.cleansing.fidelity import Task

KIND = "fidelity_task"
CARD = {
    "label": "digits 3 / 8",
    "summary": "Digits 3 against 8, shipped with scikit-learn, pixels in [0, 1].",
}

_DIGITS = (3, 8)
_INK = 16  # the largest pixel value


def load(data_root: Path | None) -> Task:
    """All pictures of both digits, as vectors."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    chosen = np.isin(bunch.target, _DIGITS)
    return Task(bunch.data[chosen] / _INK, (bunch.target[chosen] == _DIGITS[1]).astype(np.int64))

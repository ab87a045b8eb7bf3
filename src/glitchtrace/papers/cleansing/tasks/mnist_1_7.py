"""MNIST digits 1 (label 0) against 7 (label 1), pixels in [0, 1], from the first 55,000 training pictures."""

from pathlib import Path

import numpy as np

from glitchtrace.data.datasets.idx import load_mnist
from glitchtrace.papers.cleansing.fidelity import Task

KIND = "fidelity_task"
CARD = {"label": "MNIST 1 / 7", "summary": "MNIST digits 1 against 7, pixels in [0, 1]."}

_ROWS, _DIGITS = 55_000, (1, 7)


def load(data_root: Path | None) -> Task:
    """All pictures of both digits, as vectors."""
    pool = load_mnist(data_root)
    labels = pool.labels[:_ROWS]
    chosen = np.isin(labels, _DIGITS)
    features = pool.features[:_ROWS][chosen].reshape(int(chosen.sum()), -1) / 255
    return Task(features, (labels[chosen] == _DIGITS[1]).astype(np.int64))

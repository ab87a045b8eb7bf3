"""MNIST 4 and 9: the two digits that are most easily mistaken for each other."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from glitchtrace.data.datasets import mnist
from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "The digits 4 and 9 of MNIST, official training and test part.",
    "modality": "image",
    "classes": 2,
    "rows": {"train": 11791, "test": 1991},
    "shape": [28, 28],
    "foreign": "fmnist",
    "greyscale": True,
    "convolution_size": None,
    "licence": "none stated by the authors",
    "citation": "LeCun et al.: Gradient-based learning applied to document recognition, Proc. IEEE, 1998",
}

DIGITS = (4, 9)


def load(data_root: Path | None) -> Pool:
    """The rows of the two digits in the order of MNIST; label 0 is the 4, label 1 the 9."""
    whole = mnist.load(data_root)
    chosen = np.isin(whole.labels, DIGITS)
    bounds = np.cumsum([0, *(int(chosen[slice(*rows)].sum()) for rows in whole.parts.values())]).tolist()
    return Pool(
        features=whole.features[chosen],
        labels=(whole.labels[chosen] == DIGITS[1]).astype(np.int64),
        class_names=tuple(str(digit) for digit in DIGITS),
        parts=dict(zip(whole.parts, pairwise(bounds), strict=True)),
        checksums=whole.checksums,
    )

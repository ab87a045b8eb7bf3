"""MNIST, the digits 1 and 7 only: RDIA's pictures."""

from pathlib import Path

import numpy as np

from glitchtrace.data.datasets import mnist
from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "The digits 7 (label 0) and 1 (label 1) of MNIST, without the first 100 training pictures.",
    "modality": "image",
    "classes": 2,
    "rows": {"train": 12983, "test": 2163},
    "shape": [28, 28],
    "foreign": "fmnist",
    "greyscale": True,
    "convolution_size": None,
    "licence": "none stated by the authors",
    "citation": "LeCun et al.: Gradient-based learning applied to document recognition, Proc. IEEE, 1998",
}

_NEGATIVE, _POSITIVE = 7, 1
_CUT = 100  # leading training pictures that the published program leaves out


def load(data_root: Path | None) -> Pool:
    """15,146 rows, the training part first, in the order of MNIST."""
    whole = mnist.load(data_root)
    first, last = whole.parts["train"]
    rows = np.flatnonzero(np.isin(whole.labels, (_NEGATIVE, _POSITIVE)))
    rows = rows[rows >= first + _CUT]
    training = int((rows < last).sum())
    return Pool(
        features=whole.features[rows],
        labels=(whole.labels[rows] == _POSITIVE).astype(np.int64),
        class_names=(str(_NEGATIVE), str(_POSITIVE)),
        parts={"train": (0, training), "test": (training, len(rows))},
        checksums=whole.checksums,
    )

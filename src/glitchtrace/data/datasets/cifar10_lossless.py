"""The 5,000 lossless CIFAR-10 pictures that lie in public repositories."""

from pathlib import Path

import numpy as np

from glitchtrace.data.cifar import CLASS_NAMES, read_arrays
from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, locate

KIND = "dataset"
CARD = {
    "summary": "CIFAR-10, lossless: official training pictures 0 … 3999 and test pictures 0 … 999.",
    "modality": "image",
    "classes": 10,
    "rows": {"train": 4000, "test": 1000},
    "shape": [32, 32, 3],
    "foreign": "fmnist",
    "greyscale": False,
    "convolution_size": None,
    "licence": "none stated by the authors; repositories of the pictures: MIT",
    "citation": "Krizhevsky: Learning multiple layers of features from tiny images, 2009",
}

PICTURES = RawFile(
    "CIFAR10/cifar10_lossless_5000.npz",
    "sha256:162bcb98d13a6fd8a07f72d011edd63417a739cf16ad3c0a5189eb1cf94c23f4",
)


def load(data_root: Path | None) -> Pool:
    """All 5,000 rows, the training part first; the file has no download."""
    train, train_labels, test, test_labels = read_arrays(
        locate(PICTURES, data_root), ("x_train", "y_train", "x_test", "y_test")
    )
    count = len(train) + len(test)
    return Pool(
        features=np.concatenate([train, test]),
        labels=np.concatenate([train_labels, test_labels]).astype(np.int64),
        class_names=CLASS_NAMES,
        parts={"train": (0, len(train)), "test": (len(train), count)},
        checksums={PICTURES.path: PICTURES.checksum},
    )

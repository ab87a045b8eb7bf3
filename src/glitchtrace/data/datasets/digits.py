"""Digits: 8 × 8 grey pictures of handwritten digits, shipped with scikit-learn."""

from pathlib import Path

import numpy as np

from glitchtrace.data.pool import Pool, array_checksum

KIND = "dataset"
CARD = {
    "summary": "Handwritten digits, 8 × 8 grey pixels, shipped with scikit-learn.",
    "modality": "image",
    "classes": 10,
    "rows": {"all": 1797},
    "shape": [8, 8],
    "foreign": "photo_patches",
    "greyscale": True,
    "convolution_size": 32,
    "licence": "CC BY 4.0",
    "citation": "Alpaydin, Kaynak: Optical recognition of handwritten digits, UCI repository, 1998",
}

_INK = 16  # the largest pixel value


def load(data_root: Path | None) -> Pool:
    """All 1,797 rows; pixels 0 … 16 become round(x·255/16)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    features = np.rint(bunch.images * 255 / _INK).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    return Pool(
        features=features,
        labels=labels,
        class_names=tuple(str(name) for name in bunch.target_names),
        parts={"all": (0, len(labels))},
        checksums={"arrays": array_checksum(features, labels)},
    )

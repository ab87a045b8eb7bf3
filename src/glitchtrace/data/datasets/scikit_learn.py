"""Datasets that scikit-learn ships or makes: small tables, digits, and patches of two photographs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.data.pool import Pool, Reader, array_checksum

KIND = "dataset"
CARDS = {
    "breast_cancer": {
        "summary": "Measurements of cell nuclei, malignant or benign, 30 columns, shipped with scikit-learn.",
        "modality": "table",
        "classes": 2,
        "rows": {"all": 569},
        "shape": [30],
        "licence": "CC BY 4.0",
        "citation": "Wolberg, Mangasarian, Street: Breast cancer Wisconsin (diagnostic), UCI repository, 1995",
        "source": "shipped with scikit-learn",
    },
    "digits": {
        "summary": "Handwritten digits, 8 × 8 grey pixels, shipped with scikit-learn.",
        "modality": "image",
        "classes": 10,
        "rows": {"all": 1797},
        "shape": [8, 8],
        "foreign": "photo_patches",
        "convolution_size": 32,
        "licence": "CC BY 4.0",
        "citation": "Alpaydin, Kaynak: Optical recognition of handwritten digits, UCI repository, 1998",
        "source": "shipped with scikit-learn",
    },
    "iris": {
        "summary": "Sepals and petals of three species of iris, 4 columns, shipped with scikit-learn.",
        "modality": "table",
        "classes": 3,
        "rows": {"all": 150},
        "shape": [4],
        "licence": "CC BY 4.0",
        "citation": "Fisher: The use of multiple measurements in taxonomic problems, 1936",
        "source": "shipped with scikit-learn",
    },
    "photo_patches": {
        "summary": "Patches, 16 × 16 colour pixels, of the two sample photographs shipped with scikit-learn.",
        "modality": "image",
        "classes": 2,
        "rows": {"all": 2080},
        "shape": [16, 16, 3],
        "foreign_only": True,
        "licence": "CC BY 2.0",
        "citation": "scikit-learn sample photographs china.jpg (danielbuechele) and flower.jpg (vultilion)",
        "source": "shipped with scikit-learn",
    },
    "synthetic": {
        "summary": "Four overlapping Gaussian blobs in the plane, 1000 points, made by scikit-learn.",
        "modality": "table",
        "classes": 4,
        "rows": {"all": 1000},
        "shape": [2],
        "licence": "none needed",
        "citation": "Teso et al.: Interactive label cleaning with example-based explanations, NeurIPS 2021",
        "source": "made by scikit-learn",
    },
    "wine": {
        "summary": "Chemical analysis of wines of three cultivars, 13 columns, shipped with scikit-learn.",
        "modality": "table",
        "classes": 3,
        "rows": {"all": 178},
        "shape": [13],
        "licence": "CC BY 4.0",
        "citation": "Aeberhard, Forina: Wine, UCI repository, 1992",
        "source": "shipped with scikit-learn",
    },
}

INK = 16  # the largest pixel value of the digits
SIDE = 16  # of a patch
CENTRES = ((-4, 4), (4, 4), (-4, -4), (4, -4))


def _shipped(name: str) -> Callable[[Path | None], Pool]:
    """The reader of a table that scikit-learn ships: all rows, as shipped."""

    def load(_: Path | None) -> Pool:
        from sklearn import datasets

        return from_table(getattr(datasets, f"load_{name}")())

    return load


def from_table(bunch: Any) -> Pool:
    """The ``Bunch`` of a table as a Pool with the single part ``all``."""
    features = np.ascontiguousarray(bunch.data, dtype=np.float32)
    labels = np.asarray(bunch.target, dtype=np.int64)
    return Pool(
        features=features,
        labels=labels,
        class_names=tuple(str(name) for name in bunch.target_names),
        parts={"all": (0, len(labels))},
        columns=tuple(str(name) for name in bunch.feature_names),
        checksums={"arrays": array_checksum(features, labels)},
    )


def load_digits(_: Path | None) -> Pool:
    """All 1,797 rows; pixels 0 … 16 become round(x·255/16)."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    features = np.rint(bunch.images * 255 / INK).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    return Pool(
        features=features,
        labels=labels,
        class_names=tuple(str(name) for name in bunch.target_names),
        parts={"all": (0, len(labels))},
        checksums={"arrays": array_checksum(features, labels)},
    )


def load_patches(_: Path | None) -> Pool:
    """All patches of a grid that begins in the upper left corner, row by row; the class is the photograph."""
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    patches = [_patches(photograph) for photograph in bunch.images]
    features = np.concatenate(patches)
    labels = np.repeat(np.arange(len(patches), dtype=np.int64), [len(group) for group in patches])
    return Pool(
        features=features,
        labels=labels,
        class_names=tuple(Path(name).stem for name in bunch.filenames),
        parts={"all": (0, len(labels))},
        checksums={"arrays": array_checksum(features, labels)},
    )


def _patches(photograph: np.ndarray) -> np.ndarray:
    """Whole, adjacent patches (N, SIDE, SIDE, 3) of a photograph (H, W, 3); the margin is left out."""
    rows, columns = (side // SIDE for side in photograph.shape[:2])
    grid = photograph[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE, 3)
    return grid.swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)


def load_blobs(_: Path | None) -> Pool:
    """1000 points around the four centres, standard deviation 2, always the same."""
    from sklearn.datasets import make_blobs

    points, labels = make_blobs(n_samples=1000, centers=CENTRES, cluster_std=2, random_state=1)
    return Pool(
        features=points.astype(np.float32),
        labels=labels.astype(np.int64),
        class_names=("red", "blue", "green", "yellow"),
        parts={"all": (0, len(labels))},
        columns=("x", "y"),
    )


COMPONENTS = {
    "breast_cancer": Reader(_shipped("breast_cancer")),
    "digits": Reader(load_digits),
    "iris": Reader(_shipped("iris")),
    "photo_patches": Reader(load_patches),
    "synthetic": Reader(load_blobs),
    "wine": Reader(_shipped("wine")),
}

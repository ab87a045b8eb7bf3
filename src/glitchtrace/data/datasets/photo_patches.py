"""Patches of scikit-learn's two sample photographs: a foreign source for small pictures."""

from pathlib import Path

import numpy as np

from glitchtrace.data.pool import Pool, array_checksum

KIND = "dataset"
CARD = {
    "summary": "Patches, 16 × 16 colour pixels, of the two sample photographs shipped with scikit-learn.",
    "modality": "image",
    "classes": 2,
    "rows": {"all": 2080},
    "shape": [16, 16, 3],
    "foreign": None,
    "foreign_only": True,
    "greyscale": False,
    "convolution_size": None,
    "licence": "CC BY 2.0",
    "citation": "scikit-learn sample photographs china.jpg (danielbuechele) and flower.jpg (vultilion)",
}

SIDE = 16


def load(data_root: Path | None) -> Pool:
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

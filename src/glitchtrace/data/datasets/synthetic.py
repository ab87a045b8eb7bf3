"""Synthetic: four Gaussian blobs in the plane, made by scikit-learn."""

from pathlib import Path

import numpy as np

from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "Four overlapping Gaussian blobs in the plane, 1000 points, made by scikit-learn.",
    "modality": "table",
    "classes": 4,
    "rows": {"all": 1000},
    "shape": [2],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "none needed",
    "citation": "Teso et al.: Interactive label cleaning with example-based explanations, NeurIPS 2021",
}

CENTRES = ((-4, 4), (4, 4), (-4, -4), (4, -4))


def load(data_root: Path | None) -> Pool:
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

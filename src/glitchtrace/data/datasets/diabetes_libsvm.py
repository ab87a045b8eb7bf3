"""Diabetes of the Pima, scaled, in the order of the LIBSVM data page."""

from pathlib import Path

import numpy as np

from glitchtrace.data.libsvm import binary_pool, find_libsvm, from_openml, load_libsvm, scaled
from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "Medical measurements, diabetes or not, 8 columns scaled to [−1, 1], LIBSVM's order of rows.",
    "modality": "table",
    "classes": 2,
    "rows": {"train": 500, "test": 268},
    "shape": [8],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "CC0",
    "citation": "Smith et al.: Using the ADAP learning algorithm to forecast the onset of diabetes mellitus, 1988",
}

PARTS = {"train": (0, 500), "test": (500, 768)}


def load(data_root: Path | None) -> Pool:
    """768 rows: ``LIBSVM/diabetes_scale`` of the data folder, else OpenML's dataset 37, scaled."""
    file = "diabetes_scale"
    if find_libsvm(file, data_root):
        return load_libsvm({"all": file}, data_root, columns=8, parts=PARTS)
    features, labels, origin = from_openml(file, 37, data_root)
    # LIBSVM's file labels healthy people +1 and the sick −1.
    return binary_pool(
        scaled(features),
        np.where(labels == "tested_positive", -1, 1),
        parts=PARTS,
        checksums={file: origin},
    )

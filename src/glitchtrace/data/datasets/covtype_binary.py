"""Forest cover in two classes, scaled: class 2 against the others."""

from pathlib import Path

import numpy as np

from glitchtrace.data.libsvm import binary_pool, find_libsvm, from_openml, load_libsvm, scaled
from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "Forest cover of two classes, 54 columns scaled to [0, 1]; the first 400,000 rows are the pool.",
    "modality": "table",
    "classes": 2,
    "rows": {"train": 400000, "test": 181012},
    "shape": [54],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "CC BY 4.0",
    "citation": "Collobert, Bengio, Bengio: A parallel mixture of SVMs for very large scale problems, 2002",
}

PARTS = {"train": (0, 400_000), "test": (400_000, 581_012)}


def load(data_root: Path | None) -> Pool:
    """581,012 rows: ``LIBSVM/covtype.libsvm.binary.scale`` of the data folder, else OpenML's dataset 293, scaled."""
    file = "covtype.libsvm.binary.scale"
    if find_libsvm(file, data_root):
        return load_libsvm({"all": file}, data_root, columns=54, parts=PARTS)
    features, labels, origin = from_openml(file, 293, data_root)
    unit = ((scaled(features) + 1) / 2).astype(np.float32)
    return binary_pool(unit, labels, parts=PARTS, checksums={file: origin})

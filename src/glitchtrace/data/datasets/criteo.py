"""Criteo: clicks on advertisements, a million hashed columns, sparse."""

from pathlib import Path

from glitchtrace.data.libsvm import load_libsvm
from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "Clicks on advertisements, 1,000,000 hashed columns, sparse; a sample of the rows will do.",
    "modality": "sparse",
    "classes": 2,
    "rows": {},
    "shape": None,
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "CC BY-NC-SA 4.0",
    "citation": "Juan et al.: Field-aware factorization machines for CTR prediction, RecSys, 2016",
}


def load(data_root: Path | None) -> Pool:
    """The rows of ``LIBSVM/criteo.train`` and ``LIBSVM/criteo.test`` of the data folder, as many as they hold."""
    files = {"train": "criteo.train", "test": "criteo.test"}
    return load_libsvm(files, data_root, columns=1_000_000, sparse=True)

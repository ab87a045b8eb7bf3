"""Avazu: clicks on advertisements in apps, a million hashed columns, sparse."""

from pathlib import Path

from glitchtrace.data.libsvm import load_libsvm
from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "Clicks on advertisements in apps, 1,000,000 hashed columns, sparse.",
    "modality": "sparse",
    "classes": 2,
    "rows": {},
    "shape": None,
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "none stated",
    "citation": "Juan et al.: Field-aware factorization machines for CTR prediction, RecSys, 2016",
}


def load(data_root: Path | None) -> Pool:
    """The rows of ``LIBSVM/avazu-app.tr`` and ``LIBSVM/avazu-app.val`` of the data folder, as many as they hold."""
    files = {"train": "avazu-app.tr", "test": "avazu-app.val"}
    return load_libsvm(files, data_root, columns=1_000_000, sparse=True)

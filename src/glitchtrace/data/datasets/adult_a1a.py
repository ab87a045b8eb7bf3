"""Adult as 123 binary columns (a1a): the larger file, published for testing, is the pool."""

from pathlib import Path

from glitchtrace.data.libsvm import load_libsvm
from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "Income above 50,000 $ or not, 123 binary columns; as published, the test file of a1a is the pool.",
    "modality": "table",
    "classes": 2,
    "rows": {"train": 30956, "test": 1605},
    "shape": [123],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "CC BY 4.0",
    "citation": "Platt: Fast training of support vector machines using sequential minimal optimization, 1998",
}


def load(data_root: Path | None) -> Pool:
    """32,561 rows of ``LIBSVM/a1a.t`` and ``LIBSVM/a1a`` of the data folder."""
    return load_libsvm({"train": "a1a.t", "test": "a1a"}, data_root, columns=123)

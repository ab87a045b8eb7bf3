"""News of two groups of topics, 1,355,191 word columns, sparse."""

from pathlib import Path

from glitchtrace.data.libsvm import load_libsvm
from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "Newsgroup texts of two groups of topics, 1,355,191 columns, sparse.",
    "modality": "sparse",
    "classes": 2,
    "rows": {"all": 19996},
    "shape": None,
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "none stated",
    "citation": "Keerthi, DeCoste: Fast solution of large scale linear SVMs, JMLR, 2005",
}


def load(data_root: Path | None) -> Pool:
    """19,996 rows of ``LIBSVM/news20.binary`` of the data folder."""
    return load_libsvm({"all": "news20.binary"}, data_root, columns=1_355_191, sparse=True)

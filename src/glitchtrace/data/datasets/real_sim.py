"""Real and simulated: Usenet articles on real or simulated vehicles, 20,958 word columns, sparse."""

from pathlib import Path

from glitchtrace.data.libsvm import load_libsvm
from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "Usenet articles on real against simulated cars and planes, 20,958 columns, sparse.",
    "modality": "sparse",
    "classes": 2,
    "rows": {"all": 72309},
    "shape": None,
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "none stated",
    "citation": "McCallum: SRAA: simulated/real/aviation/auto Usenet data, 1998",
}


def load(data_root: Path | None) -> Pool:
    """72,309 rows of ``LIBSVM/real-sim`` of the data folder."""
    return load_libsvm({"all": "real-sim"}, data_root, columns=20_958, sparse=True)

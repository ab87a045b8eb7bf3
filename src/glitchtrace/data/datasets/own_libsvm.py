"""Rows of a file of one's own in the libsvm format, two classes, sparse."""

from pathlib import Path

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.libsvm import FOLDER, find_libsvm, load_libsvm
from glitchtrace.data.pool import Pool

KIND = "dataset"
CARD = {
    "summary": "A file of one's own in the libsvm format, two classes, as many columns as it uses, sparse.",
    "modality": "sparse",
    "classes": 2,
    "rows": {},
    "shape": None,
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "that of the file",
    "citation": "none",
}
FILE = "own"


def load(data_root: Path | None) -> Pool:
    """The rows of ``LIBSVM/own`` of the data folder, plain or packed; what replaces it wants another results folder.

    Raises GlitchtraceError where there is no such file.
    """
    if find_libsvm(FILE, data_root) is None:
        raise GlitchtraceError(
            f"own_libsvm: there is no file {FOLDER}/{FILE} in the data folder; put yours there and set "
            "data_root (GLITCHTRACE_DATA) to that folder"
        )
    return load_libsvm({"all": FILE}, data_root, columns=None, sparse=True)

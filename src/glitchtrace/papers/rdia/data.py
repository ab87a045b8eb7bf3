"""A cell of RDIA in memory: rows as numbers, dense or sparse, with their labels.

Features are taken as they are: pixels as x/255, tables and sparse rows unscaled, as in the published program.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.cells import held_out
from glitchtrace.data.description import read_description
from glitchtrace.data.sparse import read_sparse
from glitchtrace.data.split import TEST, VALIDATION
from glitchtrace.glitches.kinds import Kind

if TYPE_CHECKING:
    from glitchtrace.papers.rdia.regression import Matrix


# Share of entries that are not 0 below which csr is faster than a dense matrix (measured on MNIST: 0.19, 2.5 times).
SPARSE_BELOW = 0.3


@dataclass(frozen=True)
class Rows:
    """Samples: ``X`` (n, d) float64, dense or csr, and ``labels`` (n,) int64."""

    X: "Matrix"
    labels: np.ndarray


@dataclass(frozen=True)
class Cell:
    """Training and validation samples with observed labels, clean test samples.

    ``mislabelled``: (n,) bool, which observed labels are wrong; for evaluation, and its sum for methods at the
    known ratio.
    """

    train: Rows
    mislabelled: np.ndarray
    validation: Rows
    test: Rows
    classes: int


def load_cell(*, features: Sequence[str], split: str, glitch: str) -> Cell:
    """The cell of a split and a sample table.

    ``features``: the file of the host, ``features.npy`` or ``features.npz`` (sparse).  Raises GlitchtraceError
    where the table has samples of another source.
    """
    parts, table = files.read_parquet(split), files.read_parquet(glitch)
    folder = Path(features[0]).parent
    if (table["source"] != folder.name).any():
        raise GlitchtraceError(f"{glitch} has samples from outside {folder.name}; RDIA repairs labels only")
    labels = files.read_npy(folder / "labels.npy", memory_mapped=True)
    read = _reader(features[0])
    beside = {
        part: Rows(read(rows), own) for part, (rows, own) in held_out(parts, table, labels, split).items()
    }
    return Cell(
        train=Rows(read(table["row"].to_numpy()), table["label"].to_numpy(np.int64)),
        mislabelled=(table["kind"] == Kind.MISLABELLED).to_numpy(),
        validation=beside[VALIDATION],
        test=beside[TEST],
        classes=len(read_description(folder / "source.json")["classes"]),
    )


def _reader(path: str) -> Callable[[np.ndarray], "Matrix"]:
    """A function that reads rows of one file of features."""
    if path.endswith(".npz"):
        sparse = read_sparse(path)
        return lambda rows: sparse[rows].astype(np.float64)
    stored = files.read_npy(path, memory_mapped=True)

    def dense(rows: np.ndarray) -> np.ndarray:
        flat = stored[rows].reshape(len(rows), math.prod(stored.shape[1:]))
        # Division in float32 gives the published pixels to the last bit.
        scaled = flat.astype(np.float32) / np.float32(255) if flat.dtype == np.uint8 else flat
        return _compact(scaled.astype(np.float64))

    return dense


def _compact(X: np.ndarray) -> "Matrix":
    """The same rows as csr where that makes products cheaper, as of pictures that are mostly background."""
    from scipy.sparse import csr_matrix

    return csr_matrix(X) if np.count_nonzero(X) < SPARSE_BELOW * X.size else X

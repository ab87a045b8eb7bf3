"""Sparse features on disk: the three arrays of a csr matrix in one npz file, without pickle."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glitchtrace.core.files import replacing
from glitchtrace.data.raw_files import read_arrays

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_ARRAYS = ("data", "indices", "indptr", "shape")


def write_sparse(matrix: "csr_matrix", target: str | Path) -> None:
    """Write a csr matrix as npz; the same matrix gives the same bytes."""
    with replacing(target) as temporary, open(temporary, "wb") as stream:
        np.savez(
            stream,
            data=matrix.data,
            indices=matrix.indices,
            indptr=matrix.indptr,
            shape=np.array(matrix.shape),
        )


def read_sparse(path: str | Path) -> "csr_matrix":
    """The csr matrix of an npz file.  Raises GlitchtraceError where it is none such."""
    from scipy.sparse import csr_matrix

    data, indices, indptr, shape = read_arrays(Path(path), _ARRAYS)
    return csr_matrix((data, indices, indptr), shape=tuple(shape))

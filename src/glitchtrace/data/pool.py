"""All rows of one base dataset, as its module loads them."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.raw_files import RawFile


@dataclass(frozen=True)
class Pool:
    """All rows of one base dataset.

    ``features``: pictures uint8 (N, H, W) or (N, H, W, 3), a table float32 (N, d), or a csr matrix float32 (N, d)
    of a sparse dataset.  ``labels``: int64 (N,) in 0 … K−1.  ``class_names``: K names.  ``parts``: part -> (first
    row, row after the last), where the parts follow each other and cover all rows.  ``columns``: names of a
    table's d columns, None for pictures and sparse rows.  ``categories``: categorical column -> names of its
    categories, where the column holds their codes 0, 1, …
    ``checksums``: "algorithm:digest" of each raw file.
    """

    features: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    parts: Mapping[str, tuple[int, int]]
    columns: tuple[str, ...] | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)

    def check(self, name: str) -> None:
        """Raise GlitchtraceError, with the dataset's name, where features or labels cannot be used."""
        stored: Any = self.features
        if hasattr(stored, "indptr"):
            # A row of a sparse matrix is as finite as the values that it stores.
            finite = np.isfinite(stored.data)
            row = (
                0 if finite.all() else int(np.searchsorted(stored.indptr, finite.argmin(), side="right")) - 1
            )
            if not finite.all():
                raise GlitchtraceError(
                    f"dataset {name}: features of row {row} are NaN or infinite; fill in or remove such rows"
                )
            stored = stored.data
        for what, values in (("features", stored), ("labels", self.labels)):
            problem = _problem_of_values(values)
            if problem:
                raise GlitchtraceError(f"dataset {name}: {what} {problem}")
        problem = _problem_of_labels(self.labels, self.features.shape[0], self.class_names)
        problem = problem or _problem_of_columns(self.features, self.columns, self.categories)
        if problem:
            raise GlitchtraceError(f"dataset {name}: {problem}")


@dataclass(frozen=True)
class Reader:
    """A dataset as a component.

    ``load`` gives its pool from the data folder, None where there is none; ``files`` are its raw files.
    """

    load: Callable[[Path | None], Pool]
    files: tuple[RawFile, ...] = ()


def _problem_of_values(values: np.ndarray) -> str | None:
    if values.dtype.kind not in "uif":
        return f"are not numeric ({values.dtype}); encode them as numbers"
    # Integers are finite by type: pictures need no scan.
    if values.dtype.kind == "f":
        finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        if not finite.all():
            return f"of row {int(finite.argmin())} are NaN or infinite; fill in or remove such rows"
    return None


def _problem_of_labels(labels: np.ndarray, rows: int, class_names: tuple[str, ...]) -> str | None:
    classes = len(class_names)
    if labels.dtype.kind == "f":
        return f"labels are not integers ({labels.dtype}); number the classes 0 … {classes - 1}"
    if labels.shape != (rows,):
        return f"{rows} rows of features but labels of shape {labels.shape}; give one label per row"
    if classes < 2:
        return f"{classes} class; at least 2 are needed"
    if rows and not 0 <= labels.min() <= labels.max() < classes:
        return (
            f"labels run from {labels.min()} to {labels.max()}, outside 0 … {classes - 1}; "
            "renumber the classes or name all of them"
        )
    counts = np.bincount(labels, minlength=classes)
    if counts.min() < 2:
        scarce = int(counts.argmin())
        return (
            f"class '{class_names[scarce]}' has {counts[scarce]} sample(s), at least 2 are needed; "
            "add samples or remove the class"
        )
    return None


def _problem_of_columns(
    features: np.ndarray, columns: tuple[str, ...] | None, categories: Mapping[str, tuple[str, ...]]
) -> str | None:
    if columns is None:
        return f"categories of {', '.join(categories)}, but no columns; name them" if categories else None
    if features.ndim != 2 or len(columns) != features.shape[1]:
        return (
            f"{len(columns)} names of columns for features of shape {features.shape}; name each column once"
        )
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        return f"two columns are named '{twice}'; give each a name of its own"
    for name, known in categories.items():
        if name not in columns:
            return f"categories of '{name}', which is no column; known: {', '.join(columns)}"
        codes = features[:, columns.index(name)]
        wrong = (codes != np.floor(codes)) | (codes < 0) | (codes >= len(known))
        if wrong.any():
            row = int(wrong.argmax())
            return (
                f"column '{name}' holds {codes[row]:g} in row {row}, which is no code of its {len(known)} "
                "categories; number them from 0"
            )
    return None


def array_checksum(*arrays: np.ndarray) -> str:
    """SHA-256 over the bytes of arrays, for data without a raw file of their own."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return f"sha256:{digest.hexdigest()}"

"""Datasets in the libsvm text format: ``label index:value …``, one row per line, two classes.

The files are those of the LIBSVM data page, unpacked or as .gz or .bz2, in the folder ``LIBSVM`` of the data folder.
They are published without checksums, so none is demanded; those found are recorded.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import cache_folder, checksum

FOLDER = "LIBSVM"
_SUFFIXES = ("", ".gz", ".bz2")


def load_libsvm(
    files: Mapping[str, str],
    data_root: Path | None,
    *,
    columns: int | None,
    sparse: bool = False,
    parts: Mapping[str, tuple[int, int]] | None = None,
    class_names: Sequence[str] = ("negative", "positive"),
) -> Pool:
    """All rows of the ``files`` (part -> name), one after the other, in float32; see ``locate_libsvm``.

    ``columns``: number of features, None for the largest index of a single file; ``parts``: divides the rows of a
    single file.  Labels become 0 and 1 in ascending order of their values.  Raises GlitchtraceError where a file
    is missing or not in the format, and where its labels are not of two values.
    """
    from scipy.sparse import vstack
    from sklearn.datasets import load_svmlight_file

    blocks, labels, bounds, checksums = [], [], {}, {}
    first = 0
    for part, name in files.items():
        path = locate_libsvm(name, data_root)
        try:
            rows, own = load_svmlight_file(str(path), n_features=columns, dtype=np.float32, zero_based=False)
        except (ValueError, OSError, EOFError) as error:
            raise GlitchtraceError(
                f"{path}: not in the libsvm format{f' with at most {columns} features' if columns else ''} "
                f"({' '.join(str(error).split())}); replace it by the original"
            ) from None
        blocks.append(rows)
        labels.append(own)
        bounds[part] = (first, first + rows.shape[0])
        first += rows.shape[0]
        checksums[name] = checksum(path, "sha256")
    features = vstack(blocks, format="csr") if len(blocks) > 1 else blocks[0]
    return binary_pool(
        features if sparse else features.toarray(),
        np.concatenate(labels),
        parts=parts or bounds,
        checksums=checksums,
        class_names=class_names,
    )


def binary_pool(
    features: Any,
    labels: np.ndarray,
    *,
    parts: Mapping[str, tuple[int, int]],
    checksums: Mapping[str, str],
    class_names: Sequence[str] = ("negative", "positive"),
) -> Pool:
    """Rows with labels of two values, which become 0 and 1 in ascending order.

    Raises GlitchtraceError for labels of another number of values, and for ``parts`` that are not all rows.
    """
    values, observed = np.unique(labels, return_inverse=True)
    if len(values) != 2:
        raise GlitchtraceError(f"labels have {len(values)} values, two are needed; use a file of two classes")
    last = max(end for _, end in parts.values())
    if last != features.shape[0]:
        raise GlitchtraceError(
            f"{features.shape[0]} rows where {last} are expected; replace the file by the original"
        )
    return Pool(
        features=features,
        labels=observed.astype(np.int64),
        class_names=tuple(class_names),
        parts=parts,
        columns=None
        if hasattr(features, "indptr")
        else tuple(f"x{n}" for n in range(1, features.shape[1] + 1)),
        checksums=checksums,
    )


def find_libsvm(name: str, data_root: Path | None) -> Path | None:
    """The file of that name, plain or packed, in ``LIBSVM`` of the data folder or the cache; None where absent."""
    folders = [folder / FOLDER for folder in (data_root, cache_folder()) if folder]
    candidates = [folder / f"{name}{suffix}" for folder in folders for suffix in _SUFFIXES]
    return next((path for path in candidates if path.is_file()), None)


def locate_libsvm(name: str, data_root: Path | None) -> Path:
    """The same.  Raises GlitchtraceError, with the place to put it, where it is absent."""
    found = find_libsvm(name, data_root)
    if found is None:
        place = (data_root or cache_folder()) / FOLDER / name
        raise GlitchtraceError(
            f"{name} is not at {place}; take it from the LIBSVM data page (binary classification), put it there, "
            "or set data_root (GLITCHTRACE_DATA) to the folder that has it"
        )
    return found


def from_openml(name: str, identifier: int, data_root: Path | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Features float32 (N, d), labels (N,) as text and "openml:identifier" of an OpenML dataset.

    Downloaded into the data folder by scikit-learn.  Raises GlitchtraceError where that fails.
    """
    from sklearn.datasets import fetch_openml

    home = (data_root or cache_folder()) / "openml"
    try:
        bunch = fetch_openml(data_id=identifier, data_home=str(home), as_frame=False, parser="liac-arff")
    except (OSError, ValueError) as error:
        raise GlitchtraceError(
            f"OpenML's dataset {identifier} cannot be had ({' '.join(str(error).split())}); put the libsvm file "
            f"{name} into {FOLDER} of the data folder (GLITCHTRACE_DATA)"
        ) from None
    features = bunch.data.toarray() if hasattr(bunch.data, "toarray") else bunch.data
    return features.astype(np.float32), np.asarray(bunch.target).astype(str), f"openml:{identifier}"


def scaled(features: np.ndarray) -> np.ndarray:
    """Columns scaled to [−1, 1] by their smallest and largest value, as LIBSVM's ``_scale`` files; constants to 0."""
    low, high = features.min(axis=0), features.max(axis=0)
    spread = np.where(high > low, high - low, 1)
    return np.where(high > low, 2 * (features - low) / spread - 1, 0).astype(np.float32)

"""Datasets in the libsvm text format: ``label index:value …``, one row per line, two classes.

The files are those of the LIBSVM data page, unpacked or as .gz or .bz2, in the folder ``LIBSVM`` of the data folder.
They are published without checksums, so none is demanded; those found are recorded.
"""

import bz2
import gzip
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.openml import fetch_arrays
from glitchtrace.data.pool import Pool, Reader
from glitchtrace.data.raw_files import RawFile, cache_folder, checksum, find, read_arrays

KIND = "dataset"
CARDS = {
    "adult_a1a": {
        "summary": "Income above 50,000 $ or not, 123 binary columns; as published, the test file of a1a is the pool.",
        "modality": "table",
        "classes": 2,
        "rows": {"train": 30956, "test": 1605},
        "shape": [123],
        "licence": "CC BY 4.0",
        "citation": "Platt: Fast training of support vector machines using sequential minimal optimization, 1998",
        "source": "LIBSVM data page, by hand: `LIBSVM/a1a.t` and `LIBSVM/a1a`",
    },
    "avazu_app": {
        "summary": "Clicks on advertisements in apps, 1,000,000 hashed columns, sparse.",
        "modality": "sparse",
        "classes": 2,
        "rows": {},
        "shape": None,
        "licence": "none stated",
        "citation": "Juan et al.: Field-aware factorization machines for CTR prediction, RecSys, 2016",
        "source": "LIBSVM data page, by hand: `LIBSVM/avazu-app.tr` and `LIBSVM/avazu-app.val`",
    },
    "cancer_libsvm": {
        "summary": "Cell samples, benign (0) or malignant (1), 10 columns scaled to [−1, 1], LIBSVM's order of rows.",
        "modality": "table",
        "classes": 2,
        "rows": {"train": 500, "test": 183},
        "shape": [10],
        "licence": "CC BY 4.0",
        "citation": "Wolberg: Breast cancer Wisconsin (original), UCI repository, 1990",
        "source": "LIBSVM data page, by hand: `LIBSVM/breast-cancer_scale`; else the table below",
    },
    "covtype_binary": {
        "summary": "Forest cover of two classes, 54 columns scaled to [0, 1]; the first 400,000 rows are the pool.",
        "modality": "table",
        "classes": 2,
        "rows": {"train": 400000, "test": 181012},
        "shape": [54],
        "licence": "CC BY 4.0",
        "citation": "Collobert, Bengio, Bengio: A parallel mixture of SVMs for very large scale problems, 2002",
        "source": "LIBSVM data page, by hand: `LIBSVM/covtype.libsvm.binary.scale`; else OpenML 293",
    },
    "criteo": {
        "summary": "Clicks on advertisements, 1,000,000 hashed columns, sparse; a sample of the rows will do.",
        "modality": "sparse",
        "classes": 2,
        "rows": {},
        "shape": None,
        "licence": "CC BY-NC-SA 4.0",
        "citation": "Juan et al.: Field-aware factorization machines for CTR prediction, RecSys, 2016",
        "source": "LIBSVM data page, by hand: `LIBSVM/criteo.train` and `LIBSVM/criteo.test`",
    },
    "diabetes_libsvm": {
        "summary": "Medical measurements, diabetes or not, 8 columns scaled to [−1, 1], LIBSVM's order of rows.",
        "modality": "table",
        "classes": 2,
        "rows": {"train": 500, "test": 268},
        "shape": [8],
        "licence": "CC0",
        "citation": "Smith et al.: Using the ADAP learning algorithm to forecast the onset of diabetes mellitus, 1988",
        "source": "LIBSVM data page, by hand: `LIBSVM/diabetes_scale`; else OpenML 37",
    },
    "news20_binary": {
        "summary": "Newsgroup texts of two groups of topics, 1,355,191 columns, sparse.",
        "modality": "sparse",
        "classes": 2,
        "rows": {"all": 19996},
        "shape": None,
        "licence": "none stated",
        "citation": "Keerthi, DeCoste: Fast solution of large scale linear SVMs, JMLR, 2005",
        "source": "LIBSVM data page, by hand: `LIBSVM/news20.binary`",
    },
    "own_libsvm": {
        "summary": "A file of one's own in the libsvm format, two classes, as many columns as it uses, sparse.",
        "modality": "sparse",
        "classes": 2,
        "rows": {},
        "shape": None,
        "licence": "that of the file",
        "citation": "none",
        "source": "your own file",
        "files": ["LIBSVM/own*"],
    },
    "real_sim": {
        "summary": "Usenet articles on real against simulated cars and planes, 20,958 columns, sparse.",
        "modality": "sparse",
        "classes": 2,
        "rows": {"all": 72309},
        "shape": None,
        "licence": "none stated",
        "citation": "McCallum: SRAA: simulated/real/aviation/auto Usenet data, 1998",
        "source": "LIBSVM data page, by hand: `LIBSVM/real-sim`",
    },
}

FOLDER = "LIBSVM"
_SUFFIXES = ("", ".gz", ".bz2")
OWN = "own"
CANCER = RawFile(
    "tabular/breast_cancer_libsvm_scale.npz",
    "sha256:b14bff29ac710ea3900e42401bd2c773516220ab9631cb351a65691aa58047f8",
)
_CANCER_PARTS = {"train": (0, 500), "test": (500, 683)}
_DIABETES_PARTS = {"train": (0, 500), "test": (500, 768)}
_COVTYPE_PARTS = {"train": (0, 400_000), "test": (400_000, 581_012)}


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
                f"({_fault(path, columns) or ' '.join(str(error).split())}); mend that line"
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


def _fault(path: Path, columns: int | None) -> str | None:
    """The first line that is not ``label index:value …`` with ascending indices from 1; None where all are."""
    opened: Callable[..., Any] = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)  # type: ignore[assignment]
    try:
        with opened(path, "rb") as stream:
            for number, line in enumerate(stream, start=1):
                reason = _fault_of(line.partition(b"#")[0].split(), columns)
                if reason:
                    return f"line {number}: {reason}"
    except (OSError, EOFError):
        return None
    return None


def _fault_of(words: Sequence[bytes], columns: int | None) -> str | None:
    last = 0
    for place, word in enumerate(words):
        text = word.decode("utf-8", "replace")[:40]
        index, colon, value = word.partition(b":")
        try:
            float(value if place else word)
            number = int(index) if place else 1
        except ValueError:
            return f"'{text}' is no {'index:value' if place else 'label'}"
        if place and (not colon or number <= last):
            return f"index {number} after {last}; indices begin at 1 and ascend"
        if place and columns and number > columns:
            return f"index {number} of {columns} columns"
        last = number if place else last
    return None


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


def scaled(features: np.ndarray) -> np.ndarray:
    """Columns scaled to [−1, 1] by their smallest and largest value, as LIBSVM's ``_scale`` files; constants to 0."""
    low, high = features.min(axis=0), features.max(axis=0)
    spread = np.where(high > low, high - low, 1)
    return np.where(high > low, 2 * (features - low) / spread - 1, 0).astype(np.float32)


def load_cancer(data_root: Path | None) -> Pool:
    """683 rows: ``LIBSVM/breast-cancer_scale`` of the data folder, else the same as arrays."""
    names = ("benign", "malignant")
    file = "breast-cancer_scale"
    arrays = None if find_libsvm(file, data_root) else find(CANCER, data_root)
    if arrays is None:
        # Where neither is at hand, what is asked for is the file that is published.
        return load_libsvm({"all": file}, data_root, columns=10, parts=_CANCER_PARTS, class_names=names)
    features, labels = read_arrays(arrays, ("data", "label"))
    checksums = {CANCER.path: CANCER.checksum}
    return binary_pool(features, labels, parts=_CANCER_PARTS, checksums=checksums, class_names=names)


def load_covtype(data_root: Path | None) -> Pool:
    """581,012 rows: ``LIBSVM/covtype.libsvm.binary.scale`` of the data folder, else OpenML's dataset 293, scaled."""
    file = "covtype.libsvm.binary.scale"
    if find_libsvm(file, data_root):
        return load_libsvm({"all": file}, data_root, columns=54, parts=_COVTYPE_PARTS)
    features, labels, origin = fetch_arrays(file, 293, data_root)
    unit = ((scaled(features) + 1) / 2).astype(np.float32)
    return binary_pool(unit, labels, parts=_COVTYPE_PARTS, checksums={file: origin})


def load_diabetes(data_root: Path | None) -> Pool:
    """768 rows: ``LIBSVM/diabetes_scale`` of the data folder, else OpenML's dataset 37, scaled."""
    file = "diabetes_scale"
    if find_libsvm(file, data_root):
        return load_libsvm({"all": file}, data_root, columns=8, parts=_DIABETES_PARTS)
    features, labels, origin = fetch_arrays(file, 37, data_root)
    # LIBSVM's file labels healthy people +1 and the sick −1.
    return binary_pool(
        scaled(features),
        np.where(labels == "tested_positive", -1, 1),
        parts=_DIABETES_PARTS,
        checksums={file: origin},
    )


def load_own(data_root: Path | None) -> Pool:
    """The rows of ``LIBSVM/own`` of the data folder, plain or packed.

    Raises GlitchtraceError where there is no such file.
    """
    if find_libsvm(OWN, data_root) is None:
        raise GlitchtraceError(
            f"own_libsvm: there is no file {FOLDER}/{OWN} in the data folder; put yours there and set "
            "data_root (GLITCHTRACE_DATA) to that folder"
        )
    return load_libsvm({"all": OWN}, data_root, columns=None, sparse=True)


def _published(train: str, test: str | None = None, *, columns: int, sparse: bool = True) -> Reader:
    """The reader of one or two published files, as many rows as they hold."""
    files = {"train": train, "test": test} if test else {"all": train}
    return Reader(partial(load_libsvm, files, columns=columns, sparse=sparse))


COMPONENTS = {
    # As published, the larger file, made for testing, is the pool.
    "adult_a1a": _published("a1a.t", "a1a", columns=123, sparse=False),
    "avazu_app": _published("avazu-app.tr", "avazu-app.val", columns=1_000_000),
    "cancer_libsvm": Reader(load_cancer, (CANCER,)),
    "covtype_binary": Reader(load_covtype),
    "criteo": _published("criteo.train", "criteo.test", columns=1_000_000),
    "diabetes_libsvm": Reader(load_diabetes),
    "news20_binary": _published("news20.binary", columns=1_355_191),
    "own_libsvm": Reader(load_own),
    "real_sim": _published("real-sim", columns=20_958),
}

"""Tables of named columns: Adult, German credit, Jannis, Epsilon.

Adult are persons of the 1994 census of the USA, German credit applicants of a bank; Jannis is an anonymous table of
the AutoML challenge, Epsilon an artificial one of the Pascal large scale learning challenge.
"""

import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.openml import fetch_frame
from glitchtrace.data.pool import Pool, Reader
from glitchtrace.data.raw_files import RawFile, find, locate, read_arrays
from glitchtrace.data.tables import encode, read_frame

if TYPE_CHECKING:
    import pandas as pd

KIND = "dataset"
CARDS = {
    "adult": {
        "summary": "Adult census records, income above or below 50,000 dollars, 6 numeric and 8 categorical columns.",
        "modality": "table",
        "classes": 2,
        "rows": {"train": 32561, "test": 16281},
        "shape": [104],
        "licence": "CC BY 4.0",
        "citation": "Becker, Kohavi: Adult, UCI repository, 1996",
        "source": "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/",
    },
    "epsilon": {
        "summary": "Epsilon, all rows: an artificial table of two classes, 2,000 numeric columns, with a test part.",
        "modality": "table",
        "classes": 2,
        "rows": {"train": 400000, "test": 100000},
        "shape": [2000],
        "licence": "none stated",
        "citation": "Sonnenburg et al.: Pascal large scale learning challenge, 2008",
        # The features are 3.8 GiB.
        "memory_mib": 6000,
        "source": "https://storage.mds.yandex.net/get-devtools-opensource/250854/epsilon.tar.gz",
    },
    "epsilon_sample": {
        "summary": "Epsilon, 100 training and 100 test rows of 2,000 numeric columns: for smoke tests only.",
        "modality": "table",
        "classes": 2,
        "rows": {"train": 100, "test": 100},
        "shape": [2000],
        "licence": "none stated",
        "citation": "Sonnenburg et al.: Pascal large scale learning challenge, 2008",
        "source": "none to download: the file lies in the data folder",
    },
    "german": {
        "summary": "German credit applicants, good or bad risks, 7 numeric and 13 categorical columns.",
        "modality": "table",
        "classes": 2,
        "rows": {"all": 1000},
        "shape": [59],
        "licence": "CC BY 4.0",
        "citation": "Hofmann: Statlog (German credit data), UCI repository, 1994",
        "source": "https://archive.ics.uci.edu/ml/machine-learning-databases/statlog/german/german.data",
    },
    "jannis": {
        "summary": "Jannis, all rows: an anonymous table of four classes, 54 numeric columns, from OpenML.",
        "modality": "table",
        "classes": 4,
        "rows": {"all": 83733},
        "shape": [54],
        "licence": "public on OpenML, none stated by the authors",
        "citation": "Guyon et al.: Analysis of the AutoML challenge series 2015-2018, AutoML, Springer, 2019",
        "source": "OpenML 41168",
    },
    "jannis_sample": {
        "summary": "Jannis, validation and test part of the usual split, 36 % of all rows; 54 numeric columns.",
        "modality": "table",
        "classes": 4,
        "rows": {"all": 30145},
        "shape": [54],
        "licence": "none stated",
        "citation": "Guyon et al.: Analysis of the AutoML challenge series 2015-2018, AutoML, Springer, 2019",
        "source": "none to download: the file lies in the data folder",
    },
}

# --- Adult

ADULT = RawFile(
    "tabular/adult.parquet", "sha256:b3a00c1777f349fe9fdaacbabc8847fdf9aac529046522085e8db2ea0b9e5025"
)
ADULT_OFFICIAL = {
    "train": RawFile("adult/adult.data", "md5:5d7c39d7b8804f071cdd1f2a7c460872"),
    "test": RawFile("adult/adult.test", "md5:35238206dfdf7f1fe215bbb874adecdc"),
}
ADULT_ADDRESS = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/"

ADULT_COLUMNS = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
)
ADULT_CATEGORICAL = (
    "workclass",
    "education",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "native-country",
)
ADULT_CLASSES: dict[object, str] = {"<=50K": "<=50K", ">50K": ">50K"}
ADULT_TRAINING = 32561


def load_adult(data_root: Path | None) -> Pool:
    """All 48,842 rows, the official training part first: from the data folder, else the files of UCI.

    Unknown workclass, occupation and native-country are a category of their own.
    """
    import pandas as pd

    table = find(ADULT, data_root)
    if table:
        frame, raw_files = read_frame(table), [ADULT]
    else:
        raw_files = list(ADULT_OFFICIAL.values())
        paths = [locate(raw, data_root, _address(raw)) for raw in raw_files]
        frame = pd.concat([read_adult(path) for path in paths], ignore_index=True)
    return encode(
        frame,
        origin=raw_files[0].path,
        columns=ADULT_COLUMNS,
        categorical=ADULT_CATEGORICAL,
        label="class",
        classes=ADULT_CLASSES,
        parts={"train": (0, ADULT_TRAINING), "test": (ADULT_TRAINING, len(frame))},
        checksums={raw.path: raw.checksum for raw in raw_files},
    )


def _address(raw: RawFile) -> Callable[[], list[str]]:
    return lambda: [ADULT_ADDRESS + Path(raw.path).name]


def read_adult(path: Path) -> "pd.DataFrame":
    """One of the official files: the test part begins with a remark, and ends its labels with a full stop."""
    import pandas as pd

    frame = pd.read_csv(
        path, header=None, names=[*ADULT_COLUMNS, "class"], skipinitialspace=True, na_values="?", comment="|"
    )
    return frame.assign(**{"class": frame["class"].str.rstrip(".")})


# --- German credit

GERMAN = RawFile(
    "tabular/german_credit.parquet", "sha256:0c40eaad2ccae2eff9b316458ca2bb7e23e8a5c71f8f9603fb43e93613596458"
)
GERMAN_OFFICIAL = RawFile("german/german.data", "md5:6b94c2e35480e671545e52a808a8a549")
GERMAN_ADDRESS = "https://archive.ics.uci.edu/ml/machine-learning-databases/statlog/german/german.data"

GERMAN_COLUMNS = (
    "checking_status",
    "duration",
    "credit_history",
    "purpose",
    "credit_amount",
    "savings_status",
    "employment",
    "installment_commitment",
    "personal_status",
    "other_parties",
    "residence_since",
    "property_magnitude",
    "age",
    "other_payment_plans",
    "housing",
    "existing_credits",
    "job",
    "num_dependents",
    "own_telephone",
    "foreign_worker",
)
GERMAN_NUMERIC = (
    "duration",
    "credit_amount",
    "installment_commitment",
    "residence_since",
    "age",
    "existing_credits",
    "num_dependents",
)
GERMAN_CLASSES: dict[object, str] = {1: "good", 2: "bad"}


def load_german(data_root: Path | None) -> Pool:
    """All 1,000 rows: from the data folder, else the file of UCI; categories have the codes of that file."""
    import pandas as pd

    table = find(GERMAN, data_root)
    if table:
        frame, raw = read_frame(table), GERMAN
    else:
        raw = GERMAN_OFFICIAL
        official = locate(raw, data_root, lambda: [GERMAN_ADDRESS])
        frame = pd.read_csv(official, header=None, names=[*GERMAN_COLUMNS, "class"], sep=" ")
    return encode(
        frame,
        origin=raw.path,
        columns=GERMAN_COLUMNS,
        categorical=[name for name in GERMAN_COLUMNS if name not in GERMAN_NUMERIC],
        label="class",
        classes=GERMAN_CLASSES,
        parts={"all": (0, len(frame))},
        checksums={raw.path: raw.checksum},
    )


# --- Jannis

JANNIS = RawFile(
    "tabular/jannis_sample30145.parquet",
    "sha256:8dda2699b9c2bfd5a7e14242c6d677a43744df538f00c1ff81c54c9bf162104e",
)
JANNIS_OPENML = 41168
JANNIS_COLUMNS = tuple(f"V{number}" for number in range(1, 55))
JANNIS_CLASSES: dict[object, str] = {number: str(number) for number in range(4)}


def load_jannis(data_root: Path | None) -> Pool:
    """All 83,733 rows in OpenML's order."""
    frame, checksums = fetch_frame("jannis", JANNIS_OPENML, data_root)
    frame["class"] = frame["class"].astype(str).astype(int)
    return encode(
        frame,
        origin=f"OpenML {JANNIS_OPENML}",
        columns=JANNIS_COLUMNS,
        categorical=(),
        label="class",
        classes=JANNIS_CLASSES,
        parts={"all": (0, len(frame))},
        checksums=checksums,
    )


def load_jannis_sample(data_root: Path | None) -> Pool:
    """All 30,145 rows; the file has no download."""
    frame = read_frame(locate(JANNIS, data_root))
    return encode(
        frame,
        origin=JANNIS.path,
        columns=JANNIS_COLUMNS,
        categorical=(),
        label="class",
        classes=JANNIS_CLASSES,
        parts={"all": (0, len(frame))},
        checksums={JANNIS.path: JANNIS.checksum},
    )


# --- Epsilon

EPSILON = RawFile(
    "tabular/epsilon_sample200.npz", "sha256:16be8184f10987ddcccfd7c1c80bdb2f4d956df347e45c2d7d277630705e7da7"
)
# The only form of it that is published with a checksum, by the authors of CatBoost.
EPSILON_ARCHIVE = RawFile("epsilon.tar.gz", "md5:5bbfac403ac673da7d7ee84bd532e973")
EPSILON_ADDRESS = "https://storage.mds.yandex.net/get-devtools-opensource/250854/epsilon.tar.gz"
_EPSILON_FILES = {"train.tsv": "train", "test.tsv": "test"}
_EPSILON_ROWS = {"train": 400_000, "test": 100_000}
EPSILON_CLASSES = ("-1", "+1")
EPSILON_COLUMNS = tuple(f"x{number}" for number in range(1, 2001))


def load_epsilon(data_root: Path | None) -> Pool:
    """All 500,000 rows, the training part first: from the data folder, else downloaded (about 12 GB)."""
    path = locate(EPSILON_ARCHIVE, data_root, lambda: [EPSILON_ADDRESS])
    features, labels = read_epsilon(path, _EPSILON_ROWS)
    return Pool(
        features=features,
        labels=labels,
        class_names=EPSILON_CLASSES,
        parts={"train": (0, _EPSILON_ROWS["train"]), "test": (_EPSILON_ROWS["train"], len(labels))},
        columns=EPSILON_COLUMNS,
        checksums={EPSILON_ARCHIVE.path: EPSILON_ARCHIVE.checksum},
    )


def read_epsilon(path: Path, rows: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 (N, 2000) and labels int64 (N,), 0 for −1 and 1 for +1, read line by line.

    Each line of a file is the label and the columns, divided by tabulators; ``rows``: part -> number of lines.
    Raises GlitchtraceError where the archive lacks a file or a file has other lines.
    """
    features = np.empty((sum(rows.values()), len(EPSILON_COLUMNS)), dtype=np.float32)
    labels = np.empty(len(features), dtype=np.int64)
    found = 0
    try:
        with tarfile.open(path, "r:gz") as archive:
            # Members in the archive's own order, so that it is unpacked once.
            for member in archive:
                part = _EPSILON_FILES.get(Path(member.name).name)
                if part is None:
                    continue
                start = 0 if part == "train" else rows["train"]
                row = start
                for row, line in enumerate(archive.extractfile(member), start=start):  # type: ignore[arg-type]
                    values = np.array(line.split(b"\t"), dtype=np.float32)
                    labels[row], features[row] = values[0] > 0, values[1:]
                if row + 1 != start + rows[part]:
                    raise ValueError(f"{member.name} has {row + 1 - start} rows, {rows[part]} expected")
                found += rows[part]
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, IndexError) as error:
        raise GlitchtraceError(
            f"{path}: not the expected archive ({error}); replace it by the original"
        ) from None
    if found != len(labels):
        raise GlitchtraceError(f"{path}: it lacks {' or '.join(_EPSILON_FILES)}; replace it by the original")
    return features, labels


def load_epsilon_sample(data_root: Path | None) -> Pool:
    """All 200 rows, the training part first; the file has no download."""
    train, train_labels, test, test_labels = read_arrays(
        locate(EPSILON, data_root), ("x_train", "y_train", "x_test", "y_test")
    )
    count = len(train) + len(test)
    return Pool(
        features=np.concatenate([train, test]).astype(np.float32),
        labels=(np.concatenate([train_labels, test_labels]) > 0).astype(np.int64),
        class_names=EPSILON_CLASSES,
        parts={"train": (0, len(train)), "test": (len(train), count)},
        columns=EPSILON_COLUMNS,
        checksums={EPSILON.path: EPSILON.checksum},
    )


COMPONENTS = {
    "adult": Reader(load_adult, (ADULT, *ADULT_OFFICIAL.values())),
    "epsilon": Reader(load_epsilon, (EPSILON_ARCHIVE,)),
    "epsilon_sample": Reader(load_epsilon_sample, (EPSILON,)),
    "german": Reader(load_german, (GERMAN, GERMAN_OFFICIAL)),
    "jannis": Reader(load_jannis),
    "jannis_sample": Reader(load_jannis_sample, (JANNIS,)),
}

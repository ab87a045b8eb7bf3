"""Adult: persons of the 1994 census of the USA, and whether they earn more than 50,000 dollars a year."""

from pathlib import Path
from typing import TYPE_CHECKING

from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, find, locate
from glitchtrace.data.tables import encode, read_frame

if TYPE_CHECKING:
    import pandas as pd

KIND = "dataset"
CARD = {
    "summary": "Adult census records, income above or below 50,000 dollars, 6 numeric and 8 categorical columns.",
    "modality": "table",
    "classes": 2,
    "rows": {"train": 32561, "test": 16281},
    "shape": [104],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "CC BY 4.0",
    "citation": "Becker, Kohavi: Adult, UCI repository, 1996",
}

TABLE = RawFile(
    "tabular/adult.parquet", "sha256:b3a00c1777f349fe9fdaacbabc8847fdf9aac529046522085e8db2ea0b9e5025"
)
OFFICIAL = {
    "train": RawFile("adult/adult.data", "md5:5d7c39d7b8804f071cdd1f2a7c460872"),
    "test": RawFile("adult/adult.test", "md5:35238206dfdf7f1fe215bbb874adecdc"),
}
ADDRESS = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/"

COLUMNS = (
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
CATEGORICAL = (
    "workclass",
    "education",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "native-country",
)
CLASSES: dict[object, str] = {"<=50K": "<=50K", ">50K": ">50K"}


def load(data_root: Path | None) -> Pool:
    """All 48,842 rows, the official training part first: from the data folder, else the files of UCI.

    Unknown workclass, occupation and native-country are a category of their own.
    """
    import pandas as pd

    table = find(TABLE, data_root)
    if table:
        frame, raw_files = read_frame(table), [TABLE]
    else:
        raw_files = list(OFFICIAL.values())
        frame = pd.concat([_read(_official(raw, data_root)) for raw in raw_files], ignore_index=True)
    rows = CARD["rows"]["train"]  # type: ignore[index]
    return encode(
        frame,
        origin=raw_files[0].path,
        columns=COLUMNS,
        categorical=CATEGORICAL,
        label="class",
        classes=CLASSES,
        parts={"train": (0, rows), "test": (rows, len(frame))},
        checksums={raw.path: raw.checksum for raw in raw_files},
    )


def _official(raw: RawFile, data_root: Path | None) -> Path:
    return locate(raw, data_root, lambda: [ADDRESS + Path(raw.path).name])


def _read(path: Path) -> "pd.DataFrame":
    """One of the official files: the test part begins with a remark, and ends its labels with a full stop."""
    import pandas as pd

    frame = pd.read_csv(
        path, header=None, names=[*COLUMNS, "class"], skipinitialspace=True, na_values="?", comment="|"
    )
    return frame.assign(**{"class": frame["class"].str.rstrip(".")})

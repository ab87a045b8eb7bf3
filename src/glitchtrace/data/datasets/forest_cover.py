"""Forest Cover: the kind of forest on patches of land, from maps; the official file, and a sample at hand."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.pool import Pool, Reader
from glitchtrace.data.raw_files import RawFile, locate
from glitchtrace.data.tables import check_columns, read_frame

KIND = "dataset"
CARDS = {
    "covtype": {
        "summary": "Forest Cover, all rows: seven kinds of forest, 10 numeric columns, wilderness area and soil type.",
        "modality": "table",
        "classes": 7,
        "rows": {"all": 581012},
        "shape": [54],
        "licence": "CC BY 4.0",
        "citation": "Blackard: Covertype, UCI repository, 1998",
        "source": "https://ndownloader.figshare.com/files/5976039",
    },
    "covtype_sample": {
        "summary": "Forest Cover, a stratified sample of 16 % of the rows; columns as in covtype.",
        "modality": "table",
        "classes": 7,
        "rows": {"all": 92962},
        "shape": [54],
        "licence": "CC BY 4.0; none stated by the repository of the sample",
        "citation": "Blackard: Covertype, UCI repository, 1998",
        "source": "none to download: the file lies in the data folder",
    },
}

OFFICIAL = RawFile(
    "covtype.data.gz", "sha256:614360d0257557dd1792834a85a1cdebfadc3c4f30b011d56afee7ffb5b15771"
)
# Where scikit-learn takes it from.
ADDRESS = "https://ndownloader.figshare.com/files/5976039"
SAMPLE = RawFile(
    "tabular/covtype_sample92962.parquet",
    "sha256:bdde8dfb4547ec17085292d1606481256de487c62a882c07688295cceaf8ebe6",
)
NUMERIC = (
    "Elevation",
    "Aspect",
    "Slope",
    "Horizontal_Distance_To_Hydrology",
    "Vertical_Distance_To_Hydrology",
    "Horizontal_Distance_To_Roadways",
    "Hillshade_9am",
    "Hillshade_Noon",
    "Hillshade_3pm",
    "Horizontal_Distance_To_Fire_Points",
)
WILDERNESS = ("Rawah", "Neota", "Comanche Peak", "Cache la Poudre")
SOILS = tuple(str(number) for number in range(1, 41))
CLASS_NAMES = (
    "spruce/fir",
    "lodgepole pine",
    "ponderosa pine",
    "cottonwood/willow",
    "aspen",
    "douglas-fir",
    "krummholz",
)
# Names of the 54 columns of the file and of the label.
FILE_COLUMNS = (
    *NUMERIC,
    *(f"Wilderness_Area{number}" for number in range(1, len(WILDERNESS) + 1)),
    *(f"Soil_Type{number}" for number in SOILS),
)
LABEL = "Cover_Type"


def load_all(data_root: Path | None) -> Pool:
    """All 581,012 rows in the official order: from the data folder, else downloaded."""
    path = locate(OFFICIAL, data_root, lambda: [ADDRESS])
    rows = read_rows(path)
    return fold(rows[:, :-1], rows[:, -1], path.name, {OFFICIAL.path: OFFICIAL.checksum})


def load_sample(data_root: Path | None) -> Pool:
    """All 92,962 rows; the file has no download."""
    frame = read_frame(locate(SAMPLE, data_root))
    check_columns(frame, [*FILE_COLUMNS, LABEL], SAMPLE.path)
    table, cover = frame[list(FILE_COLUMNS)].to_numpy(), frame[LABEL].to_numpy()
    return fold(table, cover, SAMPLE.path, {SAMPLE.path: SAMPLE.checksum})


def read_rows(path: Path) -> np.ndarray:
    """The official file as int16 (N, 55), the label last.  Raises GlitchtraceError where it is none such."""
    import pandas as pd

    try:
        rows = pd.read_csv(path, header=None, dtype=np.int16).to_numpy()
    except (ValueError, OSError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise GlitchtraceError(
            f"{path}: not the official file ({reason}); replace it by the original"
        ) from None
    if rows.shape[1] != len(FILE_COLUMNS) + 1:
        raise GlitchtraceError(
            f"{path}: {rows.shape[1]} columns, {len(FILE_COLUMNS) + 1} expected; replace it by the original"
        )
    return rows


def fold(table: np.ndarray, cover: np.ndarray, origin: str, checksums: Mapping[str, str]) -> Pool:
    """The table as a Pool: its 10 numbers, then wilderness area and soil type as one category each.

    ``table``: (N, 54) in the order of ``FILE_COLUMNS``, whose two groups of 0 and 1 become codes; ``cover``:
    (N,) labels 1 … 7.  Raises GlitchtraceError, naming ``origin``, where a row is not in exactly one category of
    each group.
    """
    features = np.empty((len(table), len(NUMERIC) + 2), dtype=np.float32)
    features[:, : len(NUMERIC)] = table[:, : len(NUMERIC)]
    first = len(NUMERIC)
    for position, names in enumerate((WILDERNESS, SOILS), start=len(NUMERIC)):
        group = table[:, first : first + len(names)]
        wrong = ((group != 0) & (group != 1)).any(axis=1) | (group.sum(axis=1) != 1)
        if wrong.any():
            raise GlitchtraceError(
                f"{origin}: row {int(wrong.argmax())} is not in exactly one of the columns "
                f"{FILE_COLUMNS[first]} … {FILE_COLUMNS[first + len(names) - 1]}; replace the file by the original"
            )
        features[:, position] = group.argmax(axis=1)
        first += len(names)
    return Pool(
        features=features,
        labels=cover.astype(np.int64) - 1,
        class_names=CLASS_NAMES,
        parts={"all": (0, len(table))},
        columns=(*NUMERIC, "Wilderness_Area", "Soil_Type"),
        categories={"Wilderness_Area": WILDERNESS, "Soil_Type": SOILS},
        checksums=checksums,
    )


COMPONENTS = {"covtype": Reader(load_all, (OFFICIAL,)), "covtype_sample": Reader(load_sample, (SAMPLE,))}

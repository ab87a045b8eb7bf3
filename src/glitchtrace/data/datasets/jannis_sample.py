"""Jannis: a sample of 36 % that lies in a public repository."""

from pathlib import Path

from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, locate
from glitchtrace.data.tables import encode, read_frame

KIND = "dataset"
CARD = {
    "summary": "Jannis, validation and test part of the usual benchmark split, 36 % of all rows; 54 numeric columns.",
    "modality": "table",
    "classes": 4,
    "rows": {"all": 30145},
    "shape": [54],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "none stated",
    "citation": "Guyon et al.: Analysis of the AutoML challenge series 2015-2018, AutoML, Springer, 2019",
}

TABLE = RawFile(
    "tabular/jannis_sample30145.parquet",
    "sha256:8dda2699b9c2bfd5a7e14242c6d677a43744df538f00c1ff81c54c9bf162104e",
)
COLUMNS = tuple(f"V{number}" for number in range(1, 55))
CLASSES: dict[object, str] = {number: str(number) for number in range(4)}


def load(data_root: Path | None) -> Pool:
    """All 30,145 rows; the file has no download."""
    frame = read_frame(locate(TABLE, data_root))
    return encode(
        frame,
        origin=TABLE.path,
        columns=COLUMNS,
        categorical=(),
        label="class",
        classes=CLASSES,
        parts={"all": (0, len(frame))},
        checksums={TABLE.path: TABLE.checksum},
    )

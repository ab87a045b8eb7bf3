"""Forest Cover: a stratified sample of 16 % that lies in public repositories."""

from pathlib import Path

from glitchtrace.data.forest_cover import FILE_COLUMNS, LABEL, fold
from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, locate
from glitchtrace.data.tables import check_columns, read_frame

KIND = "dataset"
CARD = {
    "summary": "Forest Cover, a stratified sample of 16 % of the rows; columns as in covtype.",
    "modality": "table",
    "classes": 7,
    "rows": {"all": 92962},
    "shape": [54],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "CC BY 4.0; none stated by the repository of the sample",
    "citation": "Blackard: Covertype, UCI repository, 1998",
}

TABLE = RawFile(
    "tabular/covtype_sample92962.parquet",
    "sha256:bdde8dfb4547ec17085292d1606481256de487c62a882c07688295cceaf8ebe6",
)


def load(data_root: Path | None) -> Pool:
    """All 92,962 rows; the file has no download."""
    frame = read_frame(locate(TABLE, data_root))
    check_columns(frame, [*FILE_COLUMNS, LABEL], TABLE.path)
    table, cover = frame[list(FILE_COLUMNS)].to_numpy(), frame[LABEL].to_numpy()
    return fold(table, cover, TABLE.path, {TABLE.path: TABLE.checksum})

"""Forest Cover: the kind of forest on patches of land, from maps; the official file."""

from pathlib import Path

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.forest_cover import FILE_COLUMNS, fold
from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, locate

KIND = "dataset"
CARD = {
    "summary": "Forest Cover, all rows: seven kinds of forest, 10 numeric columns, wilderness area and soil type.",
    "modality": "table",
    "classes": 7,
    "rows": {"all": 581012},
    "shape": [54],
    "foreign": None,
    "greyscale": False,
    "convolution_size": None,
    "licence": "CC BY 4.0",
    "citation": "Blackard: Covertype, UCI repository, 1998",
}

OFFICIAL = RawFile(
    "covtype.data.gz", "sha256:614360d0257557dd1792834a85a1cdebfadc3c4f30b011d56afee7ffb5b15771"
)
# Where scikit-learn takes it from.
ADDRESS = "https://ndownloader.figshare.com/files/5976039"


def load(data_root: Path | None) -> Pool:
    """All 581,012 rows in the official order: from the data folder, else downloaded."""
    path = locate(OFFICIAL, data_root, lambda: [ADDRESS])
    rows = read_rows(path)
    return fold(rows[:, :-1], rows[:, -1], path.name, {OFFICIAL.path: OFFICIAL.checksum})


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

"""Forest Cover: the columns of its two forms, the official file and the sample at hand."""

from collections.abc import Mapping

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.pool import Pool

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

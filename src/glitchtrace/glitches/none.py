"""No glitch: the training samples as they are."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from glitchtrace.glitches.table import Foreign

KIND = "glitch"
CARD = {
    "summary": "No glitch: the training samples as they are.",
    "modalities": ["image", "table", "sparse"],
    "ratio": "clean",
    "foreign": False,
    "labels_only": True,
    "settings": {},
}


def inject(
    table: pd.DataFrame,
    *,
    ratio: float,
    seed: int,
    classes: int,
    settings: Mapping[str, Any],
    foreign: Mapping[str, Foreign],
) -> pd.DataFrame:
    """The table unchanged."""
    return table

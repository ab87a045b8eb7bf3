"""Corruption: corrupted copies replace clean pictures, under the same label."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from glitchtrace.core.seeding import generator
from glitchtrace.glitches.kinds import Kind
from glitchtrace.glitches.table import Foreign, clean_rows, number_of_glitches

KIND = "glitch"
CARD = {
    "shown_by": "PCID",
    "summary": "Corruption: floor(ratio·n) pictures are replaced by corrupted copies; labels stay.",
    "modalities": ["image"],
    "foreign": False,
    "settings": {
        "corruption": {
            "type": "string",
            "enum": [
                "brightness",
                "stripe",
                "gaussian_noise",
                "impulse_noise",
                "gaussian_blur",
                "contrast",
                "rotate",
                "pixelate",
                "jpeg",
            ],
            "description": "What becomes of the pictures, see `data/corruptions.py`.",
            "default": "brightness",
        },
        "severity": {
            "type": "integer",
            "minimum": 1,
            "maximum": 5,
            "description": (
                "From 1 (mild) to 5 (strong). None is published; 5 is the default of the generator that the "
                "published pictures came from."
            ),
            "default": 5,
        },
    },
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
    """Mark k = floor(ratio·n) of the clean samples, drawn without replacement, as corrupted.

    ``corruption`` and ``severity`` go into the columns of that name; the pictures themselves are made where they
    are read, see ``data.sources``.  Source: docs/methods/glitches.md#corruptions.

    Raises GlitchtraceError where k is 0 or exceeds the clean samples.
    """
    candidates = clean_rows(table)
    count = number_of_glitches(ratio, len(table), len(candidates))
    marked = generator(seed, "corruption").choice(candidates, count, replace=False)
    names, severities, kinds = (
        table[column].to_numpy(copy=True) for column in ("corruption", "severity", "kind")
    )
    names[marked], severities[marked], kinds[marked] = (
        settings["corruption"],
        settings["severity"],
        Kind.CORRUPTED,
    )
    return table.assign(corruption=names, severity=severities, kind=kinds)

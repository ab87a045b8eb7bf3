"""Uniform class noise: any sample may get any other label."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core.seeding import generator
from glitchtrace.glitches.table import Foreign, clean_rows, mislabel, number_of_glitches

KIND = "glitch"
CARD = {
    "summary": "Uniform class noise: floor(ratio·n) samples get a random label of another class.",
    "modalities": ["image", "table", "sparse"],
    "label_repair": True,
    "foreign": False,
    "labels_only": True,
    "settings": {
        "compat": {
            "type": "object",
            "description": "Switches that reproduce the published code.",
            "additionalProperties": False,
            "properties": {
                "uniform_noise_may_keep_label": {
                    "type": "boolean",
                    "description": (
                        "Draw from all classes, the own one included, by a generator seeded with the number "
                        "of the draw: about 1/K of the marked samples keep their label."
                    ),
                    "default": False,
                }
            },
            "default": {},
        }
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
    """Mislabel k = floor(ratio·n) of the clean samples, n the size of the table.

    The samples are the last k of a permutation of the clean positions by NumPy's legacy generator, seeded
    with the seed: what scikit-learn's unstratified ``train_test_split`` puts into a training part of size k,
    which is the published choice.  A new label is the own label + u modulo K, u uniform in 1 … K−1,
    drawn from one generator.  Source: docs/methods/glitches.md#uniform-label-noise.

    With ``compat.uniform_noise_may_keep_label`` the label of the r-th marked sample (from 0) is the first of
    0 … K−1 that NumPy's legacy generator draws after being seeded with r, whatever the run seed; the sample
    counts as mislabelled even where this is its own label.

    Raises GlitchtraceError where k is 0 or exceeds the clean samples.
    """
    candidates = clean_rows(table)
    count = number_of_glitches(ratio, len(table), len(candidates))
    marked = candidates[np.random.RandomState(seed).permutation(len(candidates))[len(candidates) - count :]]
    if settings.get("compat", {}).get("uniform_noise_may_keep_label", False):
        labels = np.array([np.random.RandomState(position).randint(classes) for position in range(count)])
    else:
        own = table["label"].to_numpy()[marked]
        labels = (own + generator(seed, "uniform noise").integers(1, classes, size=count)) % classes
    return mislabel(table, marked, labels)

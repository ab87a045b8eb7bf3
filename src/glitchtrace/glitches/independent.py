"""Independent class noise: each sample draws its observed label by itself, from a row-stochastic matrix."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.glitches.table import Foreign, clean_rows, mislabel

KIND = "glitch"
CARD = {
    "summary": (
        "Independent class noise: each sample keeps its label with probability 1 − ratio, so that the number "
        "of wrong labels varies around ratio·n."
    ),
    "modalities": ["image", "table", "sparse"],
    "foreign": False,
    "labels_only": True,
    "label_repair": True,
    "settings": {
        "pattern": {
            "enum": ["symmetric", "pair_flip"],
            "description": (
                "Where the labels of class c go: to every other class alike (`symmetric`), or to c + 1 mod K "
                "(`pair_flip`)."
            ),
            "default": "symmetric",
        },
        "noise_seed": {
            "type": ["integer", "null"],
            "minimum": 0,
            "description": "Seed of the noise, the same in all runs; null takes the run seed.",
            "default": 0,
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
    """Draw the label of every clean sample anew; it is mislabelled where the draw is not its own label.

    The draws are one multinomial each, in the order in which the samples lie in their source, from NumPy's legacy
    generator seeded with ``noise_seed``: this is the published choice, which golden values pin.  So two tables of
    the same samples have the same wrong labels, in whatever order the run seed has put them.  Source:
    docs/methods/glitches.md#independent-label-noise.  Raises GlitchtraceError where no label changes or none
    stays.
    """
    clean = clean_rows(table)
    rows = clean[np.argsort(table["row"].to_numpy()[clean], kind="stable")]
    own = table["label"].to_numpy()[rows]
    matrix = transition_matrix(settings["pattern"], ratio, classes)
    noise_seed = seed if settings["noise_seed"] is None else settings["noise_seed"]
    draws = np.random.RandomState(noise_seed)
    labels = np.array([draws.multinomial(1, matrix[label]).argmax() for label in own], dtype=np.int64)
    wrong = labels != own
    if not wrong.any() or wrong.all():
        raise GlitchtraceError(
            f"ratio {ratio} changes {int(wrong.sum())} of {len(own)} labels; some must change and some stay: "
            "use another ratio or more samples"
        )
    return mislabel(table, rows[wrong], labels[wrong])


def transition_matrix(pattern: str, ratio: float, classes: int) -> np.ndarray:
    """Probability (K, K) of the observed label (column) given the true label (row)."""
    if pattern == "pair_flip":
        return (1 - ratio) * np.eye(classes) + ratio * np.roll(np.eye(classes), 1, axis=1)
    matrix = np.full((classes, classes), ratio / (classes - 1))
    np.fill_diagonal(matrix, 1 - ratio)
    return matrix

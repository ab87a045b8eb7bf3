"""Official labels that people found to be wrong: CIFAR-10H and the checked label errors of three test parts."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from glitchtrace.glitches.human_labels import relabel
from glitchtrace.glitches.table import Foreign

KIND = "glitch"
CARD = {
    "summary": "Official labels of a test part, wrong where people say so (CIFAR-10H, checked label errors).",
    "modalities": ["image", "table"],
    "label_repair": True,
    "ratio": "native",
    "foreign": False,
    "datasets": ["cifar10_checked", "cifar10h", "mnist_checked", "newsgroups_checked"],
    # That of the dataset's own name.
    "annotations": "dataset",
}


def inject(
    table: pd.DataFrame,
    *,
    ratio: float,
    seed: int,
    classes: int,
    settings: Mapping[str, Any],
    foreign: Mapping[str, Foreign],
    annotations: pd.DataFrame,
) -> pd.DataFrame:
    """Give every clean sample its official label; the dataset's own are those of people.

    The glitch fixes its own ratio, and there is nothing to draw: ``ratio`` and ``seed`` have no meaning.
    ``annotations``: see ``data.annotations``.  Raises GlitchtraceError where the samples are not annotated, and
    where no label differs.
    """
    return relabel(table, annotations, "official")

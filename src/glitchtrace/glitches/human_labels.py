"""Human labels: the noise of real annotators, CIFAR-10N."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.annotations import labels_of_rows
from glitchtrace.glitches.table import Foreign, clean_rows, mislabel

KIND = "glitch"
CARD = {
    "summary": "Human labels: all samples carry the label that people gave them (CIFAR-10N), right or wrong.",
    "modalities": ["image"],
    "label_repair": True,
    "ratio": "native",
    "foreign": False,
    # Only these are in the order of the annotations.
    "datasets": ["cifar10", "cifar10_jpeg", "cifar10_lossless"],
    "annotations": "cifar10n",
    "settings": {
        "annotation": {
            "type": "string",
            "enum": ["aggregate", "worst", "random1", "random2", "random3"],
            "description": (
                "The label of one annotator (`random1` … `random3`), of most of the three (`aggregate`), or a wrong "
                "one wherever there is one (`worst`)."
            ),
            "default": "aggregate",
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
    annotations: pd.DataFrame,
) -> pd.DataFrame:
    """Give every clean sample its label of a set; those that differ from the dataset's own are mislabelled.

    The glitch fixes its own ratio, and there is nothing to draw: ``ratio`` and ``seed`` have no meaning.
    ``annotations``: see ``data.annotations``; ``settings`` names the set, the official labels where it names none.
    Raises GlitchtraceError where the samples are not annotated, and where no label differs.
    """
    name = settings.get("annotation", "official")
    candidates = clean_rows(table)
    own = table["label"].to_numpy()[candidates]
    given = labels_of_rows(annotations, table["row"].to_numpy()[candidates], own, name)
    wrong = np.flatnonzero(given != own)
    if not len(wrong):
        raise GlitchtraceError(
            f"no label of {len(own)} samples differs between people and the official ones; use more samples"
        )
    return mislabel(table, candidates[wrong], given[wrong])

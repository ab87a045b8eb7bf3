"""Far-clustered anomalies: pictures of one class of another dataset, all under one label of the host."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.glitches.kinds import Kind
from glitchtrace.glitches.table import NO_CLASS, Foreign, number_of_glitches, sample_table

KIND = "glitch"
CARD = {
    "shown_by": "PCID",
    "summary": (
        "Far-clustered anomalies: floor(ratio·n) pictures of one class of a foreign dataset are added, all "
        "under one random label."
    ),
    "modalities": ["image"],
    "foreign": True,
    "settings": {
        "foreign": {
            "type": ["string", "null"],
            "description": "Dataset that the anomalies come from; null for the host's own default.",
            "default": None,
        },
        "ood_split": {
            "type": "string",
            "enum": ["auto", "train", "test"],
            "description": (
                "Official part of the foreign dataset to draw from; `auto` takes the test part where it has "
                "enough pictures, else the training part. A dataset of one part is drawn from as a whole."
            ),
            "default": "auto",
        },
        "compat": {
            "type": "object",
            "description": "Switches that reproduce the published code.",
            "additionalProperties": False,
            "properties": {
                "anomaly_label_equals_class": {
                    "type": "boolean",
                    "description": "The label of the anomalies is the number of their foreign class.",
                    "default": False,
                }
            },
            "default": {},
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
    """Append k = floor(ratio·n) foreign samples of kind anomalous, n the size of the table before.

    Foreign class, samples (without replacement) and host label are independent draws from one generator.  The
    real contamination is k/(n + k).  ``true_label`` is −1, ``source_label`` the foreign class.
    ``settings["foreign"]`` names the source among ``foreign``.  With ``compat.anomaly_label_equals_class``
    the foreign class is one of those that are a host label too, and is the label.  Source:
    docs/methods/glitches.md#far-anomalies.

    Raises GlitchtraceError where the foreign class has fewer than k samples.
    """
    source = foreign[settings["foreign"]]
    same_label = settings.get("compat", {}).get("anomaly_label_equals_class", False)
    rng = generator(seed, "far anomalies")
    foreign_class = int(rng.integers(min(source.classes, classes) if same_label else source.classes))
    # Foreign samples replace nobody, so any number of them may be added.
    count = number_of_glitches(ratio, len(table), candidates=len(table) + 1)
    rows = rng.choice(_candidates(source, foreign_class, count, settings["ood_split"]), count, replace=False)
    label = foreign_class if same_label else int(rng.integers(classes))
    anomalies = sample_table(source.name, rows, label, NO_CLASS, source.labels[rows], Kind.ANOMALOUS)
    return pd.concat([table, anomalies], ignore_index=True)


def _candidates(source: Foreign, foreign_class: int, count: int, ood_split: str) -> np.ndarray:
    """Rows of the foreign class in the part to draw from."""
    if "test" not in source.parts:
        wanted = list(source.parts)
    else:
        wanted = ["test", "train"] if ood_split == "auto" else [ood_split]
    found = {}
    for part in wanted:
        first, end = source.parts[part]
        found[part] = first + np.flatnonzero(source.labels[first:end] == foreign_class)
        if len(found[part]) >= count:
            return found[part]
    numbers = ", ".join(f"{len(rows)} in the part {part}" for part, rows in found.items())
    raise GlitchtraceError(
        f"{count} anomalies are needed, but class {foreign_class} of {source.name} has {numbers}; lower the "
        "ratio, use fewer training rows, or set ood_split or foreign to a larger source"
    )

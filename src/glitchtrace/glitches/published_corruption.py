"""Published corruption: pictures are replaced by the corrupted copies that MNIST-C holds of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.glitches.kinds import Kind
from glitchtrace.glitches.table import Foreign, clean_rows, number_of_glitches

KIND = "glitch"
CARD = {
    "shown_by": "PCID",
    "summary": "Published corruption: floor(ratio·n) pictures of MNIST are replaced by those of MNIST-C; labels stay.",
    "modalities": ["image"],
    "foreign": True,
    # Only its training pictures have published corrupted copies: CIFAR-10-C holds test pictures alone.
    "datasets": ["mnist"],
    "settings": {
        "foreign": {
            "type": "string",
            "enum": ["mnist_c_brightness", "mnist_c_stripe"],
            "description": "Dataset of the corrupted copies.",
            "default": "mnist_c_brightness",
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
    """Take the same rows of the corrupted dataset for k = floor(ratio·n) of the clean samples.

    The samples are those that ``corruption`` would hit with the same seed.  Raises GlitchtraceError where k is 0 or
    exceeds the clean samples, and where the labels of the rows differ: then the two are not in one order.
    """
    source = foreign[settings["foreign"]]
    candidates = clean_rows(table)
    count = number_of_glitches(ratio, len(table), len(candidates))
    marked = generator(seed, "corruption").choice(candidates, count, replace=False)
    rows, own = table["row"].to_numpy()[marked], table["source_label"].to_numpy()[marked]
    if rows.max() >= len(source.labels) or (np.asarray(source.labels)[rows] != own).any():
        raise GlitchtraceError(
            f"{source.name} is not in the order of the dataset: labels of the same rows differ; replace its file "
            "by the original"
        )
    names, kinds = table["source"].to_numpy(copy=True), table["kind"].to_numpy(copy=True)
    names[marked], kinds[marked] = source.name, Kind.CORRUPTED
    return table.assign(source=names, kind=kinds)

"""Near-clustered anomalies: one class becomes a rare event, and its remaining samples are the anomalies.

Published is a share of the class, drawn among all classes (`near_anomalies@published`).  Where validation is
down-sampled as well, the sample table carries the share in ``validation_share``, on the rows of the rare class:
``data.cells`` takes so much of that class, evenly spaced, when it assembles the cell.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.portion import portion
from glitchtrace.core.seeding import generator
from glitchtrace.glitches.kinds import Kind
from glitchtrace.glitches.table import Foreign

KIND = "glitch"
CARD = {
    "shown_by": "PCID",
    "summary": (
        "Near-clustered anomalies: one class is down-sampled until its remaining samples are the ratio of all; "
        "these are the anomalies."
    ),
    "modalities": ["table"],
    "foreign": False,
    "settings": {
        "share_of": {
            "enum": ["set", "class"],
            "description": (
                "What the ratio is a share of: of the samples that remain (`set`), which few classes are large enough "
                "for, or, as published, of the class, which any can be."
            ),
            "default": "set",
        },
        "validation": {
            "enum": ["kept", "downsampled"],
            "description": "Whether validation keeps the class whole, or only the share that training keeps of it.",
            "default": "kept",
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
    """Keep r = floor(ratio/(1 − ratio)·(n − n_c)) of the n_c clean samples of one class c, as anomalous.

    The other n_c − r are left out, so that r is the ratio of the samples that remain; nothing else changes, and
    labels stay as they are.  c is drawn among the classes with r ≤ n_c, the samples that stay are drawn from
    the same generator.  ``share_of: class`` keeps r = floor(ratio·n_c), of a class drawn among all with r ≥ 1.
    ``validation: downsampled`` adds the column ``validation_share``, r/n_c on the rows of the class, else NaN.
    Source: docs/methods/glitches.md#near-anomalies.

    Raises GlitchtraceError where no class is large enough, and where the ratio is no sample.
    """
    labels = table["label"].to_numpy()
    clean = table["kind"].to_numpy() == Kind.CLEAN
    sizes = np.bincount(labels[clean], minlength=classes)
    share = Fraction(str(ratio))
    of_class = settings.get("share_of", "set") == "class"
    wanted = np.array(
        [
            portion(share, int(size)) if of_class else portion(share / (1 - share), len(table) - int(size))
            for size in sizes
        ]
    )
    possible = np.flatnonzero((wanted >= 1) & (wanted <= sizes))
    if not len(possible):
        largest = int(sizes.argmax())
        raise GlitchtraceError(
            f"ratio {ratio} can be reached by down-sampling no class; class {largest}, the largest, has "
            f"{sizes[largest]} samples of {len(table)} and would have to keep {wanted[largest]}: "
            f"{'use more samples' if wanted[largest] < 1 else 'lower the ratio'}"
        )
    rng = generator(seed, "near anomalies")
    rare = int(rng.choice(possible))
    members = np.flatnonzero(clean & (labels == rare))
    kept = rng.choice(members, wanted[rare], replace=False)
    kinds = table["kind"].to_numpy(copy=True)
    kinds[kept] = Kind.ANOMALOUS
    dropped = np.setdiff1d(members, kept)
    found = table.assign(kind=kinds)
    if settings.get("validation", "kept") == "downsampled":
        found["validation_share"] = np.where(labels == rare, len(kept) / len(members), np.nan)
    return found.drop(index=table.index[dropped]).reset_index(drop=True)

"""Stage function of the rule ``prepare_data``: the split of a dataset for one run seed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.portion import portion
from glitchtrace.core.seeding import generator
from glitchtrace.data.description import read_description
from glitchtrace.data.split import VALIDATION, make_split


def prepare_data(
    *,
    labels: str | Path,
    description: str | Path,
    split: str | Path,
    seed: int,
    settings: Mapping[str, Any],
    dataset: str | None = None,
) -> None:
    """Write the split of a dataset for one run seed: ``row``, ``part`` and observed ``label``.

    ``settings``: the options of ``make_split``, and ``validation_noise``, see ``contaminate``.  ``dataset``: its
    name in messages, with the variant; None takes that of the source.  Raises GlitchtraceError where the settings
    leave a part empty.
    """
    content = read_description(description)
    bounds = {part: tuple(rows) for part, rows in content["parts"].items()}
    options = dict(settings)
    noise = options.pop("validation_noise", None)
    own = files.read_npy(labels)
    try:
        table = make_split(own, bounds, seed=seed, **options)
        table["label"] = own[table["row"]]
        if noise:
            table = contaminate(table, noise, len(content["classes"]), seed)
    except GlitchtraceError as error:
        raise GlitchtraceError(f"datasets.{dataset or Path(labels).parent.name}: {error}") from None
    files.write_parquet(table, split)


def contaminate(split: pd.DataFrame, ratio: float, classes: int, seed: int) -> pd.DataFrame:
    """A copy in which floor(ratio·m) of the m validation rows carry another label, drawn uniformly.

    A validation set that is as dirty as data in the field: influence is measured on it, the test part stays as it
    is.  Source: docs/methods/training.md#dirty-validation-sets.  Raises GlitchtraceError where the ratio is
    no row.
    """
    positions = np.flatnonzero(split["part"] == VALIDATION)
    count = portion(ratio, len(positions))
    if not count:
        raise GlitchtraceError(
            f"validation_noise: {ratio} of {len(positions)} validation rows is none; raise it or use more rows"
        )
    rng = generator(seed, "validation noise")
    marked = rng.choice(positions, count, replace=False)
    labels = split["label"].to_numpy(copy=True)
    labels[marked] = (labels[marked] + rng.integers(1, classes, size=count)) % classes
    return split.assign(label=labels)

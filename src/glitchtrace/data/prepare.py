"""Stage function of the rule ``prepare_data``: the split of a dataset for one run seed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace import files
from glitchtrace.data.description import read_description
from glitchtrace.data.split import make_split
from glitchtrace.errors import GlitchtraceError


def prepare_data(
    *,
    labels: str | Path,
    description: str | Path,
    split: str | Path,
    seed: int,
    settings: Mapping[str, Any],
    dataset: str | None = None,
) -> None:
    """Write the split of a dataset for one run seed, see ``make_split``, whose options are ``settings``.

    ``dataset``: its name in messages, with the variant; None takes that of the source.  Raises
    GlitchtraceError where the settings leave a part empty.
    """
    bounds = {part: tuple(rows) for part, rows in read_description(description)["parts"].items()}
    try:
        table = make_split(np.load(labels), bounds, seed=seed, **settings)
    except GlitchtraceError as error:
        raise GlitchtraceError(f"datasets.{dataset or Path(labels).parent.name}: {error}") from None
    files.write_parquet(table, split)

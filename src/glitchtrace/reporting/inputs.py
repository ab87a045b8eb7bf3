"""Summary tables as the figures read them, with one clear line where a table is missing, broken or empty."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from glitchtrace.core import files, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.grid import CELL_KEYS


def read_table(path: str | Path, columns: Iterable[str]) -> pd.DataFrame:
    """Read a parquet table; the keys of a cell become text.

    Raises GlitchtraceError where the file is missing or unreadable, has no rows, or lacks one of ``columns``.
    """
    table = files.read_parquet(path)
    missing = [column for column in columns if column not in table]
    if missing:
        raise GlitchtraceError(f"{path} has no column {', '.join(missing)}; delete it and run again")
    if table.empty:
        raise GlitchtraceError(f"{path} has no rows; add cells to the grid and run again")
    return table.astype({key: str for key in CELL_KEYS if key in table})


def each_cell(table: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """The keys of every cell and its rows over all seeds, sorted by the keys."""
    for key, rows in table.groupby(CELL_KEYS, observed=True):
        yield {name: str(value) for name, value in zip(CELL_KEYS, key, strict=True)}, rows


def has_several(values: pd.Series) -> bool:
    """Whether a column holds more than one value, so that figures have to name it."""
    return len(set(values)) > 1


def by_method(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores with ``estimator`` empty where it tells no two methods apart.

    That is where there is one only, and for detectors that see no influence: theirs are the same with each.
    """
    if not has_several(scores["estimator"]):
        return scores.assign(estimator="")
    seen = {name: "profile" in registry.card("detector", name)["needs"] for name in set(scores["signal"])}
    return scores.assign(estimator=scores["estimator"].where(scores["signal"].map(seen), ""))


def tested(gain: pd.DataFrame) -> pd.DataFrame:
    """The rows of a ``gain.parquet`` that say what repair brings: on test, in cells that hold a glitch to repair."""
    return gain[(gain["part"] == "test") & (gain["ratio"].astype(str) != "clean")]


def read_summary(path: str | Path) -> pd.DataFrame:
    """Read ``summary.parquet``: one row per cell, seed, signal and metric.  Errors as ``read_table``."""
    return read_table(path, [*CELL_KEYS, "seed", "signal", "metric", "value"])

"""Stages: gather the tables of many cells into one, for a dataset and for a study."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError


def summarise_dataset(
    *,
    metrics: Sequence[str],
    costs: Sequence[str],
    cells: Sequence[Mapping[str, Any]],
    summary: str,
    cost: str,
) -> None:
    """Write the metrics and costs of all cells of a dataset, one table each; see ``summarise``."""
    summarise(cells=cells, tables=metrics, summary=summary)
    summarise(cells=cells, tables=costs, summary=cost)


def summarise_study(*, metrics: Sequence[str], costs: Sequence[str], summary: str, cost: str) -> None:
    """Write the metrics and costs of a study from those of its datasets, which have their keys already."""
    summarise(cells=[{}] * len(metrics), tables=metrics, summary=summary)
    summarise(cells=[{}] * len(costs), tables=costs, summary=cost)


def summarise_dataset_gain(*, gains: Sequence[str], cells: Sequence[Mapping[str, Any]], gain: str) -> None:
    """Write the gains of all cells of a dataset as one table."""
    summarise(cells=cells, tables=gains, summary=gain)


def summarise_study_gain(*, gains: Sequence[str], gain: str) -> None:
    """Write the gains of a study from those of its datasets, which have their keys already."""
    summarise(cells=[{}] * len(gains), tables=gains, summary=gain)


def summarise(*, cells: Sequence[Mapping[str, Any]], tables: Sequence[str], summary: str) -> None:
    """Write one table of many: each of ``tables`` with the key columns of its cell in front, sorted.

    ``cells[i]`` holds the keys (dataset, model, glitch, ratio, seed, estimator) of ``tables[i]``, and is
    empty for a table that has its keys already.  Rows are sorted by all columns but the measured ones
    (floating point), so that the order of the inputs does not matter.  Raises GlitchtraceError with no table,
    with tables of different columns and with numbers of cells and tables that differ.
    """
    if not tables or len(cells) != len(tables):
        raise GlitchtraceError(
            f"{summary}: {len(tables)} tables for {len(cells)} cells; each cell needs its own"
        )
    parts = []
    for keys, path in zip(cells, tables, strict=True):
        part = files.read_parquet(path)
        for position, (key, value) in enumerate(keys.items()):
            part.insert(position, key, value)
        parts.append(part)
        if list(part.columns) != list(parts[0].columns):
            raise GlitchtraceError(
                f"{path} has other columns than {tables[0]}; delete it and run its job again"
            )
    table = pd.concat(parts, ignore_index=True)
    order = [column for column in table.columns if not pd.api.types.is_float_dtype(table[column])]
    files.write_parquet(table.sort_values(order, kind="stable", ignore_index=True), summary)

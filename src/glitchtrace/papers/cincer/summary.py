"""Traces of many repeats in one table, and their means with errors.

Errors are population standard deviations over repeats divided by √R, as published; for the precision of
counter-examples
all questions of all repeats are pooled.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import files
from glitchtrace.evaluation.summary import summarise
from glitchtrace.reporting.tables import write_csv

KEYS = ["dataset", "model", "loop", "noise", "ratio", "inspector", "threshold", "negotiator", "seed"]
PRECISIONS = [f"ce_pr_at_{k}{end}" for k in (5, 10, 25) for end in ("", "_available")]
# Name of a number -> column of the trace and iteration; None is the last one.
NUMBERS: Mapping[str, tuple[str, int | None]] = {
    "f1_0": ("f1", 0),
    "f1_50": ("f1", 50),
    "f1_last": ("f1", None),
    "cleaned": ("n_cleaned", None),
    "questions": ("n_queried", None),
    "wrong_counter_examples": ("n_cleaned_ce", None),
    "wrong_examples": ("n_cleaned_ex", None),
    "wrong_arrived": ("n_mistakes_seen", None),
    "ece_last": ("ece", None),
}


def gather_loops(*, parts: Sequence[str], cells: Sequence[Mapping[str, Any]], traces: str) -> None:
    """Write the traces of all repeats of a dataset and model as one table, each with its keys in front."""
    summarise(cells=cells, tables=parts, summary=traces)


def summarise_loops(*, traces: Sequence[str], summary: str, table: str) -> None:
    """Write the traces of a study as one table, and their numbers as another; see ``numbers``."""
    summarise(cells=[{}] * len(traces), tables=traces, summary=summary)
    write_csv(numbers(files.read_parquet(summary)), table)


def numbers(traces: pd.DataFrame) -> pd.DataFrame:
    """One row per run: each of ``NUMBERS`` as mean and error over repeats, and pooled precisions where measured."""
    rows = []
    for keys, run in traces.groupby(KEYS, sort=True):
        row: dict[str, Any] = {**dict(zip(KEYS, keys, strict=True)), "repeats": run["repeat"].nunique()}
        for name, (column, iteration) in NUMBERS.items():
            row[name], row[f"{name}_error"] = mean_and_error(at(run, column, iteration))
        for column in PRECISIONS:
            pooled = run[column].dropna().to_numpy()
            row[column], row[f"{column}_error"] = mean_and_error(pooled)
        rows.append(row)
    return pd.DataFrame(rows)


def at(run: pd.DataFrame, column: str, iteration: int | None) -> np.ndarray:
    """Values of a column, one per repeat, at an iteration or at the end of each repeat."""
    if iteration is None:
        last = run.sort_values("iteration").groupby("repeat")[column].last()
        return last.to_numpy(float)
    return run.loc[run["iteration"] == iteration].sort_values("repeat")[column].to_numpy(float)


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean and population standard deviation / √n; NaN of nothing."""
    if not len(values):
        return float("nan"), float("nan")
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))

"""Our side of a reproduction: means over seeds of the quantities that published numbers are compared with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from glitchtrace.reporting.inputs import CELL_KEYS, read_summary, read_table
from glitchtrace.reporting.tables import aggregate

KEYS = [*CELL_KEYS, "signal", "metric"]
METRICS = (
    "f1",
    "f1_published",
    "label_repair_accuracy",
    "characterisation_accuracy_mislabelled",
    "characterisation_accuracy_anomalous",
    "validation_accuracy",
    "training_accuracy_clean",
    "training_accuracy_mislabelled",
    "training_accuracy_anomalous",
)


@dataclass(frozen=True)
class Found:
    """Mean, standard deviation (NaN for one seed) and number of seeds of one quantity."""

    mean: float
    deviation: float
    seeds: int


class Tables:
    """The tables of studies as one; of a cell that several studies share, the one with most seeds counts.

    ``seeds_seen``: the numbers of seeds behind the values asked for so far.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        best = table.sort_values("n", ascending=False, kind="stable").drop_duplicates(KEYS)
        rows = best[[*KEYS, "mean", "std", "n"]].itertuples(index=False)
        self.seeds_seen: list[int] = []
        self._found = {tuple(row[: len(KEYS)]): Found(*row[len(KEYS) :]) for row in rows}

    def value(
        self,
        dataset: str,
        model: str,
        glitch: str,
        ratio: str,
        signal: str,
        metric: str,
        estimator: str = "tracin",
    ) -> Found | None:
        """One quantity of one cell, None where no study has it."""
        keys = {"dataset": dataset, "model": model, "glitch": glitch, "ratio": ratio, "estimator": estimator}
        keys |= {"signal": signal, "metric": metric}
        found = self._found.get(tuple(keys[key] for key in KEYS))
        if found is None or not math.isfinite(found.mean):
            return None
        self.seeds_seen.append(found.seeds)
        return found

    def per_epoch(self, dataset: str, model: str, glitch: str, ratio: str, signal: str) -> list[float]:
        """F1 after epoch 1, 2, …; empty where no study has it."""
        values: list[float] = []
        while found := self.value(dataset, model, glitch, ratio, signal, f"f1_epoch_{len(values) + 1}"):
            values.append(found.mean)
        return values


def study_table(summary: str | Path, cost: str | Path, epochs: Sequence[str | Path] = ()) -> pd.DataFrame:
    """The table of one study: cell keys, ``signal``, ``metric``, ``mean``, ``std``, ``n``, sorted by the keys.

    ``summary`` and ``cost`` are a study's ``summary.parquet`` and ``cost.parquet``, whose CPU seconds become
    ``cpu_seconds_<stage>``; ``epochs`` its tables of F1 per epoch, which become ``f1_epoch_<epoch>``.  Raises
    GlitchtraceError where a summary cannot be read.
    """
    values = read_summary(summary)
    costs = read_table(cost, [*CELL_KEYS, "stage", "cpu_seconds"])
    costs = costs.assign(signal="", metric="cpu_seconds_" + costs["stage"].astype(str))
    parts = [aggregate(values[values["metric"].isin(METRICS)], KEYS), aggregate(costs, KEYS, "cpu_seconds")]
    for file in epochs:
        table = pd.read_csv(file, dtype={"ratio": str})
        parts.append(table.assign(metric="f1_epoch_" + table["epoch"].astype(str)).drop(columns="epoch"))
    return pd.concat(parts, ignore_index=True).sort_values(KEYS, kind="stable")

"""The small tables behind docs/reproduction.md: means over seeds of what the page needs, one CSV per study."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from glitchtrace.reporting.inputs import CELL_KEYS
from glitchtrace.reporting.tables import aggregate

FOLDER = Path("docs/tables")
STUDIES = Path("results/studies")
CONFIGURATIONS = Path("config/studies")
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
    """All committed tables as one; of a cell that several studies share, the one with most seeds counts.

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


def read() -> Tables:
    """The committed tables."""
    tables = [
        pd.read_csv(file, dtype={"ratio": str}, keep_default_na=False, na_values={"mean": [""], "std": [""]})
        for file in sorted(FOLDER.glob("*.csv"))
    ]
    return Tables(pd.concat(tables, ignore_index=True))


def collect() -> list[str]:
    """Make the table of every shipped study that has been run below ``results``; returns the names of these studies."""
    made = []
    for summary in sorted(STUDIES.glob("*/summary.parquet")):
        study = summary.parent
        if not (CONFIGURATIONS / f"{study.name}.yaml").is_file():
            continue
        rows = pd.read_parquet(summary)
        parts = [aggregate(rows[rows["metric"].isin(METRICS)], KEYS), _costs(study), *_epochs(study)]
        table = pd.concat(parts, ignore_index=True).sort_values(KEYS, kind="stable")
        FOLDER.mkdir(exist_ok=True)
        table.round(6).to_csv(FOLDER / f"{study.name}.csv", index=False)
        made.append(study.name)
    return made


def _costs(study: Path) -> pd.DataFrame:
    costs = pd.read_parquet(study / "cost.parquet")
    costs = costs.assign(signal="", metric="cpu_seconds_" + costs["stage"].astype(str))
    return aggregate(costs, KEYS, "cpu_seconds")


def _epochs(study: Path) -> list[pd.DataFrame]:
    """F1 per epoch, where the study draws it."""
    found = []
    for file in sorted(study.glob("tables/*/epochs-*.csv")):
        table = pd.read_csv(file, dtype={"ratio": str})
        found.append(table.assign(metric="f1_epoch_" + table["epoch"].astype(str)).drop(columns="epoch"))
    return found

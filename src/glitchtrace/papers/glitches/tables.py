"""Our side of a reproduction: means over seeds of the quantities that published numbers are compared with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from glitchtrace.core import registry
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.reporting.inputs import read_summary, read_table

KEYS = [*CELL_KEYS, "signal", "metric"]
METRICS = (
    "f1",
    "f1_published",
    "label_repair_accuracy",
    "characterisation_accuracy_mislabelled",
    "characterisation_accuracy_anomalous",
    "validation_accuracy",
    "validation_accuracy_change",
    "training_accuracy_clean",
    "training_accuracy_mislabelled",
    "training_accuracy_anomalous",
)


@dataclass(frozen=True)
class Found:
    """Mean, standard deviation (NaN where unknown), number of seeds and, where known, values of one quantity.

    ``table``: the name of the table that it comes from, empty where nobody gave one.
    """

    mean: float
    deviation: float
    seeds: int
    values: tuple[float, ...] = ()
    table: str = ""

    @property
    def single(self) -> bool:
        """Whether there is one value, or the spread of several is not known."""
        return self.seeds < 2 or math.isnan(self.deviation)


def difference(first: Found, second: Found) -> tuple[float, float | None]:
    """First − second and half the width of its 95 % interval; None where no spread is known.

    With both spreads Welch's interval of two means.  With one the other side is taken to spread alike: for a single
    value that is the interval in which one more run is expected, s·√(1/n + 1/m) times Student's t.  Source:
    docs/methods/statistics.md#published-numbers.
    """
    from scipy import stats

    value = first.mean - second.mean
    if first.single and second.single:
        return value, None
    if first.single or second.single:
        known = second if first.single else first
        error = known.deviation * math.sqrt(1 / first.seeds + 1 / second.seeds)
        freedom = known.seeds - 1.0
    else:
        parts = [side.deviation**2 / side.seeds for side in (first, second)]
        error = math.sqrt(sum(parts))
        squares = sum(part**2 / (side.seeds - 1) for part, side in zip(parts, (first, second), strict=True))
        freedom = error**4 / squares if squares else math.inf
    return value, float(stats.t.ppf(0.975, freedom)) * error


def bounds(found: Found) -> tuple[float, float]:
    """The 95 % interval of a mean; without bounds where no spread is known."""
    from scipy import stats

    if found.single:
        return -math.inf, math.inf
    half = float(stats.t.ppf(0.975, found.seeds - 1)) * found.deviation / math.sqrt(found.seeds)
    return found.mean - half, found.mean + half


class Tables:
    """The tables of studies as one; of a cell that several studies share, the one with most seeds counts.

    A column ``table`` says where a row comes from.  ``seen``: the values that were asked for so far.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        table = table.assign(**{name: "" for name in ("values", "table") if name not in table})
        best = table.sort_values("n", ascending=False, kind="stable").drop_duplicates(KEYS)
        rows = best[[*KEYS, "mean", "std", "n", "values", "table"]].itertuples(index=False)
        self.seen: list[Found] = []
        self._found = {
            tuple(keys): Found(mean, deviation, seeds, _values(values), name)
            for *keys, mean, deviation, seeds, values, name in rows
        }

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
        self.seen.append(found)
        return found

    def costs(self, model: str) -> pd.DataFrame:
        """CPU seconds of a cell of each dataset that a model (without its variant) was run on.

        Columns ``dataset``, ``train``, and ``influence``, which is profile and signals by the default estimator.
        """
        rows = [
            (dataset, metric.removeprefix("cpu_seconds_"), found.mean)
            for (dataset, name, *_, estimator, _, metric), found in self._found.items()
            if registry.base_name(name) == model
            and estimator == "tracin"
            and metric.startswith("cpu_seconds_")
        ]
        table = pd.DataFrame(rows, columns=["dataset", "stage", "seconds"])
        stages = table.pivot_table(index="dataset", columns="stage", values="seconds")
        influence = stages["profile_influence"] + stages["detect"]
        return pd.DataFrame({"train": stages["train"], "influence": influence}).reset_index()

    def per_epoch(self, dataset: str, model: str, glitch: str, ratio: str, signal: str) -> list[Found]:
        """F1 after epoch 1, 2, …; empty where no study has it."""
        values: list[Found] = []
        while found := self.value(dataset, model, glitch, ratio, signal, f"f1_epoch_{len(values) + 1}"):
            values.append(found)
        return values


def study_table(summary: str | Path, cost: str | Path, epochs: Sequence[str | Path] = ()) -> pd.DataFrame:
    """The table of one study: cell keys, ``signal``, ``metric``, ``mean``, ``std``, ``n``, sorted by the keys.

    ``values``: what the seeds gave, in their order, separated by spaces.

    ``summary`` and ``cost`` are a study's ``summary.parquet`` and ``cost.parquet``, whose CPU seconds become
    ``cpu_seconds_<stage>``; ``epochs`` its tables of F1 per epoch, which become ``f1_epoch_<epoch>``.  Where the
    study also trains without glitches, ``validation_accuracy_change`` is the change against that training in
    percentage points, seed by seed.  Raises GlitchtraceError where a summary cannot be read.
    """
    values = read_summary(summary)
    values = pd.concat([values, _changes(values)], ignore_index=True)
    costs = read_table(cost, [*CELL_KEYS, "stage", "cpu_seconds"])
    costs = costs.assign(signal="", metric="cpu_seconds_" + costs["stage"].astype(str))
    # Not imported above: it brings matplotlib, and the workflow reads what is published while it plans.
    from glitchtrace.reporting.tables import aggregate

    parts = [aggregate(values[values["metric"].isin(METRICS)], KEYS), aggregate(costs, KEYS, "cpu_seconds")]
    for file in epochs:
        table = pd.read_csv(file, dtype={"ratio": str})
        parts.append(table.assign(metric="f1_epoch_" + table["epoch"].astype(str)).drop(columns="epoch"))
    found = pd.concat(parts, ignore_index=True).sort_values(KEYS, kind="stable")
    seeds = values.dropna(subset=["value"]).sort_values("seed").groupby(KEYS, observed=True)["value"]
    listed = seeds.agg(lambda column: " ".join(f"{value:.6g}" for value in column)).rename("values")
    return found.merge(listed.reset_index(), on=KEYS, how="left").fillna({"values": ""})


def fidelity_table(agreement: str | Path) -> pd.DataFrame:
    """Kendall's τ of the estimates of a fidelity study, in the columns of ``study_table``.

    ``agreement`` is the table beside the study's figure; its task, network and method stand as ``dataset``,
    ``model`` and ``estimator``.
    """
    table = pd.read_csv(agreement)
    names = {"task": "dataset", "network": "model", "method": "estimator", "measure": "metric"}
    found = table[table["measure"] == "tau"].rename(columns=names).assign(glitch="", ratio="", signal="")
    return found[[*KEYS, "mean", "std", "n"]].sort_values(KEYS, kind="stable")


def _values(listed: object) -> tuple[float, ...]:
    return tuple(float(value) for value in listed.split()) if isinstance(listed, str) else ()


def _changes(values: pd.DataFrame) -> pd.DataFrame:
    """Change of validation accuracy against training without glitches, in percentage points, per seed."""
    same = ["dataset", "model", "estimator", "seed"]
    accuracy = values[values["metric"] == "validation_accuracy"]
    clean = accuracy.loc[accuracy["ratio"] == "clean", [*same, "value"]]
    pairs = accuracy[accuracy["ratio"] != "clean"].merge(clean, on=same, suffixes=("", "_clean"))
    change = 100 * (pairs["value"] - pairs["value_clean"])
    return pairs.assign(metric="validation_accuracy_change", value=change).drop(columns="value_clean")

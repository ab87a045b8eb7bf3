"""Tables of the loop: traces of many repeats, their means with errors, and what is told from them.

Errors are population standard deviations over repeats divided by √R, as published; for the precision of
counter-examples all questions of all repeats are pooled.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import files, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.evaluation.summary import summarise
from glitchtrace.papers.cincer.cells import QUESTIONS
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_table
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


# The threshold is part of the keys of a run, but no sample is asked about here.
RUN = [key for key in KEYS if key != "threshold"]


def find_threshold(scores: np.ndarray, ratio: float) -> float:
    """The score above which about half as many samples lie as labels are wrong.

    With m = ⌊n · ratio⌋ of n scores, the observed score t with the smallest |⌊m/2⌋ − #{scores > t}|; the lowest of
    equal ones.
    """
    ordered = np.sort(scores)
    above = len(ordered) - np.searchsorted(ordered, ordered, side="right")
    wanted = int(len(ordered) * ratio) // 2
    return float(ordered[np.abs(wanted - above).argmin()])


def arriving(traces: pd.DataFrame) -> pd.DataFrame:
    """Keys, ``repeat``, ``score`` and ``wrong`` of every sample that arrived with a finite score.

    ``traces``: runs whose loop does not ask.
    """
    ordered = traces.sort_values([*KEYS, "repeat", "iteration"])
    seen = ordered.groupby([*KEYS, "repeat"])["n_mistakes_seen"].diff()
    found = ordered.assign(score=ordered["suspiciousness"], wrong=seen == 1)
    found = found[(found["iteration"] > 0) & np.isfinite(found["score"])]
    return pd.DataFrame(found[[*KEYS, "repeat", "score", "wrong"]])


def thresholds_by_run(scores: pd.DataFrame) -> Iterator[tuple[dict[str, Any], float, pd.DataFrame]]:
    """Keys, threshold and scores of each run, all repeats together; ``scores`` as ``arriving`` gives them."""
    for keys, run in scores.groupby(RUN, sort=True):
        names = dict(zip(RUN, keys, strict=True))
        yield names, find_threshold(run["score"].to_numpy(), _ratio(names)), run


def threshold_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per run: threshold of all repeats together, and mean and error of those of single repeats.

    ``suspicious``: share of samples above the threshold; ``precision``: share of wrong labels among them (NaN
    without any); ``recall``: share of the wrong labels that they are.
    """
    rows = []
    for names, threshold, run in thresholds_by_run(scores):
        single = [
            find_threshold(part["score"].to_numpy(), _ratio(names)) for _, part in run.groupby("repeat")
        ]
        mean, error = mean_and_error(np.array(single))
        above, wrong = run["score"] > threshold, run["wrong"]
        rows.append(
            {
                **names,
                "repeats": len(single),
                "samples": len(run),
                "threshold": threshold,
                "threshold_mean": mean,
                "threshold_error": error,
                "suspicious": float(above.mean()),
                "precision": float(wrong[above].mean()),
                "recall": float(above[wrong].mean()),
            }
        )
    return pd.DataFrame(rows)


def _ratio(names: dict[str, Any]) -> float:
    return 0.0 if names["ratio"] == "clean" else float(names["ratio"])


BUDGETS = (25, 50, 100)


def tabulate_questions(*, traces: Sequence[str], table: str) -> None:
    """Write the table of a study; see ``budget_table``.  Raises GlitchtraceError where no run asks enough."""
    found = budget_table(pd.concat([read_table(path, [*KEYS, "repeat", "n_queried"]) for path in traces]))
    if found.empty:
        raise GlitchtraceError(f"{traces[0]}: no run asks {BUDGETS[0]} questions; let more samples arrive")
    write_csv(found, table)


def budget_table(traces: pd.DataFrame) -> pd.DataFrame:
    """One row per run and budget that at least one repeat reaches: ``found`` wrong labels per question, ``f1``.

    Both are means over the repeats that reach it, with their errors; ``arrived`` is how many samples that took.
    """
    rows = []
    for keys, run in traces.groupby(KEYS, sort=True):
        for budget in BUDGETS:
            reached = run[run["n_queried"] >= budget].sort_values("iteration").groupby("repeat").head(1)
            if reached.empty:
                continue
            row: dict[str, Any] = {
                **dict(zip(KEYS, keys, strict=True)),
                "questions": budget,
                "repeats": len(reached),
            }
            for name, values in (
                ("found", reached["n_cleaned"] / budget),
                ("f1", reached["f1"]),
                ("arrived", reached["iteration"]),
            ):
                row[name], row[f"{name}_error"] = mean_and_error(values.to_numpy(float))
            rows.append(row)
    return pd.DataFrame(rows)


# --- what figures draw -------------------------------------------------------------------------------------------

UPPER_BOUND = "No noise"
# What makes a line of its own; runs that differ in seed and repeat alone are one.
LINE_KEYS = ["negotiator", "inspector", "threshold", "noise", "ratio", "loop"]
# The published order.
_ORDER = ("if", "practical_fisher", "top_fisher", "full_fisher")
# What makes a run of the leave-one-out study.
LEFT_OUT_KEYS = ["dataset", "model", "loop", "noise", "ratio", "refit", "seed"]


def choose_runs(traces: pd.DataFrame, question: str) -> pd.DataFrame:
    """The runs that answer a question, with the column ``line``: the name of their line."""
    wanted = QUESTIONS[question]
    bound = (traces["inspector"] == "always") & (traces["ratio"] == "clean")
    answers = bound | (True if wanted is None else traces["negotiator"].isin(wanted))
    runs, bound = traces[answers], bound[answers]
    return runs.assign(line=line_names(runs, bound))


def line_names(runs: pd.DataFrame, bound: pd.Series) -> pd.Series:
    """A name for every line of ``LINE_KEYS``, no two the same, row by row: the negotiator, and what sets it apart.

    The upper ``bound`` has a name of its own, and the others name the axes in which any two of them differ; the loop
    is named where the rest does not tell two lines apart.
    """
    names = runs["negotiator"].map(lambda name: style.human_name("negotiator", name))
    axes = ("inspector", "threshold", "noise", "ratio")
    for key in axes:
        if len(set(runs.loc[~bound, key])) > 1:
            names = names + ", " + key + " " + runs[key].astype(str)
    names = names.where(~bound, UPPER_BOUND)
    for key in LINE_KEYS:
        shared = runs[key].groupby(names).transform("nunique") > 1
        names = names.where(~shared, names + ", " + key + " " + runs[key].astype(str))
    return names


def line_table(runs: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Mean over the R repeats of all seeds and population standard deviation / √R, by column, line and iteration."""
    columns = list(dict.fromkeys(columns))
    groups = runs.groupby([*LINE_KEYS, "line", "iteration"], sort=True)
    means = groups[columns].mean()
    repeats = groups.size()
    errors = groups[columns].std(ddof=0).div(repeats**0.5, axis=0)
    joined = means.join(errors.add_suffix("_error")).reset_index()
    return joined.assign(repeats=repeats.to_numpy())


def precision_table(traces: pd.DataFrame) -> pd.DataFrame:
    """One row per bar: keys, questions of all repeats and seeds, and pooled mean and error of each precision.

    Bars differ in negotiator, loop, inspector, threshold, noise or ratio; ``bar`` is their name.
    """
    asked = traces[traces["ce_pr_at_5"].notna()]
    asked = asked.assign(bar=line_names(asked, pd.Series(False, asked.index)))
    rows: list[dict[str, Any]] = []
    for keys, run in asked.groupby([*LINE_KEYS, "bar"], sort=True):
        row = {**dict(zip([*LINE_KEYS, "bar"], keys, strict=True)), "questions": len(run)}
        for column in PRECISIONS:
            row[column], row[f"{column}_error"] = mean_and_error(run[column].to_numpy())
        rows.append(row)
    rows.sort(key=_place)
    return pd.DataFrame(rows)


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The published order of negotiators, then that of the names."""
    base = registry.base_name(row["negotiator"])
    return (_ORDER.index(base) if base in _ORDER else len(_ORDER), *(row[key] for key in LINE_KEYS))


def correlation_table(changes: pd.DataFrame) -> pd.DataFrame:
    """One row per run and negotiator: Spearman's correlation with its error over repeats, and samples in all.

    NaN where that of a repeat is; see ``spearman``.
    """
    rows = []
    for keys, run in changes.groupby([*LEFT_OUT_KEYS, "negotiator"], sort=True):
        each = [spearman(part)[0] for _, part in run.groupby("repeat")]
        mean, error = mean_and_error(np.array(each))
        rows.append(
            {
                **dict(zip([*LEFT_OUT_KEYS, "negotiator"], keys, strict=True)),
                "repeats": len(each),
                "samples": len(run),
                "spearman": mean,
                "spearman_error": error,
                "spearman_least": float(np.min(each)),
            }
        )
    return pd.DataFrame(rows)


def spearman(part: pd.DataFrame) -> tuple[float, float]:
    """Spearman's correlation of score and change, and its p-value; NaN where one of them is constant."""
    part = part.dropna(subset=["score"])
    if part["score"].nunique() < 2 or part["loss_change"].nunique() < 2:
        return float("nan"), float("nan")
    from scipy import stats

    found = stats.spearmanr(part["loss_change"], part["score"])
    return float(found.statistic), float(found.pvalue)

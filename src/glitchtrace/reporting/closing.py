"""What a run of a study ends with on the console: what was found, what repair brought, what to open."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from glitchtrace.core import registry
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.reporting.inputs import by_method, read_summary, read_table, tested

# Glitches of one dataset that are named one by one; a larger study says how many more its tables hold.
_NAMED = 6


def closing_lines(
    folder: str | Path, seconds: float, headline: str = "f1", memorised: Sequence[Sequence[str]] = ()
) -> list[str]:
    """The closing summary of the study whose summaries lie in ``folder``.

    A study without detection has its tables in ``folder``, and is told where these lie; the summary is empty where
    there are none either.

    ``headline``: the metric that is compared, a name of the column ``metric`` of ``summary.parquet``; ``memorised``:
    the pairs of a dataset and a model whose rows are marked (``core.grid.memorised``).  Raises GlitchtraceError where
    a summary cannot be read.
    """
    folder = Path(folder)
    if not (folder / "summary.parquet").is_file():
        return [_last(folder, "tables", seconds)] if (folder / "tables").is_dir() else []
    found = list(_detection(read_summary(folder / "summary.parquet"), headline, memorised))
    title = "What was found (best detector by mean F1 over models, ratios and seeds):"
    lines = [title, *found] if found else []
    if (folder / "gain.parquet").is_file():
        keys = [*CELL_KEYS, "seed", "policy", "part", "accuracy"]
        lines += _repair(read_table(folder / "gain.parquet", keys))
    return [*lines, _last(folder, "summary.parquet", seconds)]


def _last(folder: Path, numbers: str, seconds: float) -> str:
    return (
        f"Took {_spoken(seconds)}. Look at {folder}/figures and {folder}/{numbers}; for one page: the same call with "
        "--reporter glitchtrace."
    )


def _detection(summary: pd.DataFrame, headline: str, memorised: Sequence[Sequence[str]]) -> Iterator[str]:
    scores = summary[(summary["metric"] == headline) & (summary["signal"] != "")]
    scores = by_method(scores)
    known = set(map(tuple, memorised)) & set(zip(scores["dataset"], scores["model"], strict=True))
    mark = note = ""
    if known:
        # Its plotting libraries take longer to import than all else here.
        from glitchtrace.reporting import style

        mark, note = style.MARK, style.MARKED
    marked = {dataset for dataset, _ in known}
    for dataset, rows in scores.groupby("dataset"):
        found = []
        for glitch, values in rows.groupby("glitch"):
            means = values.groupby(["signal", "estimator"])["value"].mean()
            means = means.sort_values(ascending=False, kind="stable")
            signal, estimator = map(str, means.index[0])
            label = _label("detector", signal) + (f" ({_label('estimator', estimator)})" if estimator else "")
            found.append(f"{glitch}: {label} {means.iloc[0]:.2f}")
        more = f"; {len(found) - _NAMED} more in the tables" if len(found) > _NAMED else ""
        yield f"  {dataset}{mark if dataset in marked else ''}: {'; '.join(found[:_NAMED])}{more}"
    if note:
        yield f"  {note}"


def _label(kind: str, name: str) -> str:
    return str(registry.card(kind, name).get("label", name))


def _repair(gain: pd.DataFrame) -> Iterator[str]:
    accuracy = tested(gain).pivot_table("accuracy", [*CELL_KEYS, "seed"], "policy")
    if "none" not in accuracy or len(accuracy.columns) < 2:
        return
    by_seed = accuracy.drop(columns="none").sub(accuracy["none"], axis=0) * 100
    # A mean of 0 comes out as 1e-17 from accuracies.
    changes = by_seed.groupby(CELL_KEYS).mean().round(9)
    told = [
        f"{policy} {changes[policy].mean():+.1f} (fell in {(changes[policy] < 0).sum()} of {changes[policy].count()})"
        for policy in changes
    ]
    yield f"What repair brought (test accuracy, points, mean over settings): {', '.join(told)}"


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

"""How many of the first counter-examples are wrong: bars of precision at 5 and 10."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.figures.loops import KEYS, NEGOTIATOR_COLOURS, line_names
from glitchtrace.papers.cincer.summary import PRECISIONS, mean_and_error
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import write_csv

# The published order.
_ORDER = ("if", "practical_fisher", "top_fisher", "full_fisher")
# Of further bars of one negotiator.
_HATCHES = ("", "..", "xx", "oo")
_DRAWN = {"ce_pr_at_5": "Pr@5", "ce_pr_at_10": "Pr@10"}


def plot_loop_precision(
    *, traces: str | Path, figures: Sequence[str | Path], legend: Sequence[str | Path], table: str | Path
) -> None:
    """Stage: draw the pooled precision of counter-examples of one dataset and model, and tabulate all of them.

    Raises GlitchtraceError where nothing was measured.
    """
    found = read_table(traces, [*KEYS, *PRECISIONS])
    pooled = precision_table(found)
    if pooled.empty:
        raise GlitchtraceError(f"{traces} has no run with precision: true; add a loop that measures it")
    names = found.iloc[0]
    title = f"{style.human_name('dataset', names['dataset'])}, {style.human_name('model', names['model'])}"
    style.save(draw_precision(pooled, title=title), figures)
    style.save(draw_precision_legend(pooled), legend)
    write_csv(pooled, table)


def precision_table(traces: pd.DataFrame) -> pd.DataFrame:
    """One row per bar: keys, questions of all repeats and seeds, and pooled mean and error of each precision.

    Bars differ in negotiator, loop, inspector, threshold, noise or ratio; ``bar`` is their name.
    """
    asked = traces[traces["ce_pr_at_5"].notna()]
    asked = asked.assign(bar=line_names(asked, pd.Series(False, asked.index)))
    rows: list[dict[str, Any]] = []
    for keys, run in asked.groupby([*KEYS, "bar"], sort=True):
        row = {**dict(zip([*KEYS, "bar"], keys, strict=True)), "questions": len(run)}
        for column in PRECISIONS:
            row[column], row[f"{column}_error"] = mean_and_error(run[column].to_numpy())
        rows.append(row)
    rows.sort(key=_place)
    return pd.DataFrame(rows)


@style.styled()
def draw_precision(pooled: pd.DataFrame, *, title: str) -> Figure:
    """Grouped bars, one group per number of candidates, with the standard error over questions."""
    figure = style.new_figure(style.COLUMN, 2.2)
    axes = figure.subplots()
    width = 0.8 / len(pooled)
    for place, (row, look) in enumerate(zip(pooled.to_dict("records"), _looks(pooled), strict=True)):
        x = np.arange(len(_DRAWN)) + (place - (len(pooled) - 1) / 2) * width
        axes.bar(
            x,
            [row[column] for column in _DRAWN],
            width,
            yerr=[row[f"{column}_error"] for column in _DRAWN],
            error_kw={"linewidth": 0.8},
            **look,
        )
    axes.set_xticks(range(len(_DRAWN)), list(_DRAWN.values()))
    axes.set_ylabel("share of wrong counter-examples")
    axes.grid(axis="x", visible=False)
    figure.suptitle(title)
    return figure


@style.styled()
def draw_precision_legend(pooled: pd.DataFrame) -> Figure:
    """The bars with their names, in a figure of their own."""
    columns = min(3, len(pooled))
    figure = style.new_figure(style.PAGE, 0.3 * -(-len(pooled) // columns) + 0.15)
    handles = [Patch(label=name, **look) for name, look in zip(pooled["bar"], _looks(pooled), strict=True)]
    figure.legend(handles=handles, loc="center", ncols=columns)
    return figure


def _looks(pooled: pd.DataFrame) -> list[dict[str, Any]]:
    """Colour and hatches of each bar: the contrastive sign is hatched, further bars of one negotiator otherwise."""
    found = []
    places = pooled.groupby("negotiator").cumcount()
    for negotiator, place in zip(pooled["negotiator"], places, strict=True):
        hatch = "////" if negotiator.endswith("contrastive") else ""
        found.append(
            {
                "facecolor": NEGOTIATOR_COLOURS.get(registry.base_name(negotiator), style.FAINT),
                "edgecolor": style.PAPER,
                "hatch": hatch + _HATCHES[place % len(_HATCHES)],
            }
        )
    return found


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The published order of negotiators, then that of the names."""
    base = registry.base_name(row["negotiator"])
    return (_ORDER.index(base) if base in _ORDER else len(_ORDER), *(row[key] for key in KEYS))

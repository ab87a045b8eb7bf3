"""How many of the first counter-examples are wrong: bars of precision at 5 and 10."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from glitchtrace import registry
from glitchtrace.errors import GlitchtraceError
from glitchtrace.repair.cincer.summary import PRECISIONS, mean_and_error
from glitchtrace.reporting import style
from glitchtrace.reporting.figures.loops import NEGOTIATOR_COLOURS
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import write_csv

# The published order.
_ORDER = ("if", "practical_fisher", "top_fisher", "full_fisher")
_DRAWN = {"ce_pr_at_5": "Pr@5", "ce_pr_at_10": "Pr@10"}


def plot_loop_precision(
    *, traces: str | Path, figures: Sequence[str | Path], legend: Sequence[str | Path], table: str | Path
) -> None:
    """Stage: draw the pooled precision of counter-examples of one dataset and model, and tabulate all of them.

    Raises GlitchtraceError where nothing was measured.
    """
    found = read_table(traces, ["negotiator", *PRECISIONS])
    pooled = precision_table(found)
    if pooled.empty:
        raise GlitchtraceError(f"{traces} has no run with precision: true; add a loop that measures it")
    names = found.iloc[0]
    title = f"{style.human_name('dataset', names['dataset'])}, {style.human_name('model', names['model'])}"
    style.save(draw_precision(pooled, title=title), figures)
    style.save(draw_precision_legend(pooled["negotiator"].tolist()), legend)
    write_csv(pooled, table)


def precision_table(traces: pd.DataFrame) -> pd.DataFrame:
    """One row per negotiator: questions of all repeats, and pooled mean and error of each precision."""
    rows = []
    for negotiator in _ordered(traces["negotiator"].unique()):
        asked = traces[(traces["negotiator"] == negotiator) & traces["ce_pr_at_5"].notna()]
        if asked.empty:
            continue
        row: dict[str, object] = {"negotiator": negotiator, "questions": len(asked)}
        for column in PRECISIONS:
            row[column], row[f"{column}_error"] = mean_and_error(asked[column].to_numpy())
        rows.append(row)
    return pd.DataFrame(rows)


@style.styled()
def draw_precision(pooled: pd.DataFrame, *, title: str) -> Figure:
    """Grouped bars, one group per number of candidates, with the standard error over questions."""
    figure = style.new_figure(style.COLUMN, 2.2)
    axes = figure.subplots()
    width = 0.8 / len(pooled)
    for place, row in enumerate(pooled.to_dict("records")):
        x = np.arange(len(_DRAWN)) + (place - (len(pooled) - 1) / 2) * width
        axes.bar(
            x,
            [row[column] for column in _DRAWN],
            width,
            yerr=[row[f"{column}_error"] for column in _DRAWN],
            error_kw={"linewidth": 0.8},
            **_look(str(row["negotiator"])),
        )
    axes.set_xticks(range(len(_DRAWN)), list(_DRAWN.values()))
    axes.set_ylabel("share of wrong counter-examples")
    axes.grid(axis="x", visible=False)
    figure.suptitle(title)
    return figure


@style.styled()
def draw_precision_legend(negotiators: Sequence[str]) -> Figure:
    """The bars with their names, in a figure of their own."""
    columns = min(3, len(negotiators))
    figure = style.new_figure(style.PAGE, 0.3 * -(-len(negotiators) // columns) + 0.15)
    handles = [Patch(label=style.human_name("negotiator", name), **_look(name)) for name in negotiators]
    figure.legend(handles=handles, loc="center", ncols=columns)
    return figure


def _look(negotiator: str) -> dict[str, Any]:
    hatch = "////" if negotiator.endswith("contrastive") else ""
    return {
        "facecolor": NEGOTIATOR_COLOURS.get(registry.base_name(negotiator), style.FAINT),
        "edgecolor": style.PAPER,
        "hatch": hatch,
    }


def _ordered(negotiators: Iterable[str]) -> list[str]:
    places = {name: place for place, name in enumerate(_ORDER)}
    return sorted(negotiators, key=lambda name: (places.get(registry.base_name(name), len(places)), name))

"""Which kind each glitch was said to be: a confusion table per mixed cell."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.evaluation.characterisation import KINDS
from glitchtrace.glitches.kinds import Kind
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import each_cell, has_several, read_summary
from glitchtrace.reporting.tables import aggregate, mean_and_deviation, write_csv

_PANELS_PER_ROW = 3
_PANEL_HEIGHT = 3.0


def plot_characterisation(
    *,
    summary: str | Path,
    figures: Sequence[str | Path],
    table: str | Path,
    memorised: Sequence[Sequence[str]] = (),
) -> None:
    """Stage: draw and tabulate the characterisation of every mixed cell in a ``summary.parquet``.

    ``memorised`` as of ``plot_signals``.  Raises GlitchtraceError where the summary cannot be read or holds no cell
    with several kinds of glitch.
    """
    measured = characterised(read_summary(summary))
    if measured.empty:
        raise GlitchtraceError(
            f"{summary} has no cell with several kinds of glitch; add a mixture to the grid"
        )
    style.save(draw_characterisation(style.marked(measured, memorised)), figures)
    write_csv(aggregate(measured, [*CELL_KEYS, "signal", "metric"]), table)


def characterised(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of a summary that say how kinds were told apart; only mixed cells have them."""
    return summary[summary["metric"].str.startswith(("characterisation_", "confusion_"))]


@style.styled()
def draw_characterisation(measured: pd.DataFrame) -> Figure:
    """Heat maps of truth × prediction, one per dataset, model, mixture and estimator.

    Every entry is the mean count over seeds and its share of the row; the colour is the share.  Below stand
    the accuracies among the detected glitches of either kind, mean ± standard deviation over seeds.
    """
    cells = list(each_cell(measured))
    columns = min(len(cells), _PANELS_PER_ROW)
    rows = -(-len(cells) // columns)
    width = {1: style.COLUMN, 2: style.MIDDLE}.get(columns, style.PAGE)
    panel = width / columns
    figure = style.new_figure(width, rows * _PANEL_HEIGHT)
    grid = figure.subplots(rows, columns, squeeze=False)
    several = has_several(measured["estimator"])
    for number, axes in enumerate(grid.flat):
        if number < len(cells):
            keys, cell = cells[number]
            _draw_panel(axes, cell)
            named = ["dataset", "model", "estimator"] if several else ["dataset", "model"]
            name = ", ".join(style.human_name(kind, keys[kind]) for kind in named)
            lines = [name, style.human_glitch(keys["glitch"], keys["ratio"])]
            axes.set_title("\n".join(style.wrapped(line, panel - 0.3, 7.5) for line in lines))
        else:
            axes.set_visible(False)
        if number % columns:
            axes.set(ylabel="", yticklabels=[])
    return figure


def _draw_panel(axes: Any, cell: pd.DataFrame) -> None:
    counts = confusion(cell)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    texts = [
        [f"{_count(count)}\n{100 * share:.0f} %" for count, share in zip(*row, strict=True)]
        for row in zip(counts, shares, strict=True)
    ]
    names = [kind.label for kind in KINDS]
    sns.heatmap(
        shares,
        vmin=0,
        vmax=1,
        cmap="Blues",
        annot=np.array(texts),
        fmt="",
        annot_kws={"fontsize": 6.5},
        cbar=False,
        linewidths=1,
        linecolor=style.PAPER,
        xticklabels=names,
        yticklabels=names,
        ax=axes,
    )
    axes.tick_params(left=False, bottom=False)
    axes.tick_params(rotation=0)
    axes.set_ylabel("truth")
    accuracies = [_accuracy_line(cell, kind) for kind in KINDS[1:]]
    axes.set_xlabel("\n".join(["predicted", "", "told right among the detected:", *accuracies]))


def confusion(cell: pd.DataFrame) -> np.ndarray:
    """Mean counts over seeds, (3, 3) truth × prediction in the order clean, mislabelled, anomalous."""
    means = cell.groupby("metric")["value"].mean()
    return np.array(
        [[means.get(f"confusion_{true.label}_{said.label}", 0.0) for said in KINDS] for true in KINDS]
    )


def _accuracy_line(cell: pd.DataFrame, kind: Kind) -> str:
    """``mislabelled 0.99 ± 0.01 of 583``: how many detected ones are told right."""
    by_metric = {metric: values.to_numpy() for metric, values in cell.groupby("metric")["value"]}
    accuracy = mean_and_deviation(by_metric[f"characterisation_accuracy_{kind.label}"], 2)
    detected = by_metric[f"characterisation_count_{kind.label}"].mean()
    return f"{kind.label} {accuracy} of {_count(detected)}"


def _count(mean: float) -> str:
    """A mean count over seeds, which need not be whole: half a sample is not none."""
    return f"{mean:,.1f}".removesuffix(".0") if mean < 9.95 else f"{mean:,.0f}"

"""What a method of data cleansing reads and takes: bytes of stored parameters and CPU seconds."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glitchtrace.papers.cleansing.figures.cleansing import MARKS, ordered_methods
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import aggregate, write_csv

_CELL = ["dataset", "model"]


def plot_cleansing_cost(*, cost: str | Path, figures: Sequence[str | Path], table: str | Path) -> None:
    """Stage: draw and tabulate cache and CPU seconds of every method, for each dataset and model.

    ``cost`` is the ``cost.parquet`` of a study.  Raises GlitchtraceError where it cannot be read.
    """
    costs = cost_table(read_table(cost, [*_CELL, "seed", "method", "cpu_seconds", "cache_bytes"]))
    style.save(draw_cost(costs), figures)
    write_csv(costs, table)


def cost_table(cost: pd.DataFrame) -> pd.DataFrame:
    """CPU seconds (mean, standard deviation, number of cells), bytes and the last epoch's movement by method."""
    keys = [*_CELL, "method"]
    seconds = aggregate(cost, keys, "cpu_seconds")
    other = cost.groupby(keys, sort=False)[["cache_bytes", "last_movement"]].mean().reset_index()
    return seconds.merge(other, on=keys)


@style.styled()
def draw_cost(costs: pd.DataFrame) -> Figure:
    """CPU seconds and stored megabytes side by side, both logarithmic, a row per dataset and model."""
    cells = list(costs.groupby(_CELL, sort=True))
    lines = sum(len(cell) for _, cell in cells)
    figure = style.new_figure(style.PAGE, 0.22 * lines + 0.75 * len(cells))
    grid = figure.subplots(len(cells), 2, squeeze=False, sharey="row")
    for panels, (keys, cell) in zip(grid, cells, strict=True):
        dataset, model = map(str, keys)
        methods = ordered_methods(cell["method"])
        ordered = cell.set_index("method").loc[methods]
        colours = [MARKS[method][0] if method in MARKS else style.FAINT for method in methods]
        _draw_bars(panels[0], ordered["mean"].tolist(), colours, "s")
        _draw_bars(panels[1], (ordered["cache_bytes"] / 1e6).tolist(), colours, "MB")
        names = [style.human_name("cleansing_method", name) for name in methods]
        panels[0].set_yticks(range(len(methods)), names)
        panels[0].invert_yaxis()
        panels[0].set_title(
            f"{style.human_name('dataset', dataset)}, {style.human_name('model', model)}",
            loc="left",
            fontweight="bold",
        )
    for axes, label in zip(grid[-1], ("CPU seconds", "stored parameters that are read, MB"), strict=True):
        axes.set_xlabel(label)
    return figure


def _draw_bars(axes: Axes, values: list[float], colours: list[str], unit: str) -> None:
    """Bars on a logarithmic axis of at most four decades, each with its value."""
    left = max(min(value for value in values if value > 0) / 2, max(values) / 1e4)
    for place, (value, colour) in enumerate(zip(values, colours, strict=True)):
        axes.barh(place, value, height=0.6, color=colour)
        axes.annotate(
            f"{value:.2g} {unit}" if value else "none",
            (max(value, left), place),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
        )
    axes.set_xscale("log")
    axes.set_xlim(left, 10 * max(values))
    axes.grid(visible=False, axis="y")
    style.strip_frame(axes, keep="l")

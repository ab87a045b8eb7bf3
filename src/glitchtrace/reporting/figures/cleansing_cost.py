"""What a method of data cleansing reads and takes: bytes of stored parameters and CPU seconds."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from glitchtrace.reporting import style
from glitchtrace.reporting.figures.cleansing import MARKS, ordered_methods
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
    """Marks over bytes (logarithmic) and CPU seconds, one panel per dataset and model, each method named."""
    cells = list(costs.groupby(_CELL, sort=True))
    figure = style.new_figure(style.MIDDLE, 2.6 * len(cells))
    panels = figure.subplots(len(cells), 1, squeeze=False)[:, 0]
    for axes, (keys, cell) in zip(panels, cells, strict=True):
        dataset, model = map(str, keys)
        seconds = cell.set_index("method")["mean"].to_dict()
        sizes = cell.set_index("method")["cache_bytes"].to_dict()
        methods = ordered_methods(cell["method"])
        for place, method in enumerate(methods):
            colour = MARKS[method][0] if method in MARKS else style.FAINT
            axes.barh(place, seconds[method], height=0.6, color=colour)
            axes.annotate(
                f"{seconds[method]:.1f} s, {sizes[method] / 1e6:,.3g} MB",
                (seconds[method], place),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=6.5,
            )
        axes.set_yticks(range(len(methods)), [style.human_name("cleansing_method", name) for name in methods])
        axes.invert_yaxis()
        axes.margins(x=0.25)
        axes.set_xlim(left=0)
        axes.set_title(
            f"{style.human_name('dataset', dataset)}, {style.human_name('model', model)}",
            loc="left",
            fontweight="bold",
        )
        axes.grid(visible=False, axis="y")
        style.strip_frame(axes, keep="l")
    panels[-1].set_xlabel("CPU seconds; megabytes of stored parameters")
    return figure

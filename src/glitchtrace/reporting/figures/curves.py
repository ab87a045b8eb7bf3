"""F1 as curves: against the ratio of glitches, and against the epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import has_several, read_summary, read_table
from glitchtrace.reporting.tables import aggregate, clipped_deviation, write_csv

# Colour, marker and dashes of the signals that are drawn; parts and ablations would hide them.
LINES: Mapping[str, tuple[str, str, Any]] = {
    "SI": ("#2F5F9E", "o", ""),
    "MI": ("#8C8C8C", "X", (2, 1)),
    "AAI": ("#7396C0", "^", (4, 1.5)),
    "GD_class": ("#222222", "v", (1, 1)),
    "CNCI": ("#D55E00", "s", ""),
    "PCID": ("#009E73", "D", (5, 1, 1, 1)),
    "CFRank": ("#882255", "P", (3, 1, 1, 1, 1, 1)),
}


def plot_ratios(
    *,
    summary: str | Path,
    figures: Sequence[str | Path],
    table: str | Path,
    dataset: str,
    glitch: str,
    headline: str = "f1",
    memorised: Sequence[Sequence[str]] = (),
) -> None:
    """Stage: draw and tabulate the F1 of the signals against the ratio of one glitch of a dataset.

    ``summary`` is a ``summary.parquet``; ``headline`` is the metric drawn; ``memorised`` as of ``plot_signals``.
    Raises GlitchtraceError where the summary cannot be read or holds no such cell.
    """
    found = read_summary(summary)
    chosen = found[
        (found["dataset"] == dataset)
        & (found["glitch"] == glitch)
        & (found["metric"] == headline)
        & found["signal"].isin(LINES)
    ]
    if chosen.empty:
        raise GlitchtraceError(
            f"{summary} has no {headline} of {dataset}, {glitch}; add such cells to the grid"
        )
    values = chosen.assign(percent=100 * chosen["ratio"].astype(float))
    figure = draw_curves(
        style.marked(values, memorised),
        x="percent",
        xlabel="share of glitches (%)",
        ylabel=style.HEADLINES[headline],
        title=f"{style.human_name('dataset', dataset)}, {style.human_name('glitch', glitch)}",
    )
    style.save(figure, figures)
    write_csv(aggregate(chosen, [*CELL_KEYS, "signal", "metric"]), table)


def plot_epochs(
    *,
    epochs: Sequence[str | Path],
    cells: Sequence[Mapping[str, str]],
    figures: Sequence[str | Path],
    table: str | Path,
    dataset: str,
    glitch: str,
    memorised: Sequence[Sequence[str]] = (),
) -> None:
    """Stage: draw and tabulate the F1 of the signals at each checkpoint alone, for one glitch of a dataset.

    ``epochs`` are ``epochs.parquet`` files, ``cells`` their keys in the same order; ``memorised`` as of
    ``plot_signals``.  Raises GlitchtraceError where one cannot be read.
    """
    tables = [
        read_table(path, ["epoch", "signal", "f1"]).assign(**cell)
        for path, cell in zip(epochs, cells, strict=True)
    ]
    values = pd.concat(tables, ignore_index=True).rename(columns={"f1": "value"})
    figure = draw_curves(
        style.marked(values, memorised),
        x="epoch",
        xlabel="epoch, its checkpoint alone",
        ylabel=style.HEADLINES["f1"],
        title=f"{style.human_name('dataset', dataset)}, {style.human_name('glitch', glitch)}",
        panel=("model", "estimator", "ratio"),
    )
    style.save(figure, figures)
    write_csv(aggregate(values, [*CELL_KEYS, "epoch", "signal"]), table)


@style.styled()
def draw_curves(
    values: pd.DataFrame,
    *,
    x: str,
    xlabel: str,
    ylabel: str,
    title: str,
    panel: Sequence[str] = ("model", "estimator"),
) -> Figure:
    """A panel per value of the keys ``panel``: mean over seeds, band of ± one standard deviation.

    ``values``: rows with the keys of cells, ``seed``, ``signal``, the column ``x`` and ``value``, an F1.
    """
    names = [name for name in LINES if name in set(values["signal"])]
    panels = list(values.groupby(list(panel), sort=True))
    told = [key for key in panel if key == "model" or has_several(values[key])]
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    width = (style.COLUMN, style.MIDDLE, style.PAGE)[columns - 1]
    figure = style.new_figure(width, 1.9 * rows + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for position, ((key, found), axes) in enumerate(zip(panels, grid.flat, strict=False)):
        sns.lineplot(
            data=found,
            x=x,
            y="value",
            hue="signal",
            hue_order=names,
            palette={name: LINES[name][0] for name in names},
            style="signal",
            style_order=names,
            markers={name: LINES[name][1] for name in names},
            dashes={name: LINES[name][2] for name in names},
            markersize=4,
            markeredgewidth=0.4,
            errorbar=clipped_deviation,
            err_kws={"alpha": 0.15, "linewidth": 0},
            ax=axes,
        )
        axes.set_title(_name(dict(zip(panel, map(str, key), strict=True)), told))
        lowest = position + columns >= len(panels)
        axes.set(
            xlabel=xlabel if lowest else "", ylabel="", ylim=(-0.03, 1.03), xticks=sorted(set(values[x]))
        )
        axes.tick_params(labelbottom=lowest)
        style.strip_frame(axes, keep="lb")
    for line in grid:
        line[0].set_ylabel(style.wrapped(ylabel, 1.4))
    _label(figure, grid, names, style.spread("mean ± sd", [values["seed"].nunique()]))
    figure.suptitle(style.wrapped(title, width, 9.0))
    return figure


def _name(key: Mapping[str, str], told: Sequence[str]) -> str:
    """The head of a panel: the model, and what else several panels differ in."""
    parts = [style.human_name("model", key["model"])]
    if "estimator" in told:
        parts.append(style.human_name("estimator", key["estimator"]))
    if "ratio" in told:
        parts.append(f"{100 * float(key['ratio']):g} %" if key["ratio"][:1].isdigit() else key["ratio"])
    return ", ".join(parts)


def _label(figure: Figure, grid: Any, names: Sequence[str], spread: str) -> None:
    """One legend below all panels, and no more ticks than fit."""
    handles, _ = grid.flat[0].get_legend_handles_labels()
    for axes in grid.flat:
        if axes.get_legend():
            axes.get_legend().remove()
        ticks = axes.get_xticks()
        step = -(-len(ticks) // 8)
        axes.set_xticks(ticks[::-1][::step][::-1])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    labels = [style.human_name("detector", name) for name in names]
    figure.legend(handles, labels, title=spread, loc="outside lower center", ncols=min(len(names), 4))

"""F1 of every signal: one panel of bars per model and glitch of a dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import has_several, read_summary
from glitchtrace.reporting.tables import aggregate, clipped_deviation, write_csv

_BAR_INCHES = 0.135
_BASE_RATE: dict[str, Any] = {"color": style.INK, "linestyle": (0, (3, 2)), "linewidth": 0.8}


def plot_signals(
    *,
    summary: str | Path,
    figures: Sequence[str | Path],
    table: str | Path,
    dataset: str,
    headline: str = "f1",
    glitch: str | None = None,
    signals: Sequence[str] | None = None,
    memorised: Sequence[Sequence[str]] = (),
) -> None:
    """Stage: draw and tabulate the F1 of every signal on one dataset.

    ``summary`` is a ``summary.parquet``; ``headline`` is the metric drawn (``f1`` or ``f1_published``);
    ``glitch`` restricts the figure to one glitch of the dataset; ``memorised`` are the pairs of a dataset and a
    model whose panels are marked (``core.grid.memorised``).  Raises GlitchtraceError where the summary
    cannot be read or holds no such cell.
    """
    found = read_summary(summary)
    if signals is not None:
        found = found[found["signal"].isin(["", *signals])]
    cells = detection_cells(found, dataset=dataset, headline=headline, glitch=glitch)
    if cells.empty:
        wanted = f"{dataset}, {glitch}" if glitch else dataset
        raise GlitchtraceError(f"{summary} has no {headline} of {wanted}; add such cells to the grid")
    style.save(draw_signals(style.marked(cells, memorised), dataset=dataset, headline=headline), figures)
    write_csv(signal_table(cells, headline), table)


def detection_cells(
    summary: pd.DataFrame, *, dataset: str, headline: str, glitch: str | None = None
) -> pd.DataFrame:
    """The rows of one dataset that the figure shows: the headline metric and the contamination.

    Cells without a glitch have no F1 and are left out.
    """
    chosen = summary[(summary["dataset"] == dataset) & summary["metric"].isin([headline, "contamination"])]
    if glitch is not None:
        chosen = chosen[chosen["glitch"] == glitch]
    chosen = chosen.dropna(subset="value")
    drawn = chosen.loc[chosen["metric"] == headline, CELL_KEYS].drop_duplicates()
    return chosen.merge(drawn, on=CELL_KEYS)


def signal_table(cells: pd.DataFrame, headline: str) -> pd.DataFrame:
    """Mean, standard deviation and number of seeds of the headline metric, per cell and signal."""
    table = aggregate(cells[cells["metric"] == headline], [*CELL_KEYS, "signal", "metric"])
    places = {name: place for place, name in enumerate(style.ordered_signals(table["signal"]))}
    return table.sort_values([*CELL_KEYS, "signal"], key=lambda c: c.map(places) if c.name == "signal" else c)


@style.styled()
def draw_signals(cells: pd.DataFrame, *, dataset: str, headline: str = "f1") -> Figure:
    """Horizontal bars: mean over seeds, ± standard deviation clipped to [0, 1], with the base rate.

    ``cells`` are rows of a summary (see ``detection_cells``).  Rows of panels are models, columns are
    glitches with their ratio.  The base rate is the share of glitches: what flagging at random reaches.
    """
    values = cells[cells["metric"] == headline]
    signals = style.ordered_signals(values["signal"])
    rows = sorted({*zip(values["model"], values["estimator"], strict=True)})
    columns = sorted({*zip(values["glitch"], values["ratio"], strict=True)})
    several = has_several(values["estimator"])
    width = style.COLUMN if len(columns) == 1 else style.PAGE * max(1, len(columns) / 4)
    panel_width = (width - 0.9) / len(columns) - 0.3
    figure = style.new_figure(width, len(rows) * (_BAR_INCHES * len(signals) + 0.25) + 1.3)
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex=True, sharey=True)
    panels = dict(list(cells.groupby(["model", "estimator", "glitch", "ratio"], observed=True)))
    for (model, estimator), line in zip(rows, grid, strict=True):
        for (glitch, ratio), axes in zip(columns, line, strict=True):
            panel = panels.get((model, estimator, glitch, ratio))
            _draw_panel(axes, cells[:0] if panel is None else panel, signals, headline)
            if panel is None:  # bars and dashes of a setting that was never run would read as zeros
                for text in axes.texts:
                    text.remove()
                axes.text(0.5, 0.5, "not in this study", transform=axes.transAxes, ha="center", va="center")
        name = style.human_name("model", model)
        line[0].set_ylabel(f"{name}\n{style.human_name('estimator', estimator)}" if several else name)
    for (glitch, ratio), top, bottom in zip(columns, grid[0], grid[-1], strict=True):
        top.set_title(style.wrapped(style.human_glitch(glitch, ratio), panel_width, 7.5))
        bottom.set_xlabel(style.wrapped(style.HEADLINES[headline], panel_width))
    figure.suptitle(style.human_name("dataset", dataset))
    handles = [*_family_handles(signals), *_line_handles(values)]
    figure.legend(handles=handles, loc="outside lower center", ncols=2 if len(columns) == 1 else 5)
    return figure


def _draw_panel(axes: Any, panel: pd.DataFrame, signals: list[str], headline: str) -> None:
    values = panel[panel["metric"] == headline]
    sns.barplot(
        data=values,
        x="value",
        y="signal",
        order=signals,
        hue="signal",
        hue_order=signals,
        palette={name: style.signal_colour(name) for name in signals},
        saturation=1,
        width=0.78,
        errorbar=clipped_deviation,
        capsize=0.4,
        err_kws={"color": style.INK, "linewidth": 0.7},
        legend=False,
        ax=axes,
    )
    for bar in axes.patches:
        name = signals[round(bar.get_y() + bar.get_height() / 2)]
        bar.set(hatch=style.signal_hatch(name), edgecolor=style.PAPER, linewidth=0)
    base_rate = panel.loc[panel["metric"] == "contamination", "value"].mean()
    axes.axvline(base_rate, **_BASE_RATE)
    for place, name in enumerate(signals):
        mean = values.loc[values["signal"] == name, "value"].mean()
        text = "–" if np.isnan(mean) else f"{mean:.2f}"
        axes.text(1.03, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=6)
    axes.set(xlim=(0, 1), xticks=np.linspace(0, 1, 5), xlabel="", ylabel="")
    axes.set_xticklabels(["0", "", "0.5", "", "1"])
    axes.set_yticks(range(len(signals)), [style.human_name("detector", name) for name in signals])
    axes.grid(visible=False, axis="y")
    axes.tick_params(left=False)
    style.strip_frame(axes, keep="l")


def _family_handles(signals: list[str]) -> list[Patch]:
    """One entry of the legend per family that is drawn."""
    first: dict[str | None, str] = {}
    for name in signals:
        first.setdefault(style.family(name), name)
    return [
        Patch(
            facecolor=style.signal_colour(name),
            hatch=style.signal_hatch(name),
            edgecolor=style.PAPER,
            label=family or "other signals",
        )
        for family, name in first.items()
    ]


def _line_handles(values: pd.DataFrame) -> list[Line2D]:
    """Entries of the legend for the base rate and the error bars."""
    spread = style.spread(
        "mean ± sd", values.groupby([*CELL_KEYS, "signal"], observed=True)["seed"].nunique()
    )
    return [
        Line2D([], [], label="share of glitches", **_BASE_RATE),
        Line2D([], [], label=spread, color=style.INK, linewidth=0.7, marker="|"),
    ]

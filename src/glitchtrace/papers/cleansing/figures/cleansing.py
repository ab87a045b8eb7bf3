"""Accuracy and loss on test against the number of removed samples, one line per method."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from glitchtrace.papers.cleansing.comparison import KEYS
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import aggregate, write_csv

# Colour, marker and dash of the methods in the order in which they are drawn; others follow, by name.
MARKS: dict[str, tuple[str, str, Any]] = {
    "sgd_all": ("#D55E00", "o", "-"),
    "sgd_last": ("#882255", "s", "-"),
    "sgd_final": ("#009E73", "D", "-"),
    "sgd_final_all": ("#66C2A5", "d", "--"),
    "sgd_no_hessian": ("#E69F00", "v", "--"),
    "tracin": ("#CC79A7", "p", "--"),
    "koh_liang": ("#2F5F9E", "^", "-."),
    "self_influence": ("#7396C0", "<", ":"),
    "cnci": ("#1F4E79", ">", ":"),
    "autoencoder": ("#B3A369", "P", ":"),
    "isolation_forest": ("#8C6D31", "X", ":"),
    "random": ("#7F7F7F", "x", "--"),
}
_OTHER: tuple[str, str, Any] = ("#555555", "*", "-")
_MEASURES = {"accuracy": "test accuracy", "loss": "test loss"}
_RETRAINED = {"all": "all epochs trained again", "last": "last epoch trained again"}


def plot_cleansing(
    *, removal: str | Path, gain: str | Path, figures: Sequence[str | Path], table: str | Path
) -> None:
    """Stage: draw the removal curves of a study, and tabulate what each method gains.

    ``removal`` and ``gain`` are the tables of a study.  Raises GlitchtraceError where one cannot be read.
    """
    measured = read_table(removal, [*KEYS, "seed", "method", "removed", "part", "accuracy", "loss"])
    gains = read_table(gain, [*KEYS, "method", "against", "measure", "difference"])
    style.save(draw_cleansing(measured), figures)
    write_csv(gains, table)


def curves(removal: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Mean and standard deviation over trials on test, per cell, method and number of removed samples."""
    return aggregate(removal[removal["part"] == "test"], [*KEYS, "method", "removed"], measure)


@style.styled()
def draw_cleansing(removal: pd.DataFrame) -> Figure:
    """One row of panels per cell, accuracy and loss side by side; bands are one standard deviation.

    The horizontal line is the training without removal.
    """
    rows = list(removal.groupby(KEYS, sort=True))
    figure = style.new_figure(style.PAGE, 2.5 * len(rows) + 0.6)
    grid = figure.subplots(len(rows), len(_MEASURES), squeeze=False)
    methods = ordered_methods(removal["method"])
    for line, (keys, cell) in zip(grid, rows, strict=True):
        for axes, measure in zip(line, _MEASURES, strict=True):
            _draw_panel(axes, curves(cell, measure), methods)
            axes.set_ylabel(_MEASURES[measure])
        line[0].set_title(
            _heading(dict(zip(KEYS, map(str, keys), strict=True))), loc="left", fontweight="bold"
        )
    for axes in grid[-1]:
        axes.set_xlabel("removed samples")
    handles = [_handle(method) for method in methods]
    handles.append(Line2D([], [], color=style.INK, linewidth=0.8, label="no removal"))
    trials = removal.groupby(KEYS)["seed"].nunique()
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=4,
        title=style.spread("mean ± sd", trials),
    )
    return figure


def _draw_panel(axes: Any, table: pd.DataFrame, methods: Sequence[str]) -> None:
    for method in methods:
        line = table[(table["method"] == method) & (table["removed"] > 0)].sort_values("removed")
        colour, marker, dash = MARKS.get(method, _OTHER)
        axes.plot(line["removed"], line["mean"], color=colour, marker=marker, linestyle=dash, markersize=3.5)
        low, high = line["mean"] - line["std"], line["mean"] + line["std"]
        axes.fill_between(line["removed"], low, high, color=colour, alpha=0.1, linewidth=0)
    # The training without removal is one and the same for all methods.
    nothing = table[table["removed"] == 0]["mean"]
    if len(nothing):
        axes.axhline(nothing.iloc[0], color=style.INK, linewidth=0.8)
    counts = sorted({int(count) for count in table["removed"] if count})
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(counts, [f"{count:,}" for count in counts])


def ordered_methods(methods: pd.Series) -> list[str]:
    """Methods in the order of ``MARKS``, others by name."""
    places = {method: place for place, method in enumerate(MARKS)}
    return sorted(set(methods), key=lambda method: (places.get(method, len(places)), method))


def _heading(keys: dict[str, str]) -> str:
    parts = [style.human_name("dataset", keys["dataset"]), style.human_name("model", keys["model"])]
    glitch = "clean" if keys["ratio"] == "clean" else style.human_glitch(keys["glitch"], keys["ratio"])
    return ", ".join([*parts, glitch, _RETRAINED[keys["retrained"]]])


def _handle(method: str) -> Line2D:
    colour, marker, dash = MARKS.get(method, _OTHER)
    label = style.human_name("cleansing_method", method)
    return Line2D([], [], color=colour, marker=marker, linestyle=dash, markersize=3.5, label=label)

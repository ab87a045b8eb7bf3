"""How training went: accuracy and loss by kind of sample after every epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import clipped_deviation

_KEYS = ("model", "glitch", "ratio", "seed")
_VALIDATION = "validation"
_MEASURES = {"accuracy": "accuracy", "loss": "mean cross-entropy (nats)"}


def plot_history(
    *,
    histories: Sequence[str | Path],
    cells: Sequence[Mapping[str, str]],
    figures: Sequence[str | Path],
    dataset: str,
    memorised: Sequence[Sequence[str]] = (),
) -> None:
    """Stage: draw the training histories of one dataset and glitch.

    ``histories`` are ``history.parquet`` files, ``cells`` their keys (model, glitch, ratio, seed) in the same
    order; ``memorised`` as of ``plot_signals``.  Raises GlitchtraceError where there is none or one cannot be read.
    """
    if not histories:
        raise GlitchtraceError("histories: no training history to draw; name at least one seed")
    columns = ["epoch", "part", "kind", "accuracy", "loss"]
    tables = [
        read_table(path, columns).assign(**{key: cell[key] for key in _KEYS})
        for path, cell in zip(histories, cells, strict=True)
    ]
    style.save(draw_history(style.marked(pd.concat(tables, ignore_index=True), memorised, dataset)), figures)


@style.styled()
def draw_history(history: pd.DataFrame) -> Figure:
    """Accuracy (left) and loss (right) per epoch: mean over seeds with a band of ± one standard deviation.

    ``history`` holds the histories of several cells with their keys ``model``, ``glitch``, ``ratio`` and
    ``seed``; each model and ratio has a row of panels.  Training samples are drawn by kind, validation samples
    together.
    """
    curves = _curves(history)
    names = [name for name in (*style.KIND_COLOURS, _VALIDATION) if name in set(curves["curve"])]
    rows = list(curves.groupby(["model", "glitch", "ratio"], sort=False))
    figure = style.new_figure(style.MIDDLE, 0.5 + 1.9 * len(rows))
    panels = figure.subplots(len(rows), len(_MEASURES), squeeze=False)
    for (cell, found), row in zip(rows, panels, strict=True):
        model, glitch, ratio = map(str, cell)
        for measure, axes in zip(_MEASURES, row, strict=True):
            _draw_curves(axes, found, measure, names)
        row[0].set_title(
            f"{style.human_name('model', model)}, {style.human_glitch(glitch, ratio)}", loc="left"
        )
    _move_legend(figure, panels, style.spread("mean ± sd", [history["seed"].nunique()]))
    return figure


def _draw_curves(axes: Axes, curves: pd.DataFrame, measure: str, names: Sequence[str]) -> None:
    sns.lineplot(
        data=curves,
        x="epoch",
        y=measure,
        hue="curve",
        hue_order=names,
        palette={**style.KIND_COLOURS, _VALIDATION: style.INK},
        style="curve",
        style_order=names,
        markers={**style.KIND_MARKERS, _VALIDATION: "X"},
        dashes={**style.KIND_DASHES, _VALIDATION: (2, 2)},
        markersize=4,
        markeredgewidth=0.4,
        errorbar=clipped_deviation if measure == "accuracy" else "sd",
        err_kws={"alpha": 0.2, "linewidth": 0},
        ax=axes,
    )
    axes.set(ylabel=_MEASURES[measure], xticks=_epoch_ticks(curves["epoch"].max()))
    if measure == "accuracy":
        axes.set_ylim(-0.03, 1.03)
    else:
        axes.set_ylim(bottom=-0.03 * axes.get_ylim()[1])
    style.strip_frame(axes, keep="lb")


def _curves(history: pd.DataFrame) -> pd.DataFrame:
    """The rows to draw, with the name of their curve; kinds without samples have no value."""
    training = history[(history["part"] == "train") & (history["kind"] != "all")]
    training = training.assign(curve=training["kind"])
    validation = history[(history["part"] == _VALIDATION) & (history["kind"] == "all")].assign(
        curve=_VALIDATION
    )
    return pd.concat([training, validation], ignore_index=True).dropna(subset=list(_MEASURES))


def _epoch_ticks(last: int) -> list[int]:
    """About five whole epochs, the last included."""
    step = max(1, round(last / 5))
    return list(range(last, 0, -step))[::-1]


def _move_legend(figure: Figure, panels: np.ndarray, spread: str) -> None:
    """One legend below all panels instead of one in each."""
    handles, labels = panels[0, 0].get_legend_handles_labels()
    for axes in panels.flat:
        axes.get_legend().remove()
    names = [label if label == _VALIDATION else style.human_kind(label) for label in labels]
    title = f"training samples by kind, and validation; {spread}"
    figure.legend(handles, names, title=title, loc="outside lower center", ncols=min(len(names), 4))

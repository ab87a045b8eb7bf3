"""How training went: accuracy and loss by kind of sample after every epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from glitchtrace.errors import GlitchtraceError
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import clipped_deviation

_VALIDATION = "validation"
_MEASURES = {"accuracy": "accuracy", "loss": "mean cross-entropy (nats)"}


def plot_history(*, histories: Sequence[str | Path], figures: Sequence[str | Path]) -> None:
    """Stage: draw the training histories of one cell over its seeds.

    ``histories`` are the ``history.parquet`` of one cell, one per seed.  Raises GlitchtraceError where
    there is none or one cannot be read.
    """
    if not histories:
        raise GlitchtraceError("histories: no training history to draw; name at least one seed")
    columns = ["epoch", "part", "kind", "accuracy", "loss"]
    tables = [read_table(path, columns).assign(run=run) for run, path in enumerate(histories)]
    style.save(draw_history(pd.concat(tables, ignore_index=True)), figures)


@style.styled()
def draw_history(history: pd.DataFrame) -> Figure:
    """Accuracy (left) and loss (right) per epoch: mean over runs with a band of ± one standard deviation.

    ``history`` holds the histories of several runs, numbered in the column ``run``.  Training samples are
    drawn by kind, validation samples together.
    """
    curves = _curves(history)
    names = [name for name in (*style.KIND_COLOURS, _VALIDATION) if name in set(curves["curve"])]
    figure = style.new_figure(style.MIDDLE, 2.4)
    axes_of = dict(zip(_MEASURES, figure.subplots(1, 2), strict=True))
    for measure, axes in axes_of.items():
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
            legend=measure == "accuracy",
            ax=axes,
        )
        axes.set(ylabel=_MEASURES[measure], xticks=_epoch_ticks(curves["epoch"].max()))
        style.strip_frame(axes, keep="lb")
    axes_of["accuracy"].set_ylim(-0.03, 1.03)
    axes_of["loss"].set_ylim(bottom=-0.03 * axes_of["loss"].get_ylim()[1])
    _move_legend(figure, axes_of["accuracy"], style.spread("mean ± sd", [history["run"].nunique()]))
    return figure


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


def _move_legend(figure: Figure, axes: Any, spread: str) -> None:
    handles, labels = axes.get_legend_handles_labels()
    axes.get_legend().remove()
    names = [label if label == _VALIDATION else style.human_kind(label) for label in labels]
    title = f"training samples by kind, and validation; {spread}"
    figure.legend(handles, names, title=title, loc="outside lower center", ncols=min(len(names), 4))

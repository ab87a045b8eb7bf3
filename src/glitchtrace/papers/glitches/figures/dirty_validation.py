"""CNCI on a clean and on a dirty validation set, one against the other."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_summary
from glitchtrace.reporting.tables import write_csv

CLEAN, DIRTY = "clean_validation", "dirty_validation"
_KEYS = ["dataset", "model", "glitch", "ratio", "estimator", "seed"]
_MARKERS = "osD^vP*X"


def plot_dirty_validation(
    *, summary: str | Path, figures: Sequence[str | Path], table: str | Path, signal: str = "CNCI"
) -> None:
    """Stage: draw and tabulate the F1 of one signal with a dirty against that with a clean validation set.

    Cells are paired by everything but the variant of the dataset, which is ``clean_validation`` or
    ``dirty_validation``.  Raises GlitchtraceError where the summary holds no pair.
    """
    pairs = dirty_pairs(read_summary(summary), signal)
    if pairs.empty:
        raise GlitchtraceError(
            f"{summary} has no dataset with both a variant @{CLEAN} and a variant @{DIRTY}; add both to the grid"
        )
    style.save(draw_dirty_validation(pairs, signal), figures)
    write_csv(pairs, table)


def dirty_pairs(summary: pd.DataFrame, signal: str) -> pd.DataFrame:
    """The F1 of a signal with both validation sets, columns ``clean`` and ``dirty``; one row per pair of cells."""
    chosen = summary[(summary["metric"] == "f1") & (summary["signal"] == signal)]
    sides = []
    for variant, name in ((CLEAN, "clean"), (DIRTY, "dirty")):
        side = chosen[chosen["dataset"].str.endswith(f"@{variant}")]
        side = side.assign(dataset=side["dataset"].map(registry.base_name))
        sides.append(side[[*_KEYS, "value"]].rename(columns={"value": name}))
    return sides[0].merge(sides[1], on=_KEYS).sort_values(_KEYS, ignore_index=True)


@style.styled()
def draw_dirty_validation(pairs: pd.DataFrame, signal: str) -> Figure:
    """A mark per seed; datasets differ in colour, models in shape; on the diagonal nothing is lost."""
    groups = list(pairs.groupby(["dataset", "model"]))
    figure = style.new_figure(style.COLUMN, style.COLUMN + 0.1 + 0.13 * len(groups))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=style.FAINT, linewidth=0.8, zorder=0)
    datasets = sorted(set(pairs["dataset"]))
    models = sorted(set(pairs["model"]))
    colours = dict(
        zip(datasets, ("#2F5F9E", "#D55E00", "#009E73", "#882255", "#DDCC77", "#222222"), strict=False)
    )
    for (dataset, model), found in groups:
        axes.plot(
            found["clean"],
            found["dirty"],
            linestyle="",
            marker=_MARKERS[models.index(str(model)) % len(_MARKERS)],
            color=colours.get(str(dataset), style.FAINT),
            markersize=4,
            markeredgecolor=style.PAPER,
            markeredgewidth=0.4,
            clip_on=False,
            label=f"{style.human_name('dataset', str(dataset))}, {style.human_name('model', str(model))}",
        )
    name = style.human_name("detector", signal)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel=f"F1 of {name}, clean validation set",
        ylabel=f"F1 of {name}, dirty validation set",
        aspect="equal",
    )
    style.strip_frame(axes, keep="lb")
    figure.legend(loc="outside lower center", ncols=1)
    return figure

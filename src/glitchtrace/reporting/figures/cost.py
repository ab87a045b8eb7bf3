"""What a cell costs: CPU seconds by phase."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import has_several, read_table
from glitchtrace.reporting.tables import aggregate, write_csv

# Stages in the order of the workflow, each with its hatch; others follow by name.
_HATCHES = {
    "fetch_data": "",
    "prepare_data": "....",
    "inject_glitch": "xxxx",
    "train": "",
    "compute_influence": "////",
    "profile_influence": "||||",
    "detect": "\\\\\\\\",
    "evaluate_cell": "----",
    "repair_cell": "++++",
    "retrain": "oo",
}
_BAR_KEYS = ["dataset", "model", "estimator"]


def plot_cost(*, cost: str | Path, figures: Sequence[str | Path], table: str | Path) -> None:
    """Stage: draw and tabulate the CPU seconds of one cell by stage, for each dataset and model.

    ``cost`` is the ``cost.parquet`` of a study.  Raises GlitchtraceError where it cannot be read.
    """
    costs = cost_table(read_table(cost, [*CELL_KEYS, "seed", "stage", "seconds", "cpu_seconds", "peak_mib"]))
    style.save(draw_cost(costs), figures)
    write_csv(costs, table)


def cost_table(cost: pd.DataFrame) -> pd.DataFrame:
    """CPU seconds per stage of a cell: mean, standard deviation, number of cells; and the largest peak (MiB).

    The cells are the glitches, ratios and seeds of one dataset, model and estimator.  A job that several
    cells share counts in full in each of them.
    """
    keys = [*_BAR_KEYS, "stage"]
    costs = aggregate(cost, keys, "cpu_seconds")
    peaks = cost.groupby(keys, observed=True)["peak_mib"].max().rename("peak_mib").reset_index()
    costs = costs.merge(peaks, on=keys)
    places = {stage: place for place, stage in enumerate(ordered_stages(costs["stage"]))}
    return costs.sort_values(keys, key=lambda c: c.map(places) if c.name == "stage" else c, ignore_index=True)


def ordered_stages(stages: pd.Series) -> list[str]:
    """Stages in the order of the workflow, unknown ones last, by name."""
    places = {stage: place for place, stage in enumerate(_HATCHES)}
    return sorted(set(stages), key=lambda stage: (places.get(stage, len(places)), stage))


@style.styled()
def draw_cost(costs: pd.DataFrame) -> Figure:
    """Stacked horizontal bars, one per dataset and model; ``costs`` is a ``cost_table``."""
    several = has_several(costs["estimator"])
    stages = ordered_stages(costs["stage"])
    seconds = costs.pivot_table(index=_BAR_KEYS, columns="stage", values="mean")[stages].fillna(0)
    bars = list(seconds.index)
    figure = style.new_figure(style.MIDDLE, 0.3 * len(bars) + 1.3)
    axes = figure.subplots()
    left = np.zeros(len(bars))
    colours = sns.color_palette("cividis", len(stages))
    for stage, colour in zip(stages, colours, strict=True):
        axes.barh(
            range(len(bars)),
            seconds[stage],
            left=left,
            height=0.7,
            color=colour,
            hatch=_HATCHES.get(stage, "**"),
            edgecolor=style.PAPER,
            linewidth=0.3,
            label=stage.replace("_", " "),
        )
        left += seconds[stage].to_numpy()
    for place, total in enumerate(left):
        axes.annotate(
            f"{total:,.1f} s", (total, place), (3, 0), textcoords="offset points", va="center", fontsize=6.5
        )
    axes.set_yticks(range(len(bars)), [_bar_label(*bar, several=several) for bar in bars])
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.set_xlim(left=0)
    axes.set_xlabel("CPU seconds of one cell, mean over glitches and seeds")
    axes.grid(visible=False, axis="y")
    axes.tick_params(left=False)
    style.strip_frame(axes, keep="l")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _bar_label(dataset: str, model: str, estimator: str, *, several: bool) -> str:
    names = [style.human_name("dataset", dataset), style.human_name("model", model)]
    if several:
        names.append(style.human_name("estimator", estimator))
    return style.wrapped(", ".join(names), 1.9)

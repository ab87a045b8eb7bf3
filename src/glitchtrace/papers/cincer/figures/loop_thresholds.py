"""Scores of arriving samples by whether their label is wrong, with the threshold found from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.summary import KEYS
from glitchtrace.papers.cincer.thresholds import arriving, threshold_table, thresholds_by_run
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import write_csv

_BINS = 30
# Whether the label is wrong -> how it is drawn.
_LOOKS: dict[bool, dict[str, Any]] = {
    False: {"color": "#8C8C8C", "alpha": 0.6, "label": "label right"},
    True: {"color": "#C1272D", "alpha": 0.6, "label": "label wrong"},
}


def plot_loop_thresholds(
    *, traces: str | Path, loops: Sequence[str], figures: Sequence[str | Path], table: str | Path
) -> None:
    """Stage: find the threshold of every inspector of one dataset and model, draw the scores and tabulate.

    ``traces``: a gathered table of traces; ``loops``: names of those loops in it that do not ask.  Raises
    GlitchtraceError where no inspector gives scores.
    """
    found = read_table(traces, [*KEYS, "repeat", "iteration", "suspiciousness", "n_mistakes_seen"])
    scores = arriving(found[found["loop"].isin(loops)])
    if scores.empty:
        raise GlitchtraceError(f"{traces}: no inspector gives finite scores; use one such as margin")
    keys = found.iloc[0]
    title = f"{style.human_name('dataset', keys['dataset'])}, {style.human_name('model', keys['model'])}"
    style.save(draw_thresholds(scores, title=title), figures)
    write_csv(threshold_table(scores), table)


@style.styled()
def draw_thresholds(scores: pd.DataFrame, *, title: str) -> Figure:
    """A panel per run: histograms of the scores of right and of wrong labels, and the threshold."""
    runs = list(thresholds_by_run(scores))
    columns = min(2, len(runs))
    rows = -(-len(runs) // columns)
    figure = style.new_figure(style.PAGE if columns > 1 else style.COLUMN, 2.0 * rows + 0.5)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(runs) :]:
        axes.set_visible(False)
    for axes, (names, threshold, run) in zip(grid.flat, runs, strict=False):
        edges = np.histogram_bin_edges(run["score"], bins=_BINS)
        # Not stacked: heights on a logarithmic axis do not add.
        for wrong, look in _LOOKS.items():
            axes.hist(run.loc[run["wrong"] == wrong, "score"], bins=edges, histtype="stepfilled", **look)
        axes.axvline(threshold, color=style.INK, linewidth=0.8, linestyle="--", label="threshold")
        axes.set_yscale("symlog", linthresh=10)
        inspector = style.human_name("inspector", names["inspector"])
        axes.set_title(f"{inspector}, threshold {threshold:.3g}", loc="left")
        axes.set_xlabel("score")
        axes.set_ylabel("samples")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(title)
    return figure

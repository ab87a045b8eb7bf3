"""Scores of counter-examples against the true change of the loss when the sample is left out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from glitchtrace.papers.cincer.summary import mean_and_error
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import write_csv

RUN = ["dataset", "model", "loop", "noise", "ratio", "refit", "seed"]
_WRONG, _RIGHT = "#C1272D", "#1E88E5"


def plot_loop_influence(*, changes: str | Path, figures: Sequence[str | Path], table: str | Path) -> None:
    """Stage: draw every negotiator's scores over the true change, and tabulate the rank correlations."""
    found = read_table(changes, [*RUN, "repeat", "negotiator", "sample", "wrong", "loss_change", "score"])
    style.save(draw_influence(found), figures)
    write_csv(correlation_table(found), table)


def correlation_table(changes: pd.DataFrame) -> pd.DataFrame:
    """One row per run and negotiator: Spearman's correlation with its error over repeats, and samples in all."""
    rows = []
    for keys, run in changes.groupby([*RUN, "negotiator"], sort=True):
        each = [_spearman(part)[0] for _, part in run.groupby("repeat")]
        mean, error = mean_and_error(np.array(each))
        rows.append(
            {
                **dict(zip([*RUN, "negotiator"], keys, strict=True)),
                "repeats": len(each),
                "samples": len(run),
                "spearman": mean,
                "spearman_error": error,
                "spearman_least": min(each),
            }
        )
    return pd.DataFrame(rows)


@style.styled()
def draw_influence(changes: pd.DataFrame) -> Figure:
    """A row of panels per run, one per negotiator, with the first repeat; wrong labels are marked."""
    runs = list(changes.groupby(RUN, sort=True))
    columns = max(run["negotiator"].nunique() for _, run in runs)
    figure = style.new_figure(max(style.COLUMN, 1.75 * columns), 1.95 * len(runs) + 0.4)
    grid = figure.subplots(len(runs), columns, squeeze=False)
    for line, (keys, run) in zip(grid, runs, strict=True):
        first = run[run["repeat"].astype(int) == run["repeat"].astype(int).min()]
        for axes in line[run["negotiator"].nunique() :]:
            axes.set_visible(False)
        for axes, (name, shown) in zip(line, first.groupby("negotiator", sort=True), strict=False):
            for wrong, colour in ((False, _RIGHT), (True, _WRONG)):
                part = shown[shown["wrong"] == wrong]
                axes.scatter(part["loss_change"], part["score"], s=10, color=colour, alpha=0.7, linewidth=0)
            correlation, chance = _spearman(shown)
            axes.set_title(
                f"{style.human_name('negotiator', str(name))}\nc {correlation:.2f}, p {chance:.1g}, n {len(shown)}",
                loc="left",
                fontsize=7,
            )
            axes.ticklabel_format(style="sci", scilimits=(-2, 3))
            axes.xaxis.set_major_locator(MaxNLocator(3))
        dataset, model, refit = (str(keys[place]) for place in (0, 1, 5))
        names = [style.human_name("dataset", dataset), style.human_name("model", model), refit]
        line[0].set_ylabel(",\n".join(names) + "\n\nscore", fontsize=7)
    figure.supxlabel("true change of the loss without the sample", fontsize=8)
    return figure


def _spearman(part: pd.DataFrame) -> tuple[float, float]:
    """Spearman's correlation of score and change, and its p-value; NaN where one of them is constant."""
    part = part.dropna(subset=["score"])
    if part["score"].nunique() < 2 or part["loss_change"].nunique() < 2:
        return float("nan"), float("nan")
    found = stats.spearmanr(part["loss_change"], part["score"])
    return float(found.statistic), float(found.pvalue)

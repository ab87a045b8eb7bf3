"""Estimated against true influence of single samples, and how well their order is met."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from glitchtrace.papers.cleansing.figures.cleansing import MARKS, ordered_methods
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import aggregate, write_csv

EXTREMES = 10  # samples at either end that the Jaccard index compares
_CELL = ["task", "network"]
_NETWORKS = {"logistic_regression": "logistic regression", "dnn": "network d–8–8–1"}
_SCALE = 1e3  # changes of the loss are drawn in thousandths
_DRAWN = ("sgd_all", "koh_liang")


def plot_fidelity(*, fidelity: str | Path, figures: Sequence[str | Path], table: str | Path) -> None:
    """Stage: draw estimates against the truth, and tabulate Kendall's τ and the Jaccard index.

    ``fidelity`` is the ``fidelity.parquet`` of a study.  Raises GlitchtraceError where it cannot be read.
    """
    columns = [*_CELL, "seed", "method", "sample", "estimate", "loss_change", "linear_change"]
    measured = read_table(fidelity, columns)
    agreement = agreement_table(measured)
    style.save(draw_fidelity(measured, agreement), figures)
    write_csv(agreement, table)


def agreement_table(fidelity: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation and number of trials of each measure, per task, network and method.

    ``tau`` and ``jaccard`` against the change of the loss, ``tau_linear`` and ``jaccard_linear`` against the
    linear change ⟨u, θ' − θ⟩.  A trial in which a method has no estimate is left out, and does not count.
    """
    rows = []
    for keys, trial in fidelity.groupby([*_CELL, "method", "seed"], sort=True):
        for suffix, truth in (("", "loss_change"), ("_linear", "linear_change")):
            estimate, true = trial["estimate"].to_numpy(), trial[truth].to_numpy()
            measures = {"tau": np.nan, "jaccard": np.nan}
            if np.isfinite(estimate).all():
                measures["tau"] = stats.kendalltau(estimate, true).statistic
                measures["jaccard"] = jaccard(estimate, true)
            rows += [(*keys, f"{name}{suffix}", value) for name, value in measures.items()]
    table = pd.DataFrame(rows, columns=[*_CELL, "method", "seed", "measure", "value"])
    return aggregate(table, [*_CELL, "method", "measure"])


def jaccard(estimate: np.ndarray, truth: np.ndarray, extremes: int = EXTREMES) -> float:
    """Jaccard index of the samples at both ends: the ``extremes`` lowest and highest, (n,) each."""
    ends = [
        set(order[:extremes]) | set(order[len(order) - extremes :])
        for order in (np.argsort(values, kind="stable").tolist() for values in (estimate, truth))
    ]
    return len(ends[0] & ends[1]) / len(ends[0] | ends[1])


@style.styled()
def draw_fidelity(fidelity: pd.DataFrame, agreement: pd.DataFrame) -> Figure:
    """One panel per task and network: the first trial's estimates over the truth, with the diagonal.

    τ above each panel, in the colour of its method, is the mean over all trials with its standard deviation.
    """
    cells = list(fidelity.groupby(_CELL, sort=True))
    columns = min(2, len(cells))
    lines = -(-len(cells) // columns)
    figure = style.new_figure(style.PAGE if columns > 1 else style.COLUMN, 2.5 * lines + 0.6)
    grid = figure.subplots(lines, columns, squeeze=False)
    panels = grid.ravel()
    taus = {
        (row.task, row.network, row.method): f"{row.mean:.2f}" + ("" if row.n == 1 else f" ± {row.std:.2f}")
        for row in agreement[(agreement["measure"] == "tau") & (agreement["n"] > 0)].itertuples()
    }
    drawn = [name for name in ordered_methods(fidelity["method"]) if name in _DRAWN]
    for axes, (keys, cell) in zip(panels, cells, strict=False):
        task, network = map(str, keys)
        first = cell[cell["seed"] == cell["seed"].min()]
        for method in drawn:
            chosen = first[first["method"] == method]
            colour, marker, _ = MARKS[method]
            axes.scatter(
                _SCALE * chosen["loss_change"],
                _SCALE * chosen["estimate"],
                s=9,
                marker=marker,
                color=colour,
                alpha=0.6,
                linewidth=0,
                label=style.human_name("cleansing_method", method),
            )
        ends = [_SCALE * first["loss_change"].min(), _SCALE * first["loss_change"].max()]
        axes.plot(ends, ends, color=style.INK, linewidth=0.8, zorder=0.5)
        label = style.human_name("fidelity_task", task)
        axes.set_title(f"{label}, {_NETWORKS[network]}", loc="left", fontweight="bold", pad=16)
        for place, method in enumerate(drawn):
            if (task, network, method) in taus:
                axes.annotate(
                    f"τ {taus[task, network, method]}",
                    (0.3 * place, 1),
                    (0, 5),
                    xycoords="axes fraction",
                    textcoords="offset points",
                    color=MARKS[method][0],
                    fontsize=6.5,
                )
    for axes in panels[len(cells) :]:
        axes.set_axis_off()
    for axes in panels[max(0, len(cells) - columns) : len(cells)]:
        axes.set_xlabel("true change of validation loss without the sample, 10⁻³")
    for axes in grid[:, 0]:
        axes.set_ylabel("estimate, 10⁻³")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(drawn))
    return figure

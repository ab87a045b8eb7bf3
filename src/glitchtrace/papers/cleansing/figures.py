"""Figures of data cleansing: misclassification and gain by removals, cost of each method, and fidelity."""

from collections.abc import Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from glitchtrace.core import registry
from glitchtrace.papers.cleansing.comparison import KEYS
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import has_several, read_table
from glitchtrace.reporting.tables import aggregate, write_csv

# Colour, marker and dash of the methods in the order in which they are drawn; others follow, by name.
Mark = tuple[str, str, Any]
MARKS: dict[str, Mark] = {
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
# Of further methods, and of further variants of one method.
_OTHERS: tuple[Mark, ...] = (
    ("#555555", "*", "-"),
    ("#4DAF4A", "h", "-."),
    ("#A65628", "H", "--"),
    ("#984EA3", "8", ":"),
)
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
    marks = marks_of(removal["method"])
    several = has_several(removal["protocol"])
    for line, (keys, cell) in zip(grid, rows, strict=True):
        for axes, measure in zip(line, _MEASURES, strict=True):
            _draw_panel(axes, curves(cell, measure), marks)
            axes.set_ylabel(_MEASURES[measure])
        heading = _heading(dict(zip(KEYS, map(str, keys), strict=True)), several)
        line[0].set_title(heading, loc="left", fontweight="bold")
    for axes in grid[-1]:
        axes.set_xlabel("removed samples")
    handles = [_handle(method, mark) for method, mark in marks.items()]
    handles.append(Line2D([], [], color=style.INK, linewidth=0.8, label="no removal"))
    trials = removal.groupby(KEYS)["seed"].nunique()
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=4,
        title=style.spread("mean ± sd", trials),
    )
    return figure


def _draw_panel(axes: Any, table: pd.DataFrame, marks: dict[str, Mark]) -> None:
    for method, (colour, marker, dash) in marks.items():
        line = table[(table["method"] == method) & (table["removed"] > 0)].sort_values("removed")
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


def marks_of(methods: Iterable[str]) -> dict[str, Mark]:
    """Colour, marker and dash of every method, in the order of ``MARKS``; variants of a method are told apart."""
    places = {method: place for place, method in enumerate(MARKS)}
    ordered = sorted(
        set(methods), key=lambda method: (places.get(registry.base_name(method), len(places)), method)
    )
    free, known = cycle(_OTHERS), dict(MARKS)
    found = {}
    for method in ordered:
        base = registry.base_name(method)
        found[method] = known.pop(base) if base in known else next(free)
    return found


def _heading(keys: dict[str, str], several: bool) -> str:
    """What a row of panels shows; the protocol where there are several."""
    parts = [style.human_name("dataset", keys["dataset"]), style.human_name("model", keys["model"])]
    glitch = "clean" if keys["ratio"] == "clean" else style.human_glitch(keys["glitch"], keys["ratio"])
    protocol = [style.human_name("protocol", keys["protocol"])] if several else []
    return ", ".join([*parts, glitch, *protocol, _RETRAINED[keys["retrained"]]])


def _handle(method: str, mark: Mark) -> Line2D:
    colour, marker, dash = mark
    label = style.human_name("cleansing_method", method)
    return Line2D([], [], color=colour, marker=marker, linestyle=dash, markersize=3.5, label=label)


_COST_CELL = ["dataset", "model", "protocol"]


def plot_cleansing_cost(*, cost: str | Path, figures: Sequence[str | Path], table: str | Path) -> None:
    """Stage: draw and tabulate cache and CPU seconds of every method, for each dataset, model and protocol.

    ``cost`` is the ``cost.parquet`` of a study.  Raises GlitchtraceError where it cannot be read.
    """
    costs = cost_table(read_table(cost, [*_COST_CELL, "seed", "method", "cpu_seconds", "cache_bytes"]))
    style.save(draw_cost(costs), figures)
    write_csv(costs, table)


def cost_table(cost: pd.DataFrame) -> pd.DataFrame:
    """CPU seconds (mean, standard deviation, number of cells), bytes and the last epoch's movement by method."""
    keys = [*_COST_CELL, "method"]
    seconds = aggregate(cost, keys, "cpu_seconds")
    other = cost.groupby(keys, sort=False)[["cache_bytes", "last_movement"]].mean().reset_index()
    return seconds.merge(other, on=keys)


@style.styled()
def draw_cost(costs: pd.DataFrame) -> Figure:
    """CPU seconds and stored megabytes side by side, both logarithmic, a row per dataset, model and protocol."""
    cells = list(costs.groupby(_COST_CELL, sort=True))
    lines = sum(len(cell) for _, cell in cells)
    figure = style.new_figure(style.PAGE, 0.22 * lines + 0.75 * len(cells))
    grid = figure.subplots(len(cells), 2, squeeze=False, sharey="row")
    marks, several = marks_of(costs["method"]), has_several(costs["protocol"])
    for panels, (keys, cell) in zip(grid, cells, strict=True):
        names = [
            style.human_name(kind, str(name))
            for kind, name in zip(_COST_CELL, keys, strict=True)
            if several or kind != "protocol"
        ]
        panels[0].set_title(", ".join(names), loc="left", fontweight="bold")
        ordered = cell.set_index("method").loc[[method for method in marks if method in set(cell["method"])]]
        colours = [marks[method][0] for method in ordered.index]
        _draw_bars(panels[0], ordered["mean"].tolist(), colours, "s")
        _draw_bars(panels[1], (ordered["cache_bytes"] / 1e6).tolist(), colours, "MB")
        methods = [style.human_name("cleansing_method", name) for name in ordered.index]
        panels[0].set_yticks(range(len(methods)), methods)
        panels[0].invert_yaxis()
    for axes, label in zip(grid[-1], ("CPU seconds", "stored parameters that are read, MB"), strict=True):
        axes.set_xlabel(label)
    return figure


def _draw_bars(axes: Axes, values: list[float], colours: list[str], unit: str) -> None:
    """Bars on a logarithmic axis of at most four decades, each with its value; an axis without any where all are 0."""
    least = min((value for value in values if value > 0), default=1.0)
    left = max(least / 2, max(values) / 1e4)
    for place, (value, colour) in enumerate(zip(values, colours, strict=True)):
        axes.barh(place, value, height=0.6, color=colour)
        axes.annotate(
            f"{value:.2g} {unit}" if value else "none",
            (max(value, left), place),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
        )
    axes.set_xlim(left, 10 * max(*values, least))
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.grid(visible=False, axis="y")
    style.strip_frame(axes, keep="l")


EXTREMES = 10  # samples at either end that the Jaccard index compares
_FIDELITY_CELL = ["task", "network"]
_NETWORKS = {"logistic_regression": "logistic regression", "dnn": "network d–8–8–1"}
_SCALE = 1e3  # changes of the loss are drawn in thousandths
_DRAWN = ("sgd_all", "koh_liang")


def plot_fidelity(*, fidelity: str | Path, figures: Sequence[str | Path], table: str | Path) -> None:
    """Stage: draw estimates against the truth, and tabulate Kendall's τ and the Jaccard index.

    ``fidelity`` is the ``fidelity.parquet`` of a study.  Raises GlitchtraceError where it cannot be read.
    """
    columns = [*_FIDELITY_CELL, "seed", "method", "sample", "estimate", "loss_change", "linear_change"]
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
    for keys, trial in fidelity.groupby([*_FIDELITY_CELL, "method", "seed"], sort=True):
        for suffix, truth in (("", "loss_change"), ("_linear", "linear_change")):
            estimate, true = trial["estimate"].to_numpy(), trial[truth].to_numpy()
            measures = {"tau": np.nan, "jaccard": np.nan}
            if np.isfinite(estimate).all():
                measures["tau"] = stats.kendalltau(estimate, true).statistic
                measures["jaccard"] = jaccard(estimate, true)
            rows += [(*keys, f"{name}{suffix}", value) for name, value in measures.items()]
    table = pd.DataFrame(rows, columns=[*_FIDELITY_CELL, "method", "seed", "measure", "value"])
    return aggregate(table, [*_FIDELITY_CELL, "method", "measure"])


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
    cells = list(fidelity.groupby(_FIDELITY_CELL, sort=True))
    columns = min(2, len(cells))
    lines = -(-len(cells) // columns)
    figure = style.new_figure(style.PAGE if columns > 1 else style.COLUMN, 2.5 * lines + 0.6)
    grid = figure.subplots(lines, columns, squeeze=False)
    panels = grid.ravel()
    taus = {
        (row.task, row.network, row.method): f"{row.mean:.2f}" + ("" if row.n == 1 else f" ± {row.std:.2f}")
        for row in agreement[(agreement["measure"] == "tau") & (agreement["n"] > 0)].itertuples()
    }
    drawn = [name for name in marks_of(fidelity["method"]) if name in _DRAWN]
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

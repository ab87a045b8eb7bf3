"""RDIA and what it is compared with: test loss after retraining, by noise, method and threshold; figure and tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.evaluation.statistics import estimate
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import write_csv

KEYS = ["dataset", "learner", "glitch", "ratio"]
MEASURES = ("log_loss", "accuracy", "auc", "alpha", "relabelled", "dropped", "precision", "recall")
# Methods from top to bottom, with their colours; other methods follow, by name.
METHODS = {
    "erm": "#7F7F7F",
    "random_subset": "#7F7F7F",
    "random_flip": "#7F7F7F",
    "uids": "#5780B1",
    "optlr": "#5780B1",
    "cleanlab_suggestion": "#882255",
    "cnci": "#882255",
    "dropout": "#009E73",
    "rdia": "#D55E00",
}
_OTHER = "#222222"
_ROW_INCHES = 0.2


def plot_rdia(*, summary: str | Path, figures: Sequence[str | Path], table: str | Path) -> None:
    """Stage: draw and tabulate the test loss of every method of a study.

    ``summary`` is the ``rdia.parquet`` of a study.  Raises GlitchtraceError where it cannot be read or has no rows
    of the part test.
    """
    found = read_rdia(summary)
    style.save(draw_rdia(found), figures)
    write_csv(found, table)


def read_rdia(summary: str | Path) -> pd.DataFrame:
    """The ``rdia_table`` of the ``rdia.parquet`` of a study.

    Raises GlitchtraceError where it cannot be read or has no rows of the part test.
    """
    found = rdia_table(read_table(summary, [*KEYS, "seed", "relabelling", "part", *MEASURES]))
    if found.empty:
        raise GlitchtraceError(f"{summary} has no rows of the part test; run the target 'rdia' again")
    return found


def rdia_table(gains: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds of every measure on test, one row per cell and method.

    Columns: the cell, ``relabelling``, ``name`` for readers, ``seeds``, then ``<measure>`` and
    ``<measure>_std``.  Rows are in the order of the cells and then of the methods.
    """
    rows = []
    tested = gains[gains["part"] == "test"].astype({"ratio": str})
    for keys, group in tested.groupby([*KEYS, "relabelling"], observed=True):
        row: dict[str, Any] = dict(zip([*KEYS, "relabelling"], keys, strict=True))
        row |= {"name": method_name(row["relabelling"], group["alpha"]), "seeds": group["seed"].nunique()}
        for measure in MEASURES:
            found = estimate(group[measure].to_numpy(dtype=float))
            row |= {measure: found.mean, f"{measure}_std": found.standard_deviation}
        rows.append(row)
    columns = [column for measure in MEASURES for column in (measure, f"{measure}_std")]
    table = pd.DataFrame(rows, columns=[*KEYS, "relabelling", "name", "seeds", *columns])
    order = table["relabelling"].map(_place)
    return (
        table.assign(order=order)
        .sort_values([*KEYS, "order", "alpha"])
        .drop(columns="order")
        .reset_index(drop=True)
    )


def method_name(relabelling: str, alphas: pd.Series) -> str:
    """The method as readers know it: its label, with α where the variant is named by it (``rdia@alpha_0_002``)."""
    label: str = registry.card("relabelling", relabelling)["label"]
    if relabelling == registry.base_name(relabelling):
        return f"{label}, α chosen" if alphas.notna().any() else label
    if "@alpha_" in relabelling and len(set(alphas.dropna())) == 1:
        return f"{label}, α = {alphas.iloc[0]:.4f}".rstrip("0")
    return style.human_name("relabelling", relabelling)


@style.styled()
def draw_rdia(table: pd.DataFrame) -> Figure:
    """Marks with their standard deviation over seeds, one row of panels per dataset, one panel per noise ratio.

    ``table`` is an ``rdia_table``; its method names run down.
    """
    lines = list(dict.fromkeys(table[["dataset", "learner"]].itertuples(index=False, name=None)))
    noises = sorted(dict.fromkeys(table["ratio"]), key=share_of)
    heights = [table[table["dataset"] == dataset]["name"].nunique() for dataset, _ in lines]
    figure = style.new_figure(style.PAGE, _ROW_INCHES * sum(heights) + 0.75 * len(lines) + 0.3)
    grid = figure.subplots(
        len(lines), len(noises), squeeze=False, sharex=True, sharey="row", height_ratios=heights
    )
    for panels, (dataset, learner) in zip(grid, lines, strict=True):
        rows = table[(table["dataset"] == dataset) & (table["learner"] == learner)]
        ordered = rows.assign(place=rows["relabelling"].map(_place)).sort_values(["place", "alpha"])
        names = list(dict.fromkeys(ordered["name"]))
        for axes, ratio in zip(panels, noises, strict=True):
            _draw_panel(axes, rows[rows["ratio"] == ratio], names)
            axes.set_title(f"{100 * share_of(ratio):g} % wrong labels", loc="left")
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.4, -0.6)
        title = style.human_name("dataset", dataset)
        panels[0].annotate(
            title,
            (0, 1),
            (-4, 14),
            xycoords="axes fraction",
            textcoords="offset points",
            fontweight="bold",
            ha="right",
        )
    spread = style.spread("mean ± standard deviation", table["seeds"])
    figure.supxlabel(f"test log loss after retraining ({spread}), smaller is better")
    return figure


def _draw_panel(axes: Any, rows: pd.DataFrame, names: list[str]) -> None:
    for row in rows.to_dict("records"):
        height = names.index(row["name"])
        base = registry.base_name(row["relabelling"])
        axes.errorbar(
            row["log_loss"],
            height,
            xerr=row["log_loss_std"],
            color=METHODS.get(base, _OTHER),
            marker="s" if base == "rdia" else "o",
            markersize=4,
            linewidth=1,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelbottom=True)
    axes.grid(visible=True, axis="y", linewidth=0.4)
    axes.tick_params(left=False)
    style.strip_frame(axes, keep="b")


def share_of(ratio: str) -> float:
    """The share of wrong labels that a ratio names; 0 of clean labels and of noise with a ratio of its own."""
    return float(ratio) if ratio[:1].isdigit() else 0.0


def _place(relabelling: str) -> tuple[int, str]:
    known = list(METHODS)
    base = registry.base_name(relabelling)
    return (known.index(base) if base in known else len(known), base)


LOSS = ("log_loss", "log_loss_std")
# The README of the published program: test log loss by α and noise.
PUBLISHED_DATASET = "mnist17"
PUBLISHED = {
    0.01: {"clean": 0.0235, "0.2": 0.0443, "0.5": 0.0903, "0.8": 0.1009},
    0.002: {"clean": 0.0207, "0.2": 0.0315, "0.5": 0.0519, "0.8": 0.0465},
    0.0002: {"clean": 0.0903, "0.2": 0.0392, "0.5": 0.0410, "0.8": 0.0405},
}


def tabulate_rdia_thresholds(*, summary: str | Path, table: str | Path, alphas: Mapping[str, float]) -> None:
    """Stage: write the test log loss of RDIA by α and ratio of wrong labels (``thresholds_table``).

    ``summary`` is the ``rdia.parquet`` of a study; ``alphas``: relabelling -> its given α.  Raises
    GlitchtraceError where the summary cannot be read or has none of these relabellings.
    """
    found = read_rdia(summary)
    found = found[found["relabelling"].isin(alphas)]
    if found.empty:
        raise GlitchtraceError(
            f"{summary} has no relabelling {', '.join(alphas)}; run the target 'rdia' again"
        )
    write_csv(thresholds_table(found, alphas), table)


def tabulate_rdia_baselines(*, summary: str | Path, table: str | Path) -> None:
    """Stage: write test log loss and accuracy of every method by ratio of wrong labels (``by_ratio``).

    Raises GlitchtraceError where the summary cannot be read.
    """
    write_csv(by_ratio(read_rdia(summary), (*LOSS, "accuracy", "accuracy_std")), table)


def thresholds_table(table: pd.DataFrame, alphas: Mapping[str, float]) -> pd.DataFrame:
    """One row per α and dataset, α falling; above those of MNIST 1 against 7 stands the published row.

    ``table``: an ``rdia_table`` of the relabellings ``alphas`` (-> α).  Columns: ``alpha``, ``source`` (published or
    measured), then as of ``by_ratio`` with the log loss.  A published row names the dataset without a variant, and
    has neither seeds nor deviations.
    """
    found = by_ratio(table, LOSS)
    found.insert(0, "source", "measured")
    found.insert(0, "alpha", found["relabelling"].map(alphas))
    published = [
        {"alpha": alpha, "source": "published", "dataset": PUBLISHED_DATASET}
        | {_column("log_loss", ratio): loss for ratio, loss in losses.items()}
        for alpha, losses in PUBLISHED.items()
        if alpha in set(found.loc[found["dataset"].map(registry.base_name) == PUBLISHED_DATASET, "alpha"])
    ]
    rows = [*published, *found.to_dict("records")]
    return pd.DataFrame(rows, columns=found.columns).sort_values(
        "alpha", ascending=False, kind="stable", ignore_index=True
    )


def by_ratio(table: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """One row per dataset, kind of noise and method; a column ``<measure>_at_<ratio>`` per measure and ratio.

    ``table``: an ``rdia_table``.  Clean labels belong to every kind of noise of their dataset.  The other columns:
    ``dataset``, ``learner``, ``glitch``, ``relabelling``, ``name``, and ``seeds``, the most of any ratio.  What was
    not measured is NaN.
    """
    rows = []
    for (dataset, learner), cells in table.groupby(["dataset", "learner"], sort=False):
        clean = cells["ratio"] == "clean"
        for glitch in dict.fromkeys(cells.loc[~clean, "glitch"]) or ["none"]:
            kind = cells[clean | (cells["glitch"] == glitch)]
            for relabelling in dict.fromkeys(kind["relabelling"]):
                chosen = kind[kind["relabelling"] == relabelling]
                rows.append(
                    {
                        "dataset": dataset,
                        "learner": learner,
                        "glitch": glitch,
                        "relabelling": relabelling,
                        "name": chosen["name"].iloc[0],
                        "seeds": chosen["seeds"].max(),
                        **{
                            _column(measure, cell["ratio"]): cell[measure]
                            for cell in chosen.to_dict("records")
                            for measure in measures
                        },
                    }
                )
    keys = ["dataset", "learner", "glitch", "relabelling", "name", "seeds"]
    ratios = sorted(dict.fromkeys(table["ratio"]), key=share_of)
    return pd.DataFrame(
        rows, columns=keys + [_column(measure, ratio) for ratio in ratios for measure in measures]
    )


def _column(measure: str, ratio: str) -> str:
    return f"{measure}_at_{ratio}"

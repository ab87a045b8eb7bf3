"""RDIA-LS and what it is compared with: test accuracy by epoch."""

from collections.abc import Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from glitchtrace.core import registry
from glitchtrace.evaluation.statistics import estimate
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import write_csv

KEYS = ["dataset", "model", "glitch", "ratio"]
MEASURED = ("test_accuracy", "test_worst_class_accuracy", "pure_ratio")
LAST = 10  # epochs behind the accuracy at the end
LOST = 0.05  # accuracy within a class below which the network is said to have lost it
STYLES: dict[str, tuple[str, tuple[float, ...] | str]] = {
    "plain": ("#7F7F7F", (1, 1)),
    "small_loss": ("#2F5F9E", (4, 1.5)),
    "coteaching": ("#009E73", (4, 1, 1, 1)),
    "rdia_ls": ("#D55E00", ""),
}
# Of further methods, and of further variants of one method.
OTHERS = (("#882255", (2, 1)), ("#5780B1", (6, 1, 1, 1)), ("#222222", (3, 1, 1, 1)))


def plot_rdia_ls(*, summary: str | Path, figures: Sequence[str | Path], table: str | Path) -> None:
    """Stage: draw the test accuracy of every method by epoch, and tabulate its end, best and mean.

    ``summary`` is the ``rdia_ls.parquet`` of a study.  Raises GlitchtraceError where it cannot be read.
    """
    histories = read_table(summary, [*KEYS, "seed", "selection", "epoch", *MEASURED])
    style.save(draw_rdia_ls(histories), figures)
    write_csv(rdia_ls_table(histories), table)


def rdia_ls_table(histories: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy in percent, mean and standard deviation over seeds, one row per cell and method.

    Of each seed: ``last`` is the mean of the last ten epochs, ``best`` the highest epoch, ``best_by_40`` the
    highest of the epochs up to 40, ``mean`` that of all epochs (the untrained network included); ``pure_ratio`` is
    the share of right labels among the samples kept in the last ten epochs.  ``lost``: seeds with a class of which
    less than 5 % is recognised, in the mean of the last ten epochs.
    """
    rows = []
    for keys, group in histories.groupby([*KEYS, "selection"], observed=True):
        accuracies = 100 * group.pivot_table(index="epoch", columns="seed", values="test_accuracy")
        pure = group.pivot_table(index="epoch", columns="seed", values="pure_ratio")
        worst = group.pivot_table(index="epoch", columns="seed", values="test_worst_class_accuracy")
        measures = {
            "last": accuracies.tail(LAST).mean(),
            "best": accuracies.max(),
            "best_by_40": accuracies[accuracies.index <= 40].max(),
            "mean": accuracies.mean(),
            "pure_ratio": pure.tail(LAST).mean(),
        }
        row = {**dict(zip([*KEYS, "selection"], keys, strict=True)), "seeds": accuracies.shape[1]}
        row |= {"epochs": len(accuracies), "lost": int((worst.tail(LAST).mean() < LOST).sum())}
        for measure, values in measures.items():
            found = estimate(values.to_numpy())
            row |= {measure: found.mean, f"{measure}_std": found.standard_deviation}
        rows.append(row)
    return pd.DataFrame(rows)


@style.styled()
def draw_rdia_ls(histories: pd.DataFrame) -> Figure:
    """Mean over seeds with a thin line for each, one panel per dataset and glitch.

    No band: seeds that lose a class lie apart from the others, and a standard deviation would hide it.
    """
    panels = list(histories.groupby(KEYS, observed=True))
    figure = style.new_figure(style.MIDDLE, 2.6 * len(panels))
    grid = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (keys, cell) in zip(grid, panels, strict=True):
        _draw_panel(axes, cell)
        dataset, model, glitch, ratio = (str(key) for key in keys)
        names = (style.human_name("dataset", dataset), style.human_name("model", model))
        axes.set_title(f"{', '.join(names)}: {style.human_glitch(glitch, ratio)}", loc="left")
    grid[-1].set_xlabel("epoch")
    figure.supylabel("test accuracy (%)", size="medium")
    return figure


def _draw_panel(axes: Any, cell: pd.DataFrame) -> None:
    seeds = []
    for selection, (colour, dashes) in styles_of(cell["selection"].unique()).items():
        accuracies = 100 * cell[cell["selection"] == selection].pivot_table(
            index="epoch", columns="seed", values="test_accuracy"
        )
        label = style.human_name("selection", selection)
        (line,) = axes.plot(accuracies.index, accuracies.mean(axis=1), color=colour, label=label)
        if dashes:
            line.set_dashes(dashes)
        if accuracies.shape[1] > 1:
            axes.plot(accuracies.index, accuracies, color=colour, alpha=0.4, linewidth=0.5)
        seeds.append(accuracies.shape[1])
    axes.set_ylim(bottom=0, top=min(100.0, float(np.ceil(axes.get_ylim()[1] / 10) * 10)))
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(title=style.spread("mean (thin: each seed)", seeds), loc="best")


def styles_of(selections: Iterable[str]) -> dict[str, tuple[str, tuple[float, ...] | str]]:
    """Colour and dashes of every method, in the order of drawing; two variants of one method are told apart."""
    found: dict[str, tuple[str, tuple[float, ...] | str]] = {}
    free, known = cycle(OTHERS), dict(STYLES)
    for selection in sorted(selections, key=_place):
        base = registry.base_name(selection)
        found[selection] = known.pop(base) if base in known else next(free)
    return found


def _place(selection: str) -> tuple[int, str]:
    known = list(STYLES)
    base = registry.base_name(selection)
    return (known.index(base) if base in known else len(known), selection)

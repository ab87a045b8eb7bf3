"""Figures of single samples: scores against the true effect of leaving out, and pairs that were asked about."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.description import read_description
from glitchtrace.papers.cincer.tables import LEFT_OUT_KEYS, correlation_table, spearman
from glitchtrace.reporting import style
from glitchtrace.reporting.figures.gallery import shortened
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import write_csv

_WRONG, _RIGHT = "#C1272D", "#1E88E5"


def plot_loop_influence(*, changes: str | Path, figures: Sequence[str | Path], table: str | Path) -> None:
    """Stage: draw every negotiator's scores over the true change, and tabulate the rank correlations."""
    found = read_table(
        changes, [*LEFT_OUT_KEYS, "repeat", "negotiator", "sample", "wrong", "loss_change", "score"]
    )
    style.save(draw_influence(found), figures)
    write_csv(correlation_table(found), table)


@style.styled()
def draw_influence(changes: pd.DataFrame) -> Figure:
    """A row of panels per run, one per negotiator, with the first repeat; wrong labels are marked."""
    runs = list(changes.groupby(LEFT_OUT_KEYS, sort=True))
    columns = max(run["negotiator"].nunique() for _, run in runs)
    figure = style.new_figure(max(style.COLUMN, 1.75 * columns), 1.95 * len(runs) + 0.4)
    grid = figure.subplots(len(runs), columns, squeeze=False)
    for line, (keys, run) in zip(grid, runs, strict=True):
        first = run[run["repeat"].astype(int) == run["repeat"].astype(int).min()]
        for axes in line[run["negotiator"].nunique() :]:
            axes.set_visible(False)
        for axes, (name, shown) in zip(line, first.groupby("negotiator", sort=True), strict=False):
            for wrong, colour, marker in ((False, _RIGHT, "o"), (True, _WRONG, "^")):
                part = shown[shown["wrong"] == wrong]
                axes.scatter(
                    part["loss_change"],
                    part["score"],
                    s=10,
                    color=colour,
                    marker=marker,
                    alpha=0.7,
                    linewidth=0,
                )
            correlation, chance = spearman(shown)
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


_KINDS = {
    "example": "the suspicious sample is wrong",
    "counter": "the counter-example is wrong",
}
_FRAME, _PLAIN = "#D55E00", "#8C8C8C"


def plot_loop_gallery(
    *, features: str | Path, questions: Sequence[str | Path], figures: Sequence[str | Path], pairs: int
) -> None:
    """Stage: draw the first ``pairs`` questions of each kind of mistake.

    ``features``: of the source, with ``source.json`` beside; ``questions``: tables of questions, in order.  Raises
    GlitchtraceError for a table and where no pair was shown.
    """
    description = read_description(Path(features).parent / "source.json")
    if description["modality"] != "image":
        raise GlitchtraceError(f"{features} is a table; a gallery of pairs needs pictures")
    asked = pd.concat([files.read_parquet(path) for path in questions], ignore_index=True)
    chosen = choose_pairs(asked, pairs)
    if not any(len(rows) for rows in chosen.values()):
        raise GlitchtraceError(
            f"{questions[0]}: no pair with a mistake was shown; use a negotiator that shows one"
        )
    stored = np.load(features, mmap_mode="r")
    style.save(draw_pairs(chosen, stored, description["classes"]), figures)


def choose_pairs(asked: pd.DataFrame, pairs: int) -> dict[str, pd.DataFrame]:
    """The first questions in which only the suspicious sample, and only the counter-example, was wrong."""
    shown = asked[asked["counter_example"] >= 0]
    example = shown["annotated"] != shown["true_label"]
    counter = shown["counter_annotated"] != shown["counter_true_label"]
    return {
        "example": shown[example & ~counter].head(pairs),
        "counter": shown[counter & ~example].head(pairs),
    }


@style.styled()
def draw_pairs(chosen: dict[str, pd.DataFrame], stored: np.ndarray, classes: Sequence[str]) -> Figure:
    """Two rows of pairs for each kind of mistake; the wrong label of a pair has a marked frame."""
    columns = max(len(rows) for rows in chosen.values())
    figure = style.new_figure(max(1.0 * columns, style.COLUMN), 5.4)
    parts: Any = figure.subfigures(2, 1)
    for part, (kind, rows) in zip(parts, chosen.items(), strict=True):
        grid = part.subplots(2, columns, squeeze=False)
        part.suptitle(_KINDS[kind], x=0.01, ha="left", fontsize=8, fontweight="bold")
        for axes in grid.flat:
            axes.set_axis_off()
        for place, row in enumerate(rows.to_dict("records")):
            for axes, sample, label, truth in (
                (grid[0, place], row["example"], row["annotated"], row["true_label"]),
                (grid[1, place], row["counter_example"], row["counter_annotated"], row["counter_true_label"]),
            ):
                axes.set_axis_on()
                axes.imshow(stored[sample], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.grid(visible=False)
                wrong = label != truth
                for spine in axes.spines.values():
                    spine.set(edgecolor=_FRAME if wrong else _PLAIN, linewidth=2.0 if wrong else 0.8)
                lines = (
                    [f"label: {classes[label]}", f"true: {classes[truth]}"]
                    if wrong
                    else [f"label: {classes[label]}"]
                )
                axes.set_xlabel("\n".join(shortened(line) for line in lines), fontsize=6)
        for axes, text in zip(grid[:, 0], ("suspicious", "counter-example"), strict=True):
            axes.set_ylabel(text, fontsize=6)
    return figure

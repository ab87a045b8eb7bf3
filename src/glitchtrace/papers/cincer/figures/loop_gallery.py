"""Pairs that were asked about: a suspicious sample beside its counter-example, of both kinds of mistake."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.description import read_description
from glitchtrace.reporting import style
from glitchtrace.reporting.figures.gallery import shortened

_KINDS = {
    "example": "the suspicious sample is wrong",
    "counter": "the counter-example is wrong",
}
_WRONG, _RIGHT = "#D55E00", "#8C8C8C"


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
                    spine.set(edgecolor=_WRONG if wrong else _RIGHT, linewidth=2.0 if wrong else 0.8)
                lines = (
                    [f"label: {classes[label]}", f"true: {classes[truth]}"]
                    if wrong
                    else [f"label: {classes[label]}"]
                )
                axes.set_xlabel("\n".join(shortened(line) for line in lines), fontsize=6)
        for axes, text in zip(grid[:, 0], ("suspicious", "counter-example"), strict=True):
            axes.set_ylabel(text, fontsize=6)
    return figure

"""Figures of runs: curves of the loop, precision of counter-examples, and thresholds of inspectors."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.tables import (
    KEYS,
    LINE_KEYS,
    PRECISIONS,
    UPPER_BOUND,
    arriving,
    choose_runs,
    line_table,
    precision_table,
    threshold_table,
    thresholds_by_run,
)
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_table
from glitchtrace.reporting.tables import write_csv

# Panels of each set: column of the trace -> title.
_F1, _CLEANED, _ASKED = {"f1": "F1"}, {"n_cleaned": "labels cleaned"}, {"n_queried": "questions"}
_CASE_ORDER = (1, 4, 2, 5, 3, 6, 11, 7, 12, 8, 13, 9, 14, 10)
PANELS: dict[str, dict[str, str]] = {
    "summary": _F1 | _CLEANED,
    "questions": _F1 | _CLEANED | _ASKED,
    "all": {
        "precision": "precision",
        "recall": "recall",
        **_CLEANED,
        **_F1,
        **_ASKED,
        "n_cleaned_ce": "wrong labels shown: counter-example (solid), arriving sample (dashed)",
        "ece": "calibration error",
        "best_score": "score of the counter-example",
        **{f"case{number}": f"case {number}" for number in _CASE_ORDER},
    },
}
STYLE_AXES = ("negotiator", "inspector", "threshold", "noise")
NEGOTIATOR_COLOURS = {
    "top_fisher": "#C1272D",
    "nearest": "#66A61E",
    "practical_fisher": "#1E88E5",
    "ce_removal": "#E69F00",
    "no_ce": "#8C8C8C",
    "random": "#555555",
    "approx_fisher": "#56B4E9",
    "block_fisher": "#332288",
    "nearest_fisher": "#AA4499",
    "full_fisher": "#F4A6B7",
    "if": "#7A4FB5",
    "nearest_if": "#B79BDB",
    "relatif": "#44AA99",
}
_OTHERS = ("#C1272D", "#1E88E5", "#E69F00", "#8C8C8C", "#332288", "#44AA99", "#AA4499")
_MARKERS = {
    "always": "+",
    "never": "+",
    "random": ".",
    "margin": "o",
    "influence": "*",
    "fisher": "v",
    "gradient": "x",
    "signal": "s",
}
_MARK_EVERY = 10
# Dashes of lines that colour and marker do not tell apart, in turn; the contrastive sign has dash-dotted ones.
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (8, 2, 2, 2)))
_CONTRASTIVE_DASHES: tuple[Any, ...] = ("-.", (0, (3, 1, 1, 1, 1, 1)), (0, (9, 1, 1, 1)))


def plot_loops(
    *,
    traces: str | Path,
    figures: Sequence[str | Path],
    legend: Sequence[str | Path],
    table: str | Path,
    question: str,
    panels: str,
    loops: Sequence[str],
    style_by: str = "negotiator",
) -> None:
    """Stage: draw the runs of one dataset and model that answer a question, the legend apart, and tabulate the lines.

    ``traces``: a gathered table of traces.  ``question``: a key of ``QUESTIONS``; ``panels``: a key of ``PANELS``;
    ``loops``: those that ask to clean, the others are not drawn; ``style_by``: the axis that colours stand for.  The
    upper bound is drawn with the panel set ``questions``, but not among cleaned labels.  Raises GlitchtraceError
    where no run answers the question.
    """
    found = read_table(traces, [*LINE_KEYS, "seed", "repeat", "iteration", "f1"])
    chosen = choose_runs(found[found["loop"].isin(loops)], question)
    lines = line_table(chosen, [*PANELS[panels], "n_cleaned_ex"])
    if panels != "questions":
        lines = lines[~lines["line"].str.startswith(UPPER_BOUND)]
    if lines.empty:
        raise GlitchtraceError(
            f"{traces} has no run for the figure '{question}'; add its negotiators to the study"
        )
    keys = found.iloc[0]
    title = f"{style.human_name('dataset', keys['dataset'])}, {style.human_name('model', keys['model'])}"
    looks = _looks(lines, style_by)
    style.save(draw_loops(lines, PANELS[panels], looks, title=title), figures)
    style.save(draw_legend(looks), legend)
    write_csv(lines, table)


@style.styled()
def draw_loops(
    lines: pd.DataFrame, panels: dict[str, str], looks: dict[str, dict[str, Any]], *, title: str
) -> Figure:
    """Curves with bands of one error, a panel per column; two columns of panels where there are more than three."""
    columns = 1 if len(panels) <= 3 else 2
    rows = -(-len(panels) // columns)
    figure = style.new_figure(style.COLUMN * columns * 1.2, 1.75 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (column, heading) in zip(grid.flat, panels.items(), strict=False):
        for name, look in looks.items():
            line = lines[lines["line"] == name]
            if name.startswith(UPPER_BOUND) and column == "n_cleaned":
                continue
            _draw_line(axes, line, column, look)
            if column == "n_cleaned_ce":
                _draw_line(axes, line, "n_cleaned_ex", {**look, "linestyle": "--"})
        axes.set_title(style.wrapped(heading, style.COLUMN, 7.5), loc="left")
        if column == "best_score":
            # Scores under a nearly singular matrix spread over many powers of ten.
            axes.set_yscale("symlog")
            axes.yaxis.get_major_locator().set_params(numticks=7)
        elif column.startswith(("n_", "case")):
            axes.set_ylim(0, max(1, axes.get_ylim()[1]))
        axes.set_xlim(0, lines["iteration"].max())
    for axes in grid[-1]:
        axes.set_xlabel("iteration")
    figure.suptitle(title)
    return figure


def _draw_line(axes: Any, line: pd.DataFrame, column: str, look: dict[str, Any]) -> None:
    x, y, error = (line[name].to_numpy(float) for name in ("iteration", column, f"{column}_error"))
    axes.plot(x, y, markevery=_MARK_EVERY, markersize=3, **look)
    axes.fill_between(x, y - error, y + error, color=look["color"], alpha=0.2, linewidth=0)


@style.styled()
def draw_legend(looks: dict[str, dict[str, Any]]) -> Figure:
    """The lines with their names, in a figure of their own."""
    columns = min(4, len(looks))
    figure = style.new_figure(style.PAGE, 0.3 * -(-len(looks) // columns) + 0.15)
    handles = [Line2D([], [], label=name, markersize=3, **look) for name, look in looks.items()]
    figure.legend(handles=handles, loc="center", ncols=columns)
    return figure


def _looks(lines: pd.DataFrame, style_by: str) -> dict[str, dict[str, Any]]:
    """Colour, dashes and marker of each line, in the order in which lines are drawn."""
    if style_by not in STYLE_AXES:
        raise GlitchtraceError(
            f"figures.style_by: unknown axis '{style_by}'; use one of {', '.join(STYLE_AXES)}"
        )
    first = lines.drop_duplicates("line").set_index("line")
    values = sorted(first[style_by].unique())
    looks = {}
    alike: Counter[tuple[Any, ...]] = Counter()
    for name, row in first.iterrows():
        base = registry.base_name(row["negotiator"])
        if style_by == "negotiator":
            colour = NEGOTIATOR_COLOURS.get(base, style.INK)
        else:
            colour = _OTHERS[values.index(row[style_by]) % len(_OTHERS)]
        marker = _MARKERS.get(registry.base_name(row["inspector"]), "o")
        if str(name).startswith(UPPER_BOUND):
            colour, dashes = "#B0B0B0", ("--", *_DASHES[1:])
        elif row["negotiator"].endswith("contrastive"):
            dashes = _CONTRASTIVE_DASHES
        else:
            dashes = _DASHES
        place = alike[colour, dashes, marker]
        alike[colour, dashes, marker] += 1
        looks[str(name)] = {"color": colour, "linestyle": dashes[place % len(dashes)], "marker": marker}
    return looks


# Of further bars of one negotiator.
_HATCHES = ("", "..", "xx", "oo")
_DRAWN = {"ce_pr_at_5": "Pr@5", "ce_pr_at_10": "Pr@10"}


def plot_loop_precision(
    *, traces: str | Path, figures: Sequence[str | Path], legend: Sequence[str | Path], table: str | Path
) -> None:
    """Stage: draw the pooled precision of counter-examples of one dataset and model, and tabulate all of them.

    Raises GlitchtraceError where nothing was measured.
    """
    found = read_table(traces, [*LINE_KEYS, *PRECISIONS])
    pooled = precision_table(found)
    if pooled.empty:
        raise GlitchtraceError(f"{traces} has no run with precision: true; add a loop that measures it")
    names = found.iloc[0]
    title = f"{style.human_name('dataset', names['dataset'])}, {style.human_name('model', names['model'])}"
    style.save(draw_precision(pooled, title=title), figures)
    style.save(draw_precision_legend(pooled), legend)
    write_csv(pooled, table)


@style.styled()
def draw_precision(pooled: pd.DataFrame, *, title: str) -> Figure:
    """Grouped bars, one group per number of candidates, with the standard error over questions."""
    figure = style.new_figure(style.COLUMN, 2.2)
    axes = figure.subplots()
    width = 0.8 / len(pooled)
    for place, (row, look) in enumerate(zip(pooled.to_dict("records"), _bar_looks(pooled), strict=True)):
        x = np.arange(len(_DRAWN)) + (place - (len(pooled) - 1) / 2) * width
        axes.bar(
            x,
            [row[column] for column in _DRAWN],
            width,
            yerr=[row[f"{column}_error"] for column in _DRAWN],
            error_kw={"linewidth": 0.8},
            **look,
        )
    axes.set_xticks(range(len(_DRAWN)), list(_DRAWN.values()))
    axes.set_ylabel("share of wrong counter-examples")
    axes.grid(axis="x", visible=False)
    figure.suptitle(title)
    return figure


@style.styled()
def draw_precision_legend(pooled: pd.DataFrame) -> Figure:
    """The bars with their names, in a figure of their own."""
    columns = min(3, len(pooled))
    figure = style.new_figure(style.PAGE, 0.3 * -(-len(pooled) // columns) + 0.15)
    handles = [
        Patch(label=name, **look) for name, look in zip(pooled["bar"], _bar_looks(pooled), strict=True)
    ]
    figure.legend(handles=handles, loc="center", ncols=columns)
    return figure


def _bar_looks(pooled: pd.DataFrame) -> list[dict[str, Any]]:
    """Colour and hatches of each bar: the contrastive sign is hatched, further bars of one negotiator otherwise."""
    found = []
    places = pooled.groupby("negotiator").cumcount()
    for negotiator, place in zip(pooled["negotiator"], places, strict=True):
        hatch = "////" if negotiator.endswith("contrastive") else ""
        found.append(
            {
                "facecolor": NEGOTIATOR_COLOURS.get(registry.base_name(negotiator), style.FAINT),
                "edgecolor": style.PAPER,
                "hatch": hatch + _HATCHES[place % len(_HATCHES)],
            }
        )
    return found


_BINS = 30
# Whether the label is wrong -> how it is drawn.
_LOOKS: dict[bool, dict[str, Any]] = {
    False: {"color": "#8C8C8C", "alpha": 0.6, "label": "label right"},
    True: {"color": "#C1272D", "alpha": 0.6, "label": "label wrong", "hatch": "////"},
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

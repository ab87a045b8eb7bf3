"""Curves of the interactive loop: quality, cleaned labels and questions by iteration, one line per way of asking."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.questions import QUESTIONS
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
UPPER_BOUND = "No noise"
# What makes a line of its own; runs that differ in seed and repeat alone are one.
KEYS = ["negotiator", "inspector", "threshold", "noise", "ratio", "loop"]
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
    found = read_table(traces, [*KEYS, "seed", "repeat", "iteration", "f1"])
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


def choose_runs(traces: pd.DataFrame, question: str) -> pd.DataFrame:
    """The runs that answer a question, with the column ``line``: the name of their line."""
    wanted = QUESTIONS[question]
    bound = (traces["inspector"] == "always") & (traces["ratio"] == "clean")
    answers = bound | (True if wanted is None else traces["negotiator"].isin(wanted))
    runs, bound = traces[answers], bound[answers]
    return runs.assign(line=line_names(runs, bound))


def line_names(runs: pd.DataFrame, bound: pd.Series) -> pd.Series:
    """A name for every line of ``KEYS``, no two the same, row by row: the negotiator, and what sets it apart.

    The upper ``bound`` has a name of its own, and the others name the axes in which any two of them differ; the loop
    is named where the rest does not tell two lines apart.
    """
    names = runs["negotiator"].map(lambda name: style.human_name("negotiator", name))
    axes = ("inspector", "threshold", "noise", "ratio")
    for key in axes:
        if len(set(runs.loc[~bound, key])) > 1:
            names = names + ", " + key + " " + runs[key].astype(str)
    names = names.where(~bound, UPPER_BOUND)
    for key in KEYS:
        shared = runs[key].groupby(names).transform("nunique") > 1
        names = names.where(~shared, names + ", " + key + " " + runs[key].astype(str))
    return names


def line_table(runs: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Mean over the R repeats of all seeds and population standard deviation / √R, by column, line and iteration."""
    columns = list(dict.fromkeys(columns))
    groups = runs.groupby([*KEYS, "line", "iteration"], sort=True)
    means = groups[columns].mean()
    repeats = groups.size()
    errors = groups[columns].std(ddof=0).div(repeats**0.5, axis=0)
    joined = means.join(errors.add_suffix("_error")).reset_index()
    return joined.assign(repeats=repeats.to_numpy())


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

"""How well the networks of a study are trained: accuracy on validation, accuracy and loss by kind of sample."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.evaluation.statistics import compare
from glitchtrace.glitches.kinds import Kind
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_summary
from glitchtrace.reporting.tables import aggregate, write_csv

# Colour and marker of the validation samples and of each kind of training sample, as in the histories.
MARKS = {"validation": (style.INK, "X")} | {
    kind: (colour, style.KIND_MARKERS[kind]) for kind, colour in style.KIND_COLOURS.items()
}
# A training does not depend on the estimator.
TRAINING = [key for key in CELL_KEYS if key != "estimator"]
CHANGE = ["change", "low", "high"]
_ROW_INCHES = 0.36


def plot_accuracy(
    *,
    summary: str | Path,
    figures: Sequence[str | Path],
    table: str | Path,
    memorised: Sequence[Sequence[str]] = (),
) -> None:
    """Stage: draw and tabulate accuracy and loss after the last epoch, for every dataset, model and glitch.

    Losses and training accuracies are against the observed labels, in eval mode.  ``memorised`` as of
    ``plot_signals``.  Raises GlitchtraceError where the
    summary cannot be read or holds no accuracy.
    """
    values = accuracy_table(read_summary(summary))
    if values.empty:
        raise GlitchtraceError(f"{summary} has no validation accuracy; delete it and run again")
    style.save(draw_accuracy(style.marked(values, memorised)), figures)
    write_csv(values, table)


def accuracy_table(summary: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation and number of seeds of accuracy and loss, by training and kind of sample.

    Columns: ``dataset``, ``model``, ``glitch``, ``ratio``, ``samples`` (validation, or a kind of training sample),
    ``measure`` (accuracy, loss), ``mean``, ``std``, ``n``; for accuracy on validation also ``change`` against the
    same training without glitches, in percentage points and paired over seeds, with its Student-t interval ``low``
    and ``high`` (NaN where the study has no such training).
    """
    kinds = [kind.label for kind in Kind]
    names = {
        f"training_{measure}_{kind}": (kind, measure) for kind in kinds for measure in ("accuracy", "loss")
    }
    names |= {f"validation_{measure}": ("validation", measure) for measure in ("accuracy", "loss")}
    rows = summary[summary["metric"].isin(names)].drop_duplicates([*TRAINING, "seed", "metric"])
    if rows.empty:
        return pd.DataFrame(columns=[*TRAINING, "samples", "measure", "mean", "std", "n", *CHANGE])
    samples = pd.Categorical(rows["metric"].map(lambda name: names[name][0]), list(MARKS))
    rows = rows.assign(samples=samples, measure=rows["metric"].map(lambda name: names[name][1]))
    keys = [*TRAINING, "samples", "measure"]
    found = aggregate(rows.sort_values([*keys, "seed"], kind="stable"), keys)
    changes = _changes(rows[rows["metric"] == "validation_accuracy"])
    return found.merge(changes, on=keys, how="left")


def _changes(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Change of validation accuracy against clean training, per training."""
    found = []
    for (dataset, model), cells in accuracy.groupby(["dataset", "model"]):
        by_seed = cells.set_index("seed")
        clean = by_seed.loc[by_seed["ratio"] == "clean", "value"]
        for (glitch, ratio), cell in by_seed[by_seed["ratio"] != "clean"].groupby(["glitch", "ratio"]):
            both = clean.index.intersection(cell.index)
            if both.empty:
                continue
            change = compare(
                100 * cell.loc[both, "value"].to_numpy(), 100 * clean.loc[both].to_numpy()
            ).difference
            found.append(
                (
                    dataset,
                    model,
                    glitch,
                    ratio,
                    "validation",
                    "accuracy",
                    change.mean,
                    change.low,
                    change.high,
                )
            )
    return pd.DataFrame(found, columns=[*TRAINING, "samples", "measure", *CHANGE])


@style.styled()
def draw_accuracy(values: pd.DataFrame) -> Figure:
    """Marks with ± one deviation: accuracy on the left and loss on the right, a row of panels per dataset.

    ``values`` is an ``accuracy_table``; one line per model and glitch.
    """
    datasets = sorted(values["dataset"].unique())
    lines = {name: _lines(values[values["dataset"] == name]) for name in datasets}
    heights = [len(lines[name]) for name in datasets]
    figure = style.new_figure(style.PAGE, _ROW_INCHES * sum(heights) + 0.35 * len(datasets) + 0.9)
    grid = figure.subplots(
        len(datasets), 2, squeeze=False, sharex="col", height_ratios=heights, width_ratios=(3, 2)
    )
    for name, panels in zip(datasets, grid, strict=True):
        chosen = values[values["dataset"] == name]
        for measure, axes in zip(("accuracy", "loss"), panels, strict=True):
            _draw_panel(axes, chosen[chosen["measure"] == measure], lines[name])
        labels = [style.wrapped(_label(*line), 2.2) for line in lines[name]]
        panels[0].set_yticks(range(len(lines[name])), labels)
        panels[1].set_yticks([])
        panels[0].set_title(style.human_name("dataset", name), loc="left", fontweight="bold")
    grid[-1, 0].set(xlabel="accuracy", xlim=(-0.03, 1.03))
    grid[-1, 1].set(xlabel="loss (mean cross entropy, nats)")
    shown = [name for name in MARKS if name in set(values["samples"])]
    handles = [_handle(name) for name in shown]
    counts = style.spread("mean ± sd", values["n"])
    figure.legend(handles=handles, title=counts, loc="outside lower center", ncols=len(handles))
    return figure


def _lines(values: pd.DataFrame) -> list[tuple[str, ...]]:
    return sorted({*values[TRAINING[1:]].itertuples(index=False, name=None)})


def _draw_panel(axes: Any, values: pd.DataFrame, lines: list[tuple[str, ...]]) -> None:
    shown = [name for name in MARKS if name in set(values["samples"])]
    for row in values.to_dict("records"):
        colour, marker = MARKS[row["samples"]]
        place = lines.index(tuple(row[key] for key in TRAINING[1:]))
        # Side by side: accuracies on validation and on clean samples are often equal.
        height = place + (shown.index(row["samples"]) - (len(shown) - 1) / 2) * 0.5 / len(shown)
        axes.errorbar(
            row["mean"], height, xerr=row["std"], color=colour, marker=marker, markersize=4, elinewidth=0.8
        )
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.tick_params(left=False)
    style.strip_frame(axes, keep="b")


def _label(model: str, glitch: str, ratio: str) -> str:
    return f"{style.human_name('model', model)}: {style.human_glitch(glitch, ratio)}"


def _handle(samples: str) -> Line2D:
    colour, marker = MARKS[samples]
    label = "validation" if samples == "validation" else f"training, {style.human_kind(samples)}"
    return Line2D([], [], color=colour, marker=marker, markersize=4, linestyle="", label=label)

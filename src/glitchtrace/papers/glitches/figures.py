"""Figures of the comparative study: self influence of each kind, and how signals bear wrong labels in validation."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glitchtrace.core import files, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.detectors.ranks import most_suspicious
from glitchtrace.glitches.kinds import Kind
from glitchtrace.influence.factors import load_factors
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import has_several, read_summary, read_table
from glitchtrace.reporting.tables import aggregate, clipped_deviation, write_csv

GROUPS = 10
# The samples that are flagged when exactly as many are flagged as there are glitches, as a group of its own.
FLAGGED = "flagged"
_PANELS = {"accuracy": "share of epochs fitted", "share": "share of the samples"}


def plot_self_influence(
    *,
    scores: Sequence[str | Path],
    glitches: Sequence[str | Path],
    factors: Sequence[str | Path],
    cells: Sequence[Mapping[str, str]],
    figures: Sequence[str | Path],
    table: str | Path,
    dataset: str,
    glitch: str,
) -> None:
    """Stage: draw and tabulate what samples of low and high self influence are, and how well they are fitted.

    ``scores``, ``glitches`` and ``factors`` are the files ``scores.parquet``, ``glitch.parquet`` and
    ``factors.safetensors`` of the ``cells``, in their order.  Raises GlitchtraceError where there is none, one
    cannot be read, or those of a cell do not describe the same samples.
    """
    if not cells:
        raise GlitchtraceError(f"cells: {dataset} has none with the glitch {glitch}; add some to the grid")
    groups = []
    for cell, *paths in zip(cells, scores, glitches, factors, strict=True):
        groups.append(group_samples(*_read(*paths)).assign(**cell))
    found = pd.concat(groups, ignore_index=True)
    style.save(draw_groups(found, dataset, glitch), figures)
    tidy = found.melt([*CELL_KEYS, "seed", "group", "kind"], ["count", *_PANELS], "metric")
    write_csv(aggregate(tidy.dropna(), [*CELL_KEYS, "group", "kind", "metric"]), table)


def group_samples(scores: np.ndarray, kinds: np.ndarray, fitted: np.ndarray) -> pd.DataFrame:
    """Ten groups of samples by rank of self influence, and the flagged ones: kinds and mean accuracy.

    ``scores`` (n,) self influence, ``kinds`` (n,) codes of ``Kind``, ``fitted`` (n,) share of the epochs after which
    the model gives the sample its observed label.  Group g of 1 … 10 holds the ranks ⌈(g−1)n/10⌉ to ⌈gn/10⌉ of
    ascending self influence, equal values in the order of samples; the group ``flagged`` the k highest, k the number
    of glitches.  Returns a row per group and kind that occurs in the training part: ``group``, ``kind``, ``count``,
    ``share`` (of the group) and ``accuracy`` (mean of ``fitted``, NaN where the group has no such sample).
    """
    order = np.argsort(scores, kind="stable")
    bounds = -(-np.arange(GROUPS + 1) * len(scores) // GROUPS)
    members = {str(number + 1): order[low:high] for number, (low, high) in enumerate(pairwise(bounds))}
    members[FLAGGED] = most_suspicious(scores, int(np.count_nonzero(kinds)))
    rows = []
    for group, chosen in members.items():
        for kind in np.unique(kinds):
            same = chosen[kinds[chosen] == kind]
            share = len(same) / len(chosen) if len(chosen) else np.nan
            accuracy = fitted[same].mean() if len(same) else np.nan
            rows.append((group, Kind(kind).label, len(same), share, accuracy))
    return pd.DataFrame(rows, columns=["group", "kind", "count", "share", "accuracy"])


@style.styled()
def draw_groups(groups: pd.DataFrame, dataset: str, glitch: str) -> Figure:
    """A row of two panels per model and ratio: accuracy of each kind, and its share, per tenth of self influence.

    ``groups``: rows of ``group_samples`` with the keys of cells and ``seed``; lines are means over seeds, bands
    ± one standard deviation.  The title of a row says how much of what is flagged is clean.
    """
    tenths = groups[groups["group"] != FLAGGED].astype({"group": int})
    kinds = [kind for kind in style.KIND_COLOURS if kind in set(groups["kind"])]
    rows = list(tenths.groupby(["model", "ratio", "estimator"], sort=True))
    several = has_several(groups["estimator"])
    figure = style.new_figure(style.MIDDLE, 0.9 + 1.9 * len(rows))
    panels = figure.subplots(len(rows), len(_PANELS), squeeze=False, sharex=True)
    for (cell, found), row in zip(rows, panels, strict=True):
        model, ratio, estimator = map(str, cell)
        for measure, axes in zip(_PANELS, row, strict=True):
            _draw_lines(axes, found, measure, kinds)
        names = [style.human_name("estimator", estimator)] if several else []
        percent = f"{100 * float(ratio):g} %" if ratio[:1].isdigit() else ratio
        flagged = groups[
            (groups[["model", "ratio", "estimator"]] == [model, ratio, estimator]).all(axis=1)
            & (groups["group"] == FLAGGED)
            & (groups["kind"] == Kind.CLEAN.label)
        ]
        head = ", ".join([style.human_name("model", model), *names, percent])
        told = f"clean among the flagged: {flagged['share'].mean():.0%}"
        if flagged["count"].any():
            told += f", fitted in {flagged['accuracy'].mean():.0%} of the epochs"
        row[0].set_title(style.wrapped(f"{head}; {told}", style.MIDDLE, 7.5), loc="left")
    for axes in panels[-1]:
        axes.set_xlabel("tenth of self influence (10: highest)")
    handles, _ = panels[0, 0].get_legend_handles_labels()
    for axes in panels.flat:
        axes.get_legend().remove()
    figure.legend(
        handles,
        [style.human_kind(kind) for kind in kinds],
        title=style.spread("mean ± sd", [groups["seed"].nunique()]),
        loc="outside lower center",
        ncols=len(kinds),
    )
    title = f"{style.human_name('dataset', dataset)}, {style.human_name('glitch', glitch)}"
    figure.suptitle(style.wrapped(title, style.MIDDLE, 9.0))
    return figure


def _draw_lines(axes: Axes, found: pd.DataFrame, measure: str, kinds: Sequence[str]) -> None:
    sns.lineplot(
        data=found,
        x="group",
        y=measure,
        hue="kind",
        hue_order=kinds,
        palette=style.KIND_COLOURS,
        style="kind",
        style_order=kinds,
        markers=style.KIND_MARKERS,
        dashes=style.KIND_DASHES,
        markersize=4,
        markeredgewidth=0.4,
        errorbar=clipped_deviation,
        err_kws={"alpha": 0.2, "linewidth": 0},
        ax=axes,
    )
    axes.set(xlabel="", ylabel=_PANELS[measure], ylim=(-0.03, 1.03), xticks=range(1, GROUPS + 1))
    style.strip_frame(axes, keep="lb")


def _read(
    scored: str | Path, glitch: str | Path, factors: str | Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Self influence, kind and share of the epochs fitted of the samples of one cell, each (n,)."""
    scores = read_table(scored, ["SI"])["SI"].to_numpy()
    kinds = files.read_parquet(glitch)["kind"].to_numpy()
    train = load_factors(factors).train
    if not len(scores) == len(kinds) == len(train.labels):
        raise GlitchtraceError(f"{scored}, {glitch} and {factors} describe different samples; delete them")
    fitted = np.mean([table.argmax(axis=1) == train.labels for table in train.probabilities], axis=0)
    return scores, kinds, fitted


CLEAN, DIRTY = "clean_validation", "dirty_validation"
_KEYS = ["dataset", "model", "glitch", "ratio", "estimator", "seed"]
_MARKERS = "osD^vP*X"


def plot_dirty_validation(
    *, summary: str | Path, figures: Sequence[str | Path], table: str | Path, signal: str = "CNCI"
) -> None:
    """Stage: draw and tabulate the F1 of one signal with a dirty against that with a clean validation set.

    Cells are paired by everything but the variant of the dataset, which is ``clean_validation`` or
    ``dirty_validation``.  Raises GlitchtraceError where the summary holds no pair.
    """
    pairs = dirty_pairs(read_summary(summary), signal)
    if pairs.empty:
        raise GlitchtraceError(
            f"{summary} has no dataset with both a variant @{CLEAN} and a variant @{DIRTY}; add both to the grid"
        )
    style.save(draw_dirty_validation(pairs, signal), figures)
    write_csv(pairs, table)


def dirty_pairs(summary: pd.DataFrame, signal: str) -> pd.DataFrame:
    """The F1 of a signal with both validation sets, columns ``clean`` and ``dirty``; one row per pair of cells."""
    chosen = summary[(summary["metric"] == "f1") & (summary["signal"] == signal)]
    sides = []
    for variant, name in ((CLEAN, "clean"), (DIRTY, "dirty")):
        side = chosen[chosen["dataset"].str.endswith(f"@{variant}")]
        side = side.assign(dataset=side["dataset"].map(registry.base_name))
        sides.append(side[[*_KEYS, "value"]].rename(columns={"value": name}))
    return sides[0].merge(sides[1], on=_KEYS).sort_values(_KEYS, ignore_index=True)


@style.styled()
def draw_dirty_validation(pairs: pd.DataFrame, signal: str) -> Figure:
    """A mark per seed; datasets differ in colour, models in shape; on the diagonal nothing is lost."""
    groups = list(pairs.groupby(["dataset", "model"]))
    figure = style.new_figure(style.COLUMN, style.COLUMN + 0.1 + 0.13 * len(groups))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=style.FAINT, linewidth=0.8, zorder=0)
    datasets = sorted(set(pairs["dataset"]))
    models = sorted(set(pairs["model"]))
    colours = dict(
        zip(datasets, ("#2F5F9E", "#D55E00", "#009E73", "#882255", "#DDCC77", "#222222"), strict=False)
    )
    for (dataset, model), found in groups:
        axes.plot(
            found["clean"],
            found["dirty"],
            linestyle="",
            marker=_MARKERS[models.index(str(model)) % len(_MARKERS)],
            color=colours.get(str(dataset), style.FAINT),
            markersize=4,
            markeredgecolor=style.PAPER,
            markeredgewidth=0.4,
            clip_on=False,
            label=f"{style.human_name('dataset', str(dataset))}, {style.human_name('model', str(model))}",
        )
    name = style.human_name("detector", signal)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel=f"F1 of {name}, clean validation set",
        ylabel=f"F1 of {name}, dirty validation set",
        aspect="equal",
    )
    style.strip_frame(axes, keep="lb")
    figure.legend(loc="outside lower center", ncols=1)
    return figure

"""Labels that CNCI proposes beside those of confident learning."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.evaluation.detection import f1_known_ratio, precision_recall_f1
from glitchtrace.evaluation.label_repair import label_repair_accuracy
from glitchtrace.evaluation.samples import read_samples
from glitchtrace.glitches.kinds import Kind
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import has_several
from glitchtrace.reporting.tables import aggregate, write_csv

# Method -> colour and hatch.
METHODS = {"CNCI": ("#D55E00", "////"), "confident learning": ("#2F5F9E", "")}
MEASURES = {
    "label_repair_accuracy": "true labels proposed,\nshare of the mislabelled",
    "f1": "F1, as many flagged as glitches",
}


def plot_label_repair(
    *,
    scores: Sequence[str | Path],
    glitches: Sequence[str | Path],
    cells: Sequence[Mapping[str, str]],
    figures: Sequence[str | Path],
    table: str | Path,
    memorised: Sequence[Sequence[str]] = (),
) -> None:
    """Stage: draw and tabulate repair accuracy and F1 of CNCI and of confident learning, over seeds.

    ``scores``, ``glitches``: the tables of each of ``cells``, in their order.  Accuracy is over all truly mislabelled
    samples, detected or not.  ``memorised`` as of ``plot_signals``.  Raises GlitchtraceError where the tables of a
    cell are of different samples, one of the two is not scored, or no cell has mislabelled samples.
    """
    rows = []
    for cell, *paths in zip(cells, scores, glitches, strict=True):
        rows += [{**cell, **row} for row in measure(*paths)]
    if not rows:
        raise GlitchtraceError("no cell has mislabelled samples; add uniform or class_dependent to the grid")
    summary = aggregate(pd.DataFrame(rows), [*CELL_KEYS, "method", "measure"])
    style.save(draw_label_repair(style.marked(summary, memorised)), figures)
    write_csv(summary, table)


def measure(scores: str | Path, glitch: str | Path) -> list[dict[str, str | float]]:
    """Method, measure and value of one cell; none without mislabelled samples."""
    scored, samples = read_samples(scores, glitch)
    for detector in ("CNCI", "confident_learning"):
        if detector not in scored:
            raise GlitchtraceError(
                f"{scores} has no detector '{detector}'; add it to 'detectors' in the config"
            )
    kinds, truth = samples["kind"].to_numpy(), samples["true_label"].to_numpy()
    wrong = kinds == Kind.MISLABELLED
    if not wrong.any():
        return []
    found: list[dict[str, str | float]] = []
    for method, proposed, score in (
        ("CNCI", "proposed_label", "CNCI"),
        ("confident learning", "confident_learning/proposed_label", "confident_learning"),
    ):
        accuracy, _ = label_repair_accuracy(scored[proposed].to_numpy(), truth, kinds)
        values = {"label_repair_accuracy": accuracy, "f1": f1_known_ratio(scored[score].to_numpy(), wrong)}
        found += [{"method": method, "measure": name, "value": value} for name, value in values.items()]
    own = precision_recall_f1(scored["confident_learning/flagged"].to_numpy(), wrong)[2]
    return [*found, {"method": "confident learning", "measure": "f1_own_choice", "value": own}]


@style.styled()
def draw_label_repair(summary: pd.DataFrame) -> Figure:
    """Two panels of paired bars: repair accuracy and F1; a line per dataset, model, glitch and estimator."""
    lines = sorted({*summary[CELL_KEYS].itertuples(index=False, name=None)})
    several = has_several(summary["estimator"])
    figure = style.new_figure(style.PAGE, 0.42 * len(lines) + 1.1)
    panels = figure.subplots(1, len(MEASURES), sharey=True)
    for (name, label), axes in zip(MEASURES.items(), panels, strict=True):
        for offset, (method, (colour, hatch)) in zip((-0.19, 0.19), METHODS.items(), strict=True):
            found = summary[(summary["measure"] == name) & (summary["method"] == method)].set_index(CELL_KEYS)
            means = found["mean"].reindex(lines).to_numpy()
            spread = np.nan_to_num(found["std"].reindex(lines).to_numpy())
            axes.barh(
                np.arange(len(lines)) + offset,
                means,
                height=0.36,
                xerr=spread,
                color=colour,
                hatch=hatch,
                edgecolor=style.PAPER,
                linewidth=0,
                error_kw={"ecolor": style.INK, "elinewidth": 0.7, "capsize": 1.5},
                label=method,
            )
            for place, mean in enumerate(means):
                axes.text(1.02, place + offset, f"{mean:.2f}", va="center", fontsize=6)
        axes.set(xlim=(0, 1), xlabel=label, xticks=np.linspace(0, 1, 5))
        axes.grid(visible=False, axis="y")
        axes.tick_params(left=False)
        style.strip_frame(axes, keep="l")
    panels[0].set_yticks(range(len(lines)), [_name(*line, several=several) for line in lines])
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    title = style.spread("mean ± sd", summary["n"])
    figure.legend(handles, labels, title=title, loc="outside lower center", ncols=2)
    return figure


def _name(dataset: str, model: str, glitch: str, ratio: str, estimator: str, *, several: bool) -> str:
    first = f"{style.human_name('dataset', dataset)}, {style.human_name('model', model)}"
    if several:
        first += f", {style.human_name('estimator', estimator)}"
    return "\n".join(style.wrapped(text, 2.2) for text in (first, style.human_glitch(glitch, ratio)))

"""Mean ranks of detectors over the cells of a study: critical-difference diagrams and their tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.evaluation.rank_tests import (
    GROUPS,
    cell_table,
    chosen_by_seed,
    measured,
    rank_table,
    rank_tests,
)
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import read_summary
from glitchtrace.reporting.tables import write_csv

CHOOSING_SEED = 0


def plot_ranks(
    *,
    summary: str | Path,
    figures: Sequence[str | Path],
    cells: str | Path,
    ranks: str | Path,
    headline: str = "f1",
) -> None:
    """Stage: compare all detectors over all cells of a summary; draw a diagram per group of glitches.

    Seed 0 chooses which detector speaks for its family; all that is written comes from the other seeds.  ``cells``: a
    row per cell and detector, ``ranks``: a row per group and detector, see ``evaluation.rank_tests``.  Raises
    GlitchtraceError where seed 0, or any other, is not in the summary.
    """
    found = compare_detectors(read_summary(summary), headline, str(summary))
    write_csv(found.cells, cells)
    write_csv(found.ranks, ranks)
    style.save(draw_ranks(found.cells, found.chosen), figures)


@dataclass(frozen=True)
class Comparison:
    """A row per cell and detector, a row per group and detector, and who speaks for the families of each group."""

    cells: pd.DataFrame
    ranks: pd.DataFrame
    chosen: dict[str, list[str]]


def compare_detectors(summary: pd.DataFrame, headline: str, source: str) -> Comparison:
    """The comparison that ``plot_ranks`` draws; ``source`` names the summary in messages."""
    found = measured(summary, headline)
    first = found["seed"].astype(int) == CHOOSING_SEED
    choosing, tested = found[first], found[~first]
    if choosing.empty or tested.empty:
        raise GlitchtraceError(
            f"{source}: seed {CHOOSING_SEED} chooses and the others test; add {'it' if choosing.empty else 'others'}"
        )
    families = {name: family_of(name) for name in found["signal"].unique()}
    chosen = chosen_by_seed(choosing, families)
    table = cell_table(tested)
    return Comparison(table, rank_table(table, chosen, families), chosen)


def family_of(detector: str) -> str:
    """The family of a detector's card."""
    return str(registry.card("detector", detector).get("family") or detector)


@style.styled()
def draw_ranks(cells: pd.DataFrame, chosen: dict[str, list[str]]) -> Figure:
    """One critical-difference diagram per group: mean ranks, a bar over those that Nemenyi cannot tell apart."""
    import scikit_posthocs

    groups = [group for group in GROUPS if group in set(cells["group"])]
    longest = max(len(chosen[group]) for group in groups)
    figure = style.new_figure(style.PAGE, len(groups) * (0.16 * longest + 0.9))
    for group, axes in zip(groups, figure.subplots(len(groups), 1, squeeze=False)[:, 0], strict=True):
        part = cells[cells["group"] == group]
        tests = rank_tests(
            part.pivot_table(index=CELL_KEYS, columns="detector", values="mean")[chosen[group]]
        )
        labels = {name: registry.card("detector", name)["label"] for name in tests.ranks.index}
        drawn = scikit_posthocs.critical_difference_diagram(
            tests.ranks.rename(labels),
            tests.nemenyi.rename(index=labels, columns=labels),
            ax=axes,
            label_fmt_left="{label} ({rank:.1f})",
            label_fmt_right="({rank:.1f}) {label}",
            label_props={"fontsize": 7.0},
            color_palette={labels[name]: style.signal_colour(name) for name in labels},
            crossbar_props={"color": style.INK, "linewidth": 1.6, "marker": None},
        )
        for (bar,) in drawn["crossbars"]:
            # It runs from member to member in the order of a set, which is another in every process.
            ends, (height, *_) = bar.get_xdata(), bar.get_ydata()
            bar.set_data([min(ends), max(ends)], [height, height])
        axes.set_title(
            f"{group}: mean rank over {tests.blocks} cells, 1 is best; "
            f"critical difference {tests.critical_difference:.2f}"
        )
    return figure

"""What each repair gains on test: change of accuracy against no repair, paired over seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETLEFT, CARETRIGHT
from scipy import stats

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.evaluation.statistics import CONFIDENCE, compare, share_of_oracle_gain
from glitchtrace.reporting import style
from glitchtrace.reporting.inputs import each_cell, read_table, tested
from glitchtrace.reporting.tables import write_csv

_ROW_INCHES = 0.36
_BASELINE, _PERFECT = "none", "oracle"
# Of what it spans an axis leaves so much free on either side.
_MARGIN = 0.08


def plot_gain(
    *,
    gain: str | Path,
    figures: Sequence[str | Path],
    table: str | Path,
    memorised: Sequence[Sequence[str]] = (),
) -> None:
    """Stage: draw and tabulate the gain of every repair policy over none, on test.

    ``gain`` is the ``gain.parquet`` of a study; ``memorised`` as of ``plot_signals``.  Raises GlitchtraceError
    where it cannot be read or holds no repaired cell with the policy ``none`` beside another.
    """
    measured = read_table(gain, [*CELL_KEYS, "seed", "policy", "part", "accuracy"])
    gains = gain_table(measured)
    if gains.empty:
        raise GlitchtraceError(
            f"{gain} has no repair to compare with none on test; run the target 'all' of a study with repair: true"
        )
    style.save(draw_gain(style.marked(gains, memorised)), figures)
    write_csv(gains, table)


def gain_table(gain: pd.DataFrame) -> pd.DataFrame:
    """Change of test accuracy against ``none`` in percentage points, per cell and policy, paired over seeds.

    Columns: the cell, ``policy``, ``n`` seeds, ``points`` with its Student-t interval ``low`` and ``high``,
    ``p_value``, and ``share`` of the oracle's gain with its bootstrap interval ``share_low`` and
    ``share_high`` (NaN without an oracle).  Cells without a glitch have nothing to repair and are left out.
    """
    rows = []
    for keys, cell in each_cell(tested(gain)):
        accuracy = cell.pivot_table(index="seed", columns="policy", values="accuracy")
        if _BASELINE not in accuracy:
            continue
        none = accuracy[_BASELINE].to_numpy()
        for policy in style.ordered_policies(accuracy.columns.drop(_BASELINE)):
            repaired = accuracy[policy].to_numpy()
            found = compare(100 * repaired, 100 * none)
            row = {
                **keys,
                "policy": policy,
                "n": found.difference.count,
                "points": found.difference.mean,
                "low": found.difference.low,
                "high": found.difference.high,
                "p_value": found.p_value,
            }
            if _PERFECT in accuracy:
                share = share_of_oracle_gain(none, repaired, accuracy[_PERFECT].to_numpy())
                row |= {"share": share.share, "share_low": share.low, "share_high": share.high}
            rows.append(row)
    columns = ["n", "points", "low", "high", "p_value", "share", "share_low", "share_high"]
    return pd.DataFrame(rows, columns=[*CELL_KEYS, "policy", *columns])


@style.styled()
def draw_gain(gains: pd.DataFrame) -> Figure:
    """Marks with their 95 % t-intervals, one panel per dataset, one line per model and glitch.

    ``gains`` is a ``gain_table``.  A single seed has a mark without an interval.  An interval of two seeds, 12.7 times
    as wide as these lie apart, does not widen the axis: it ends in an arrow where it reaches beyond.
    """
    datasets = sorted(gains["dataset"].unique())
    policies = style.ordered_policies(gains["policy"])
    lines = {name: _lines(gains[gains["dataset"] == name]) for name in datasets}
    heights = [len(lines[name]) for name in datasets]
    figure = style.new_figure(style.MIDDLE, _ROW_INCHES * sum(heights) + 0.35 * len(datasets) + 0.9)
    grid = figure.subplots(len(datasets), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    limits = _limits(gains)
    for name, axes in zip(datasets, grid, strict=True):
        _draw_panel(axes, gains[gains["dataset"] == name], lines[name], policies, limits)
        axes.set_title(style.human_name("dataset", name), loc="left", fontweight="bold")
    grid[-1].set_xlabel("change of test accuracy against no repair (percentage points)")
    handles = [_handle(policy) for policy in policies]
    interval = style.spread(f"{100 * CONFIDENCE:.0f} % interval", gains["n"])
    if limits:
        interval += " (arrow: reaches further)"
        grid[0].set_xlim(limits)
    handles.append(Line2D([], [], color=style.INK, linewidth=1, label=interval))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.2)
    return figure


def _limits(gains: pd.DataFrame) -> tuple[float, float] | None:
    """Ends of an axis that spans the marks, the values of two seeds, and the intervals of more; None if all fit it."""
    of_two = stats.t.ppf((1 + CONFIDENCE) / 2, 1)  # width of their interval, in distances between the two
    reach = (gains["high"] - gains["low"]).fillna(0) / 2 / gains["n"].map(lambda n: of_two if n == 2 else 1)
    low, high = min(0, (gains["points"] - reach).min()), max(0, (gains["points"] + reach).max())
    margin = _MARGIN * (high - low)
    low, high = low - margin, high + margin
    return (low, high) if gains["low"].min() < low or gains["high"].max() > high else None


def _lines(gains: pd.DataFrame) -> list[tuple[str, ...]]:
    """Model, glitch, ratio and estimator of each line of a panel, in order."""
    return sorted({*gains[CELL_KEYS[1:]].itertuples(index=False, name=None)})


def _draw_panel(
    axes: Any,
    gains: pd.DataFrame,
    lines: list[tuple[str, ...]],
    policies: list[str],
    limits: tuple[float, float] | None,
) -> None:
    axes.axvline(0, color=style.INK, linewidth=0.8)
    step = 0.6 / len(policies)
    for row in gains.to_dict("records"):
        place = lines.index(tuple(row[key] for key in CELL_KEYS[1:]))
        height = place + (policies.index(row["policy"]) - (len(policies) - 1) / 2) * step
        colour, marker = style.policy_mark(row["policy"])
        ends = [row["low"], row["high"]]
        for end, arrow in enumerate((CARETLEFT, CARETRIGHT) if limits else ()):
            if limits and not limits[0] <= ends[end] <= limits[1]:
                ends[end] = limits[end]
                axes.plot(ends[end], height, marker=arrow, color=colour, markersize=4, linestyle="")
        axes.plot(ends, [height, height], color=colour, linewidth=1)
        axes.plot(row["points"], height, marker=marker, color=colour, markersize=4, linestyle="")
    for boundary in range(1, len(lines)):
        axes.axhline(boundary - 0.5, color="#EEEEEE", linewidth=0.6, zorder=0.5)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    several = len({line[-1] for line in lines}) > 1
    axes.set_yticks(range(len(lines)), [_line_label(*line, several=several) for line in lines])
    axes.grid(visible=False, axis="y")
    axes.tick_params(left=False)
    style.strip_frame(axes, keep="b")


def _line_label(model: str, glitch: str, ratio: str, estimator: str, *, several: bool) -> str:
    head = style.human_name("model", model)
    if several:
        head += f", {style.human_name('estimator', estimator)}"
    return "\n".join(style.wrapped(text, 2.0) for text in (head, style.human_glitch(glitch, ratio)))


def _handle(policy: str) -> Line2D:
    colour, marker = style.policy_mark(policy)
    label = style.human_name("policy", policy)
    return Line2D([], [], color=colour, marker=marker, markersize=4, linewidth=1, label=label)

"""Which detector is better over many data sets: Friedman, Nemenyi and Holm, and who leads beyond noise.

A block is one cell of the grid with the mean over its seeds: seeds of one cell share their rows and are not
independent, cells are what a statement is about.  Source: docs/methods/statistics.md#many-detectors.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.evaluation.statistics import estimate, rounding

ALPHA = 0.05
WRONG_LABELS, OTHERS = "wrong labels", "anomalies, corruptions, mixtures"
GROUPS = (WRONG_LABELS, OTHERS)


@dataclass(frozen=True)
class RankTests:
    """Ranks of k methods over N blocks, 1 the best, and what can be said of them.

    ``chi_square`` and ``p_value`` are Friedman's, corrected for ties; ``f_value`` and ``f_p_value`` are Iman's and
    Davenport's from it.  ``nemenyi`` (k, k) holds p-values of all pairs, ``critical_difference`` what two mean ranks
    must differ by at 5 %.  ``holm`` are adjusted p-values of every method against the best, which itself has 1.
    """

    blocks: int
    ranks: pd.Series
    chi_square: float
    p_value: float
    f_value: float
    f_p_value: float
    nemenyi: pd.DataFrame
    critical_difference: float
    holm: pd.Series


def rank_tests(table: pd.DataFrame, control: str | None = None) -> RankTests:
    """Tests of the methods, the columns of ``table``, over its rows, the blocks; a higher value is better.

    Values that rounding alone tells apart are ties.
    ``control``: the method that Holm compares with, by default that of the best mean rank.  Raises GlitchtraceError
    with fewer than three methods or two blocks, and where a value is missing.
    """
    blocks, methods = table.shape
    if methods < 3 or blocks < 2:
        raise GlitchtraceError(
            f"rank tests need three detectors and two cells; there are {methods} and {blocks}: add some to the study"
        )
    if table.isna().to_numpy().any():
        raise GlitchtraceError(
            "rank tests need every detector in every cell; leave out those with a missing value"
        )
    import scikit_posthocs

    table = (table / rounding(table.to_numpy().ravel())).round()
    places = table.rank(axis=1, ascending=False)
    ranks = places.mean().sort_values(kind="stable")
    if (places == places.iloc[0, 0]).to_numpy().all():
        chi_square, p_value = 0.0, 1.0
    else:
        chi_square, p_value = map(float, stats.friedmanchisquare(*(-table[name] for name in table)))
    left = blocks * (methods - 1) - chi_square
    f_value = (blocks - 1) * chi_square / left if left > 1e-12 else math.inf
    nemenyi = scikit_posthocs.posthoc_nemenyi_friedman(-table.to_numpy())
    nemenyi.index = nemenyi.columns = table.columns
    error = math.sqrt(methods * (methods + 1) / (6 * blocks))
    control = control or str(ranks.index[0])
    others = ranks.drop(control)
    z = (others - ranks[control]).abs() / error
    adjusted = pd.Series(holm(2 * stats.norm.sf(z.to_numpy())), index=others.index)
    return RankTests(
        blocks,
        ranks,
        chi_square,
        p_value,
        f_value,
        float(stats.f.sf(f_value, methods - 1, (methods - 1) * (blocks - 1))),
        nemenyi,
        float(stats.studentized_range.ppf(1 - ALPHA, methods, math.inf)) / math.sqrt(2) * error,
        adjusted.reindex(ranks.index, fill_value=1.0),
    )


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values (m,) adjusted for m comparisons: the i-th smallest times m − i + 1, made monotone, at most 1."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def leaders(by_seed: pd.DataFrame) -> list[str]:
    """The methods of one cell that cannot be told from the best, the best mean first.

    ``by_seed``: a row per seed, a column per method.  Each is compared with the best by a paired t test over seeds,
    Holm over all; those with an adjusted p of at least 5 % stay.  With one seed nothing can be told apart.
    """
    means = by_seed.mean().sort_values(ascending=False, kind="stable")
    best, others = str(means.index[0]), list(means.index[1:])
    if len(by_seed) < 2 or not others:
        return list(means.index)
    adjusted = holm(np.array([_paired_p(by_seed[best] - by_seed[name]) for name in others]))
    return [best, *(name for name, p in zip(others, adjusted, strict=True) if p >= ALPHA)]


def _paired_p(differences: pd.Series) -> float:
    """Two-sided p of the t test that the mean difference is 0; of equal differences 1 where they are 0, else 0.

    1 where fewer than two seeds have both values.
    """
    found = estimate(differences.to_numpy())
    if found.count < 2:
        return 1.0
    if not found.standard_deviation > 1e-12:
        return float(abs(found.mean) < 1e-12)
    t = found.mean / (found.standard_deviation / math.sqrt(found.count))
    return float(2 * stats.t.sf(abs(t), found.count - 1))


def group_of(glitch: str) -> str:
    """Whether a glitch makes wrong labels alone, or anything else."""
    return WRONG_LABELS if registry.card("glitch", glitch).get("label_repair") else OTHERS


def measured(summary: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows of a metric, of the detectors that every cell has, with the column ``group``."""
    found = summary[(summary["metric"] == metric) & (summary["signal"] != "")].dropna(subset="value")
    number = len(found[CELL_KEYS].drop_duplicates())
    everywhere = found.groupby("signal")[CELL_KEYS].apply(
        lambda cells: len(cells.drop_duplicates()) == number
    )
    found = found[found["signal"].isin(everywhere.index[everywhere])].copy()
    found["group"] = found["glitch"].map(group_of)
    return found


def chosen_by_seed(found: pd.DataFrame, families: Mapping[str, str]) -> dict[str, list[str]]:
    """Group of glitches -> the detector of each family with the best mean in it, on the rows of the choosing seed."""
    chosen = {}
    for group, rows in found.groupby("group", sort=False):
        means = rows.groupby("signal")["value"].mean()
        best: dict[str, str] = {}
        for name in means.sort_values(ascending=False, kind="stable").index:
            best.setdefault(families[name], name)
        chosen[str(group)] = list(best.values())
    return chosen


def cell_table(tested: pd.DataFrame) -> pd.DataFrame:
    """A row per cell and detector: mean, interval and number of seeds, false negatives, and whether it leads.

    At the known number precision and recall are one number, so that the share of glitches that are missed, the false
    negative rate at the true rate, is 1 − F1.  ``leads``: not told from the best of its cell (``leaders``).
    """
    rows = []
    for keys, cell in tested.groupby(["group", *CELL_KEYS]):
        by_seed = cell.pivot_table(index="seed", columns="signal", values="value")
        leading = set(leaders(by_seed))
        for signal in by_seed:
            value = estimate(by_seed[signal].to_numpy())
            interval = {"mean": value.mean, "low": value.low, "high": value.high, "seeds": value.count}
            rows.append(
                dict(zip(["group", *CELL_KEYS], keys, strict=True))
                | {"detector": signal, **interval, "fnr": 1 - value.mean, "leads": signal in leading}
            )
    return pd.DataFrame(rows)


def rank_table(
    cells: pd.DataFrame, chosen: Mapping[str, list[str]], families: Mapping[str, str]
) -> pd.DataFrame:
    """A row per group and detector: its mean over cells, its difference to the best with interval, and its leads.

    The detectors that ``chosen`` names have their mean rank among these, Holm's p against the best of them, and the
    critical difference.
    """
    rows = []
    for group, part in cells.groupby("group", sort=False):
        blocks = part.pivot_table(index=CELL_KEYS, columns="detector", values="mean")
        tests = rank_tests(blocks[chosen[str(group)]])
        means = blocks.mean().sort_values(ascending=False, kind="stable")
        best = means.index[0]
        for name in means.index:
            gap = estimate((blocks[name] - blocks[best]).to_numpy())
            ranked = name in tests.ranks.index
            rows.append(
                {
                    "group": group,
                    "detector": name,
                    "family": families[name],
                    "cells": len(blocks),
                    "mean": means[name],
                    "difference": gap.mean,
                    "low": gap.low,
                    "high": gap.high,
                    "leads": int(part.loc[part["detector"] == name, "leads"].sum()),
                    "rank": tests.ranks[name] if ranked else math.nan,
                    "holm": tests.holm[name] if ranked else math.nan,
                    "critical_difference": tests.critical_difference,
                    "friedman": tests.p_value,
                }
            )
    return pd.DataFrame(rows)

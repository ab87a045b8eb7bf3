"""Rank tests against a published example, scipy and brute force; who leads beyond noise."""

import itertools
import math

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.evaluation.rank_tests import (
    OTHERS,
    WRONG_LABELS,
    group_of,
    holm,
    leaders,
    measured,
    rank_tests,
)
from glitchtrace.reporting import style
from glitchtrace.reporting.figures.ranks import compare_detectors, draw_ranks, plot_ranks

# Demsar: Statistical comparisons of classifiers over multiple data sets, JMLR 2006, table 6: AUC of four
# variants of C4.5 on 14 data sets. The last voting value but one is 0.975 in print, and ranked before the last.
DEMSAR = pd.DataFrame(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ],
    columns=["C4.5", "m", "cf", "m+cf"],
)


def test_the_published_example():
    found = rank_tests(DEMSAR, control="C4.5")
    assert found.blocks == 14
    assert found.ranks.round(3).to_dict() == {"m+cf": 1.964, "m": 2.0, "cf": 2.893, "C4.5": 3.143}
    # Published without the correction for ties: 9.28 and 3.69.
    squares = float((found.ranks**2).sum())
    plain = 12 * 14 / (4 * 5) * (squares - 4 * 25 / 4)
    assert plain == pytest.approx(9.28, abs=0.01)
    assert 13 * plain / (14 * 3 - plain) == pytest.approx(3.69, abs=0.01)
    assert found.chi_square > plain
    assert found.f_value == pytest.approx(13 * found.chi_square / (14 * 3 - found.chi_square))
    # Nemenyi: q = 2.569 at 5 %, times sqrt(4 * 5 / (6 * 14)).
    assert found.critical_difference == pytest.approx(2.569 * math.sqrt(20 / 84), abs=1e-3)
    # Holm against C4.5: published p-values 0.016, 0.019 and 0.607; adjusted ones never fall.
    expected = {"m+cf": 3 * 0.016, "m": max(3 * 0.016, 2 * 0.019), "cf": 0.607, "C4.5": 1.0}
    assert found.holm.to_dict() == pytest.approx(expected, abs=2e-3)


def test_values_that_rounding_alone_tells_apart_are_ties() -> None:
    """Means of equal shares, summed in another order, differ in their last bits."""
    shifted = DEMSAR * (1 + 1e-15 * np.random.default_rng(0).integers(-2, 3, DEMSAR.shape))
    assert (shifted != DEMSAR).any(axis=None)
    shifted.loc[9] = [0.1 + 0.2, 0.3, 0.6 - 0.3, 0.3]
    found, exact = rank_tests(shifted), rank_tests(DEMSAR)
    assert found.ranks.to_dict() == exact.ranks.to_dict()
    assert (found.chi_square, found.p_value) == (exact.chi_square, exact.p_value)
    assert found.nemenyi.equals(exact.nemenyi)


def test_friedman_equals_scipy_and_nemenyi_its_definition():
    table = pd.DataFrame(
        np.random.default_rng(0).normal(size=(12, 5)) + 0.4 * np.arange(5), columns=list("abcde")
    )
    found = rank_tests(table)
    statistic, p_value = stats.friedmanchisquare(*table.to_numpy().T)
    assert (found.chi_square, found.p_value) == pytest.approx((statistic, p_value))
    assert list(found.ranks.index) == sorted(table, key=lambda name: found.ranks[name])
    error = math.sqrt(5 * 6 / (6 * 12))
    for first, second in itertools.combinations(table, 2):
        gap = abs(found.ranks[first] - found.ranks[second]) / error * math.sqrt(2)
        assert found.nemenyi.loc[first, second] == pytest.approx(
            stats.studentized_range.sf(gap, 5, np.inf), abs=1e-4
        )
        # The critical difference and the p-values say the same.
        beyond = abs(found.ranks[first] - found.ranks[second]) > found.critical_difference
        assert beyond == (found.nemenyi.loc[first, second] < 0.05)


def test_equal_methods_are_equal():
    found = rank_tests(pd.DataFrame(np.ones((4, 3)), columns=list("abc")))
    assert (found.chi_square, found.p_value) == (0.0, 1.0)
    assert (found.ranks == 2).all()
    assert (found.holm == 1).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_holm_rejects_what_stepping_down_rejects(values):
    p_values = np.array(values)
    adjusted = holm(p_values)
    rejected = np.zeros(len(values), dtype=bool)
    for step, place in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[place] * (len(values) - step) >= 0.05:
            break
        rejected[place] = True
    np.testing.assert_array_equal(adjusted < 0.05, rejected)
    assert (adjusted >= p_values).all()


def test_no_leader_within_noise():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.02, size=(5, 3))
    by_seed = pd.DataFrame(noise + np.array([0.80, 0.801, 0.2]), columns=list("abc"))
    assert set(leaders(by_seed)) == {"a", "b"}
    by_seed["a"] = by_seed["b"] + 0.1 + 0.001 * np.arange(5)
    assert leaders(by_seed) == ["a"]
    # A difference that every seed has to the last digit is no noise; one seed tells nothing apart.
    assert leaders(pd.DataFrame({"a": [0.5, 0.7], "b": [0.25, 0.45]})) == ["a"]
    assert set(leaders(by_seed[:1])) == {"a", "b", "c"}
    assert set(leaders(pd.DataFrame({"a": [0.9, 0.9], "b": [0.2, np.nan]}))) == {"a", "b"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame(np.ones((4, 2))), "three detectors"),
        (pd.DataFrame(np.ones((1, 3))), "two cells"),
        (pd.DataFrame([[1, 2, 3], [1, math.nan, 2]]), "missing value"),
    ],
)
def test_what_cannot_be_ranked_is_refused(table, message):
    with pytest.raises(GlitchtraceError, match=message):
        rank_tests(table)


def test_glitches_are_grouped_by_what_they_spoil():
    names = (
        "uniform",
        "clustered",
        "human_labels@worst",
        "far_anomalies",
        "mixture@mu_ua",
        "corruption@jpeg",
    )
    assert [group_of(name) == WRONG_LABELS for name in names] == [True] * 3 + [False] * 3


def summary(seeds: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    keys = {"model": "linear", "ratio": "0.1", "estimator": "tracin", "metric": "f1"}
    rows = []
    for dataset, glitch, seed in itertools.product(
        ("digits", "wine"), ("uniform", "clustered", "near_anomalies", "far_anomalies"), range(seeds)
    ):
        # On seed 0 alone SI is better than CNCI's family, whose choice it is not.
        for signal, value in {"SI": 0.5, "MI": 0.3 + 0.4 * (seed == 0), "knn_vote": 0.9, "CNCI": 0.6}.items():
            cell = {"dataset": dataset, "glitch": glitch, "seed": str(seed), "signal": signal}
            rows.append(keys | cell | {"value": value + rng.normal(0, 0.01)})
    return pd.DataFrame(rows)


def test_seed_0_chooses_and_is_not_tested(tmp_path):
    files.write_parquet(summary(), tmp_path / "summary.parquet")
    paths = {name: tmp_path / f"{name}.csv" for name in ("cells", "ranks")}
    plot_ranks(summary=tmp_path / "summary.parquet", figures=[tmp_path / "a.svg"], **paths)
    cells, ranks = (pd.read_csv(path) for path in paths.values())
    assert (cells["seeds"] == 3).all()
    assert (tmp_path / "a.svg").stat().st_size > 1000
    ranked = ranks.dropna(subset="rank")
    assert set(ranked.loc[ranked["group"] == OTHERS, "detector"]) == {"MI", "knn_vote", "CNCI"}
    first = ranks[ranks["group"] == WRONG_LABELS].iloc[0]
    assert (first["detector"], first["leads"], first["cells"], first["rank"]) == ("knn_vote", 4, 4, 1.0)
    assert cells.loc[cells["detector"] == "MI", "mean"].max() < 0.35
    np.testing.assert_allclose(cells["fnr"], 1 - cells["mean"], atol=2e-6)


def test_a_bar_joins_its_ends_and_does_not_follow_the_order_of_a_set():
    alike = summary()
    alike["value"] = np.random.default_rng(1).normal(0.5, 0.01, len(alike))
    found = compare_detectors(alike, "f1", "summary")
    figure = draw_ranks(found.cells, found.chosen)
    ink = mpl.colors.to_rgb(style.INK)
    bars = [
        line for axes in figure.axes for line in axes.lines
        if mpl.colors.to_rgb(line.get_color()) == ink and line.get_linewidth() == 1.6
    ]  # fmt: skip
    assert bars
    for bar in bars:
        assert len(bar.get_xdata()) == 2
        assert bar.get_xdata()[0] < bar.get_xdata()[1]


def test_a_study_of_seed_0_alone_has_nothing_to_test(tmp_path):
    files.write_parquet(summary(1), tmp_path / "summary.parquet")
    with pytest.raises(GlitchtraceError, match="seed 0 chooses and the others test; add others"):
        plot_ranks(
            summary=tmp_path / "summary.parquet",
            figures=[tmp_path / "a.svg"],
            cells=tmp_path / "c.csv",
            ranks=tmp_path / "r.csv",
        )


def test_a_detector_that_a_cell_lacks_is_left_out():
    table = summary()
    table = table[
        ~((table["signal"] == "SI") & (table["dataset"] == "wine") & (table["glitch"] == "uniform"))
    ]
    assert set(measured(table, "f1")["signal"]) == {"MI", "knn_vote", "CNCI"}

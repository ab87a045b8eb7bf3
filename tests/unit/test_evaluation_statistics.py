import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.evaluation.comparison import compare_signals
from glitchtrace.evaluation.statistics import compare, estimate, share_of_oracle_gain

VALUES = st.lists(st.floats(-1.0, 1.0).map(lambda value: round(value, 3)), min_size=2, max_size=8)


@given(VALUES)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_estimate_equals_scipy(values):
    found = estimate(np.array(values))
    assert found.count == len(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert found.standard_deviation == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    if error > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


def test_the_interval_of_a_known_sample():
    # Five values, t(0.975; 4) = 2.776445: mean 3, s = 1.581139, half width 1.963243.
    found = estimate(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert found.low == pytest.approx(1.036757, abs=1e-6)
    assert found.high == pytest.approx(4.963243, abs=1e-6)


def test_undefined_values_are_left_out_and_counted():
    assert estimate(np.array([math.nan, 2.0, 4.0])).mean == 3.0
    assert estimate(np.array([math.nan, 2.0, 4.0])).count == 2
    single = estimate(np.array([0.5, math.nan]))
    assert (single.count, single.mean) == (1, 0.5)
    assert math.isnan(single.standard_deviation)
    assert math.isnan(single.low)
    nothing = estimate(np.array([]))
    assert nothing.count == 0
    assert math.isnan(nothing.mean)


def test_equal_values_have_an_interval_of_no_width():
    found = estimate(np.full(4, 0.25))
    assert (found.standard_deviation, found.low, found.high) == (0.0, 0.25, 0.25)


@given(VALUES)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_comparison_is_antisymmetric_and_counts_every_seed(values):
    first = np.array(values)
    second = np.roll(first, 1)
    forward, backward = compare(first, second), compare(second, first)
    assert forward.difference.mean == -backward.difference.mean
    assert forward.difference.low == pytest.approx(-backward.difference.high, abs=1e-12)
    assert (forward.wins, forward.losses) == (backward.losses, backward.wins)
    assert forward.wins + forward.ties + forward.losses == len(values)


def test_wilcoxon_from_six_seeds_on():
    first = np.array([0.9, 0.8, 0.85, 0.95, 0.7, 0.99])
    second = first - np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    # All six differences positive: 2 / 2^6.
    assert compare(first, second).p_value == pytest.approx(2 / 64)
    assert math.isnan(compare(first[:5], second[:5]).p_value)
    assert compare(first, first).p_value == 1.0
    assert compare(first, first).ties == 6


def test_what_rounding_alone_tells_apart_is_equal():
    # Of 130 test rows 88, 72, … are right, then 2, 2, … more. As floats, equal changes of accuracy differ.
    right = np.array([88, 72, 101, 95, 80, 64])
    more = np.array([2, 2, 1, 2, -2, 0])
    found = compare(100 * ((right + more) / 130), 100 * (right / 130))
    assert found.p_value == stats.wilcoxon(more).pvalue
    assert (found.wins, found.ties, found.losses) == (4, 1, 1)
    # One row more and one fewer: a mean change of 0, and an oracle without a gain.
    none, perfect = np.array([30, 85]) / 130, np.array([31, 84]) / 130
    assert (perfect - none).mean() > 0
    assert compare(perfect, none).difference.mean == 0
    assert math.isnan(share_of_oracle_gain(none, perfect, perfect).share)
    assert share_of_oracle_gain(none, perfect, none + 0.1).share == 0


def test_a_seed_undefined_on_one_side_is_left_out():
    found = compare(np.array([1.0, math.nan, 3.0]), np.array([0.0, 0.0, 1.0]))
    assert (found.difference.count, found.wins) == (2, 2)
    assert found.difference.mean == 1.5


@pytest.mark.parametrize("lengths", [(3, 2), (1, 0)])
def test_different_numbers_of_seeds_are_refused(lengths):
    first, second = (np.zeros(length) for length in lengths)
    with pytest.raises(GlitchtraceError, match="same seeds"):
        compare(first, second)
    with pytest.raises(GlitchtraceError, match="same seeds"):
        share_of_oracle_gain(first, second, first)


def test_the_share_is_the_ratio_of_mean_gains():
    none = np.array([0.80, 0.82, 0.84, 0.81, 0.83])
    oracle = none + np.array([0.10, 0.08, 0.06, 0.09, 0.07])
    policy = none + np.array([0.08, 0.04, 0.06, 0.03, 0.07])
    found = share_of_oracle_gain(none, policy, oracle)
    assert found.share == pytest.approx(0.28 / 0.40)
    assert found.low < found.share < found.high
    assert found == share_of_oracle_gain(none, policy, oracle)


@given(st.floats(-1.0, 1.0), VALUES)
@settings(deadline=None, derandomize=True, max_examples=20)
def test_a_gain_proportional_to_the_oracles_has_an_interval_of_no_width(factor, values):
    none = np.array(values)
    gain = np.linspace(0.01, 0.2, len(values))
    found = share_of_oracle_gain(none, none + factor * gain, none + gain)
    assert (found.share, found.low, found.high) == pytest.approx((factor,) * 3, abs=1e-9)


def test_the_bootstrap_interval_of_two_seeds_is_that_of_all_four_resamples():
    found = share_of_oracle_gain(np.zeros(2), np.array([0.1, 0.3]), np.array([0.5, 0.5]))
    assert (found.low, found.share, found.high) == pytest.approx((0.2, 0.4, 0.6))


def test_the_interval_is_open_where_the_oracle_gains_nothing_in_many_resamples():
    # A quarter of the resamples holds the second seed alone, where the oracle loses.
    found = share_of_oracle_gain(np.zeros(2), np.array([0.2, 0.1]), np.array([0.5, -0.1]))
    assert found.share == pytest.approx(0.75)
    assert (found.low, found.high) == (-math.inf, math.inf)


@pytest.mark.parametrize("gain", [0.0, -0.1])
def test_there_is_no_share_of_an_oracle_that_gains_nothing(gain):
    found = share_of_oracle_gain(np.zeros(3), np.full(3, 0.1), np.full(3, gain))
    assert all(math.isnan(value) for value in (found.share, found.low, found.high))


def test_a_single_seed_has_a_share_and_no_interval():
    found = share_of_oracle_gain(np.array([0.5]), np.array([0.6]), np.array([0.7]))
    assert found.share == pytest.approx(0.5)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def summary_table(scores):
    keys = {"dataset": "digits", "model": "mlp", "glitch": "uniform", "ratio": "0.1", "estimator": "tracin"}
    rows = [
        {**keys, "seed": seed, "signal": signal, "metric": "f1", "value": value}
        for signal, values in scores.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame([*rows, {**keys, "seed": 0, "signal": "", "metric": "samples", "value": 7.0}])


def test_signals_are_compared_in_pairs_over_seeds(tmp_path):
    summary, comparison = tmp_path / "summary.parquet", tmp_path / "comparison.parquet"
    table = summary_table({"SI": [0.5, 0.7], "CNCI": [0.9, 0.9], "MI": [0.5, 0.1]})
    table.sample(frac=1, random_state=0).to_parquet(summary)
    compare_signals(summary=str(summary), comparison=str(comparison))
    found = pd.read_parquet(comparison).set_index(["signal", "other"])
    assert list(found.index) == [("CNCI", "MI"), ("CNCI", "SI"), ("MI", "SI")]
    row = found.loc[("CNCI", "SI")]
    assert (row["count"], row["wins"], row["ties"], row["losses"]) == (2, 2, 0, 0)
    assert row["difference"] == pytest.approx(0.3)
    assert (found.loc[("MI", "SI")][["wins", "ties", "losses"]] == [0, 1, 1]).all()


def test_a_summary_with_one_signal_has_nothing_to_compare(tmp_path):
    summary = tmp_path / "summary.parquet"
    summary_table({"SI": [0.5, 0.7]}).to_parquet(summary)
    with pytest.raises(GlitchtraceError, match="fewer than two signals"):
        compare_signals(summary=str(summary), comparison=str(tmp_path / "comparison.parquet"))
    assert not (tmp_path / "comparison.parquet").exists()

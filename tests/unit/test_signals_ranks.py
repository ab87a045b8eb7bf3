"""Orders with ties and infinities, flags, verdicts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors.ranks import ascending_ranks, flag_top, verdicts
from glitchtrace.glitches.kinds import Kind

SCORES = st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0, np.inf]), min_size=1, max_size=30)
modest = settings(deadline=None, derandomize=True, max_examples=50)


@modest
@given(SCORES)
def test_ranks_order_by_score_then_index(values: list[float]) -> None:
    expected = sorted(range(len(values)), key=lambda i: (values[i], i))
    assert np.argsort(ascending_ranks(np.array(values))).tolist() == expected


@modest
@given(SCORES, st.integers(0, 35))
def test_flags_are_the_highest_scores_lowest_index_first(values: list[float], count: int) -> None:
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]
    assert np.flatnonzero(flag_top(np.array(values), count)).tolist() == sorted(expected)


def test_constant_scores_flag_exactly_the_first() -> None:
    assert flag_top(np.zeros(5), 2).tolist() == [True, True, False, False, False]


def test_verdict_goes_to_the_higher_rank_and_to_mislabelled_when_equal() -> None:
    found = verdicts(np.array([3.0, 1.0, 2.0]), np.array([0.0, 5.0, 2.0]))
    assert found.tolist() == [Kind.MISLABELLED, Kind.ANOMALOUS, Kind.MISLABELLED]
    assert found.dtype == np.int8


@pytest.mark.parametrize("order", [ascending_ranks, lambda scores: flag_top(scores, 1)])
def test_nan_has_no_place(order: object) -> None:
    with pytest.raises(GlitchtraceError, match="score 1 is NaN"):
        order(np.array([0.0, np.nan]))  # type: ignore[operator]

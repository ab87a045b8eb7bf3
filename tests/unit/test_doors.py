"""The doors: what is accepted, as what, and how the rest is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data import doors

modest = settings(deadline=None, derandomize=True, max_examples=40)


@modest
@given(st.lists(st.one_of(st.integers(-(2**60), 2**60)), min_size=1, max_size=20))
def test_labels_come_back_from_codes_exactly(values: list[int]) -> None:
    codes, classes = doors.labels(values)
    assert classes[codes].tolist() == values
    assert codes.dtype == np.int64


def test_labels_of_text_booleans_and_whole_floats() -> None:
    assert doors.labels(["cat", "dog", "cat"])[0].tolist() == [0, 1, 0]
    assert doors.labels([True, False])[0].tolist() == [1, 0]
    assert doors.labels(np.array([2.0, 1.0]))[1].tolist() == [1, 2]
    assert doors.labels(np.array(["a", "b"], dtype=object))[1].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ([0.5, 1], "row 0 is 0.5"),
        ([1.0, np.nan], "row 1 is nan"),
        (np.array(["a", None], dtype=object), "row 1 has no label"),
        (np.array(["a", 1], dtype=object), "mixes text and numbers"),
        ([[0, 1], [1, 0]], r"shape \(2, 2\)"),
        ([], "empty"),
        ([1j], "type complex128"),
    ],
)
def test_labels_refused(given_: object, message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        doors.labels(given_)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ([[0.5, 0.6]], "row 0 sums to 1.1"),
        ([[2.0, -1.0]], "not logits"),
        ([[np.nan, 1.0]], "not finite"),
        ([0.5, 0.5], r"shape \(2,\)"),
        ([[0.2, 0.3, 0.5]], "3 columns for 2 classes"),
        ([["a", "b"]], "type <U1"),
    ],
)
def test_probabilities_refused(given_: object, message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        doors.probabilities(given_, classes=2)


def test_checkpoints_are_one_or_several() -> None:
    one = np.full((3, 2), 0.5, np.float32)
    assert len(doors.checkpoints(one)) == 1
    assert len(doors.checkpoints([one, one])) == len(doors.checkpoints(np.stack([one, one]))) == 2
    assert doors.checkpoints(one)[0].dtype == np.float32
    assert doors.checkpoints([[0.5, 0.5], [1.0, 0.0]])[0].shape == (2, 2)
    with pytest.raises(GlitchtraceError, match="different shapes"):
        doors.checkpoints([one, one[:2]])


def test_features_are_flattened_and_aligned() -> None:
    assert doors.features(np.zeros((4, 2, 3), np.uint8)).shape == (4, 6)
    with pytest.raises(GlitchtraceError, match="has 4 rows for 5 samples"):
        doors.features(np.zeros((4, 2)), rows=5)
    with pytest.raises(GlitchtraceError, match="row 1 holds a value that is not finite"):
        doors.features([[0.0], [np.inf]])


def test_codes_and_scores() -> None:
    assert doors.codes(np.array([0, 1], np.uint8), 2).dtype == np.int64
    for wrong in ([0, 2], [-1, 0], [0.0, 1.0]):
        with pytest.raises(GlitchtraceError):
            doors.codes(wrong, 2)
    assert doors.scores([1, np.inf]).tolist() == [1, np.inf]

"""The doors: what is accepted, as what, and how the rest is refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

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
        (np.array(["a", 1], dtype=object), "row 0 is 'a' and row 1 is 1; give labels of one type"),
        ([[0, 1], [1, 0]], r"shape \(2, 2\)"),
        ([], "empty"),
        ([1j], "type complex128"),
        (np.ma.masked_array([0, 1], mask=[False, True]), "row 1 is masked"),
        (pd.Series(["a", pd.NA], dtype="string"), "row 1 has no label"),
        (pd.Series([1, None], dtype="Int64"), "row 1 is nan|row 1 has no label"),
        (np.array(["a", pd.NaT], dtype=object), "row 1 has no label"),
        ([2, 2.0**54], "row 1 is 1.80.*above 2[*][*]53 an integer"),
        ([1e300, 1], "row 0 is 1e[+]300"),
        ([2**70, 1], r"row 0 is 11805\d+; a label is a whole number .within 64 bits."),
        (np.array([1, 2.0], dtype=object), "row 0 is 1 and row 1 is 2.0; give labels of one type"),
        (["", "b"], "row 0 has no label"),
        ([[1], [2, 3]], "rows of one length"),
        ("abc", r"shape \(\)"),
        (torch.tensor([0.5]), "row 0 is 0.5"),
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


@pytest.mark.parametrize("columns", [0, 1])
def test_probabilities_of_fewer_than_two_classes_are_refused(columns: int) -> None:
    with pytest.raises(GlitchtraceError, match=f"has {columns} column; give one per class, at least two"):
        doors.checkpoints(np.ones((3, columns)))


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


FRAME = pd.DataFrame({"a": pd.Series([1, 2], dtype="Int64"), "b": pd.Series([0.5, None], dtype="Float64")})


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (np.zeros((3, 0)), "has no column"),
        (np.zeros((0, 3)), "empty"),
        (np.ma.masked_array(np.zeros((2, 2)), mask=[[0, 0], [0, 1]]), "row 1, column 1 is masked"),
        (np.array([[1, "x"]], dtype=object), "row 0, column 1 is 'x'"),
        (np.array([[1, None]], dtype=object), "row 0, column 1 is missing"),
        (np.array([[2**60]], dtype=object), "do not keep it"),
        (FRAME, "row 1"),
        ([[2**60], [1]], "row 0 holds a value beyond 9e[+]15, and floating-point numbers do not keep it"),
        ([[1.0], [-1e200]], "row 1 holds a value beyond 1e[+]150, and products of rows overflow"),
        (np.array([[1e20]], np.float32), "beyond 1e[+]17"),
        (np.ones((2, 2)) * 1j, "give real numbers"),
        (np.array([["2024-01-01"]], "M8[D]"), "encode text"),
        ([[1.0], [1.0, 2.0]], "rows of one length|shape"),
        (None, "type object"),
    ],
)
def test_features_refused(given_: object, message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message) as caught:
        doors.features(given_)
    assert "\n" not in str(caught.value)


def test_what_means_the_same_numbers_is_the_same_array() -> None:
    rows = np.arange(6.0).reshape(3, 2)
    for same in (
        rows.tolist(), np.asfortranarray(rows), np.repeat(rows, 2, axis=1)[:, ::2], pd.DataFrame(rows),
        pd.DataFrame(rows).astype("Float64"), rows.astype(object), torch.tensor(rows, requires_grad=True),
        torch.tensor(rows).bfloat16(), rows.astype(np.float16), np.ma.masked_array(rows), csr_matrix(rows),
        rows.astype(np.uint8), rows.astype(np.longdouble),
    ):  # fmt: skip
        found = doors.features(same)
        assert found.dtype in (np.float32, np.float64)
        assert (found == rows).all()
    big = 2**63 + np.arange(3, dtype=np.uint64)
    codes, classes = doors.labels(big)
    assert classes[codes].tolist() == big.tolist()


def test_rates_and_names_of_columns() -> None:
    assert doors.rates(0.5, 2).tolist() == [0.5, 0.5]
    assert doors.rates([0, 1], 2).tolist() == [0, 1]
    for wrong in ([1.0], [[1.0, 1.0]], [-1, 1], [np.nan, 1], [0, 0], "fast", 1j, True, []):
        with pytest.raises(GlitchtraceError, match="learning_rates"):
            doors.rates(wrong, 2)
    assert doors.class_names(["b", "a"], 2).tolist() == ["b", "a"]
    for wrong in ([0, 0], [0], [0, np.nan], 3, [[0, 1]]):
        with pytest.raises(GlitchtraceError, match="classes"):
            doors.class_names(wrong, 2)


def test_tables_in_another_order_are_refused() -> None:
    table, labels = pd.DataFrame({"a": [1, 2]}, index=[5, 6]), pd.Series([0, 1], index=[6, 5])
    with pytest.raises(GlitchtraceError, match=r"give y.loc\[X.index\]"):
        doors.same_order(X=table, y=labels)
    doors.same_order(X=table, y=labels.reset_index(drop=True), p=np.eye(2))


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=3)
        | st.binary(max_size=3)
        | st.complex_numbers()
        | st.dates(),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=12,
    )
)
def test_anything_is_an_array_or_refused_in_one_line(value: object) -> None:
    for door in (doors.labels, doors.probabilities, doors.features, doors.checkpoints, doors.scores):
        for given_ in (value, [value, value]):
            try:
                found = door(given_)
            except GlitchtraceError as error:
                assert "\n" not in str(error)  # noqa: PT017
            else:
                if door is doors.features:
                    assert np.isfinite(found).all()


def test_codes_and_scores() -> None:
    assert doors.codes(np.array([0, 1], np.uint8), 2).dtype == np.int64
    for wrong in ([0, 2], [-1, 0], [0.0, 1.0]):
        with pytest.raises(GlitchtraceError):
            doors.codes(wrong, 2)
    assert doors.scores([1, np.inf]).tolist() == [1, np.inf]


def test_rows_lie_one_after_the_other_in_memory_however_they_came() -> None:
    rows = np.full((6, 2), 0.5)
    for given_ in (
        np.asfortranarray(rows),
        pd.DataFrame({"a": rows[:, 0], "b": rows[:, 1]}),
        rows[::-1, ::-1],
    ):
        for door in (doors.features, doors.probabilities):
            assert door(given_).flags.c_contiguous
    assert doors.features(rows) is rows  # and nothing is copied that does so already

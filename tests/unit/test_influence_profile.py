"""Class profiles against brute force; counterfactual labels; the file and its faults."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_tensors
from glitchtrace.influence import tracin
from glitchtrace.influence.estimator import Estimator, EstimatorInputs
from glitchtrace.influence.factors import Factors, Part
from glitchtrace.influence.profile import (
    ClassProfile,
    ClassReducer,
    Profiles,
    build_profiles,
    load_profiles,
    negative_labels,
    positive_labels,
    profile_from_matrix,
    save_profiles,
)

SEEDS = st.integers(0, 2**32 - 1)
modest = settings(deadline=None, derandomize=True, max_examples=20)
LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 1, 2])
VALIDATION = np.array([2, 0, 1, 1, 0, 2, 2])


class MatrixEstimator(Estimator):
    """Influence that depends on sample, epoch and label in a known way; rows come in blocks of two."""

    def __init__(self, seed: int = 0, epochs: int = 3) -> None:
        self.matrices = np.random.default_rng(seed).normal(size=(epochs, 3, len(LABELS), len(VALIDATION)))

    def under(self, labels: np.ndarray, epochs: Sequence[int]) -> np.ndarray:
        return np.asarray(self.matrices[list(epochs)].sum(axis=0)[labels, np.arange(len(labels))])

    def blocks(
        self, labels: np.ndarray | None = None, epochs: Sequence[int] | None = None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        matrix = self.under(
            LABELS if labels is None else labels, range(len(self.matrices)) if epochs is None else epochs
        )
        for start in range(0, len(matrix), 2):
            yield slice(start, start + 2), matrix[start : start + 2]

    def epoch_blocks(self) -> Iterator[tuple[slice, int, np.ndarray]]:
        for start in range(0, len(LABELS), 2):
            for epoch in range(len(self.matrices)):
                yield slice(start, start + 2), epoch, self.under(LABELS, [epoch])[start : start + 2].copy()

    def self_influence_per_epoch(self) -> np.ndarray:
        return np.arange(1.0, 1 + len(self.matrices))[:, None] * np.arange(len(LABELS))


def by_loops(matrix: np.ndarray, validation_labels: np.ndarray, classes: np.ndarray) -> list[np.ndarray]:
    tables = [np.zeros((len(matrix), len(classes))) for _ in range(4)]
    for i, row in enumerate(matrix):
        for value, label in zip(row, validation_labels, strict=True):
            column = classes.tolist().index(label)
            tables[0][i, column] += max(value, 0)
            tables[1][i, column] += min(value, 0)
            tables[2][i, column] += value > 0
            tables[3][i, column] += value < 0
    return tables


def assert_profile(found: ClassProfile, matrix: np.ndarray) -> None:
    for field, expected in zip(fields(found), by_loops(matrix, VALIDATION, np.arange(3)), strict=True):
        np.testing.assert_allclose(getattr(found, field.name), expected, rtol=1e-12, atol=1e-15)


@modest
@given(SEEDS, st.lists(st.sampled_from([-3, 2, 5, 11]), min_size=1, max_size=30))
def test_tables_equal_loops(seed: int, validation: list[int]) -> None:
    """Any integers as labels, classes without validation samples, zeros among the influences."""
    classes, validation_labels = np.array([-3, 2, 4, 5, 11]), np.array(validation)
    matrix = np.random.default_rng(seed).integers(-3, 4, (6, len(validation))).astype(np.float64)
    found = profile_from_matrix(matrix, validation_labels, classes)
    for field, expected in zip(fields(found), by_loops(matrix, validation_labels, classes), strict=True):
        np.testing.assert_array_equal(getattr(found, field.name), expected)


@modest
@given(SEEDS, st.integers(1, 9))
def test_blocks_equal_the_whole(seed: int, size: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(9, 7))
    reducer = ClassReducer(VALIDATION, np.arange(3))
    found = reducer.reduce(
        (slice(start, start + size), matrix[start : start + size]) for start in range(0, 9, size)
    )
    whole = reducer.tables(matrix)
    for field in fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(whole, field.name))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_of_the_matrix_is_kept(dtype: type) -> None:
    profile = profile_from_matrix(np.ones((2, 7), dtype), VALIDATION, np.arange(3))
    assert profile.positive.dtype == profile.negative.dtype == dtype
    assert profile.positive_count.dtype == profile.negative_count.dtype == np.int32


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_influence_that_is_not_finite(value: float) -> None:
    matrix = np.ones((2, 7))
    matrix[1, 3] = value
    with pytest.raises(GlitchtraceError, match="not finite"):
        profile_from_matrix(matrix, VALIDATION, np.arange(3))


def test_matrix_of_another_width() -> None:
    with pytest.raises(GlitchtraceError, match="expected 7 columns"):
        profile_from_matrix(np.ones((2, 6)), VALIDATION, np.arange(3))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([0, 1], "2 is not among the classes"),
        ([2, 1, 0], "not sorted"),
        ([0, 1, 1, 2], "not sorted, each once"),
    ],
)
def test_classes_that_are_not_those_of_validation(classes: list[int], message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        profile_from_matrix(np.ones((2, 7)), np.array([0, 1, 2, 0, 1, 2, 2]), np.array(classes))


@pytest.mark.parametrize("epochs", ["last", "all"])
def test_validation_labels_are_as_many_as_samples(epochs: str) -> None:
    with pytest.raises(GlitchtraceError, match="6 validation labels for 7 validation samples"):
        build_profiles(MatrixEstimator(), LABELS, VALIDATION[:-1], counterfactual_epochs=epochs)
    with pytest.raises(GlitchtraceError, match="counterfactual_epochs: 'foo'; give 'last' or 'all'"):
        build_profiles(MatrixEstimator(), LABELS, VALIDATION, counterfactual_epochs="foo")


@pytest.mark.parametrize(("choice", "epochs"), [("last", [2]), ("all", [0, 1, 2])])
def test_profiles_of_an_estimator(choice: str, epochs: list[int]) -> None:
    estimator = MatrixEstimator()
    found = build_profiles(estimator, LABELS, VALIDATION, counterfactual_epochs=choice)
    assert_profile(found.cumulative, estimator.under(LABELS, range(3)))
    assert len(found.per_epoch) == 3
    for epoch, profile in enumerate(found.per_epoch.values()):
        assert_profile(profile, estimator.under(LABELS, [epoch]))
    assert_profile(found.counterfactual_negative, estimator.under(found.negative_label, epochs))
    assert_profile(found.counterfactual_positive, estimator.under(found.positive_label, epochs))
    np.testing.assert_array_equal(found.validation_counts, [2, 2, 3])
    np.testing.assert_array_equal(found.self_influence, 6.0 * np.arange(9))
    np.testing.assert_array_equal(found.at_epoch(2).self_influence, 2.0 * np.arange(9))
    assert found.at_epoch(2).cumulative is found.per_epoch[2]


def test_profiles_without_epochs() -> None:
    estimator = MatrixEstimator()
    found = build_profiles(estimator, LABELS, VALIDATION, per_epoch=False)
    assert_profile(found.cumulative, estimator.under(LABELS, range(3)))
    assert found.per_epoch == {}
    assert found.self_influence_per_epoch.shape == (0, 9)


def tables(positive: list[list[float]], negative: list[list[float]]) -> ClassProfile:
    counts = np.zeros(np.shape(positive), np.int32)
    return ClassProfile(np.array(positive), np.array(negative), counts, counts)


def test_counterfactual_labels_and_their_ties() -> None:
    classes, labels = np.array([2, 5, 7]), np.array([2, 5, 7, 2])
    profile = tables(
        [[3.0, 1.0, 2.0], [1.0, 1.0, 1.0], [2.0, 3.0, 2.0], [1.0, 4.0, 4.0]],
        [[-1.0, -2.0, -3.0], [-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], [-2.0, -2.0, -1.0]],
    )
    assert negative_labels(profile, classes, labels).tolist() == [7, 2, 2, 2]
    assert negative_labels(profile, classes, labels, exclude_own_class=True).tolist() == [7, 2, 2, 5]
    assert positive_labels(profile, classes, labels).tolist() == [7, 5, 2, 7]


def test_own_class_can_be_excluded() -> None:
    free = build_profiles(MatrixEstimator(), LABELS, VALIDATION)
    bound = build_profiles(MatrixEstimator(), LABELS, VALIDATION, exclude_own_class=True)
    assert (free.negative_label == LABELS).any()
    assert not (bound.negative_label == LABELS).any()


def test_class_that_only_validation_knows_is_never_proposed() -> None:
    """Its samples count in the tables, but the class signals run over the classes of the training set."""
    labels, validation = np.array([4, 6, 4]), np.array([4, 5, 6])
    profile = profile_from_matrix(
        np.array([[-1.0, -9.0, -2.0], [1.0, 9.0, 2.0], [3.0, 9.0, 1.0]]), validation, np.array([4, 5, 6])
    )
    assert negative_labels(profile, np.array([4, 5, 6]), labels).tolist() == [6, 4, 4]
    assert positive_labels(profile, np.array([4, 5, 6]), labels).tolist() == [6, 4, 6]


def test_a_class_without_validation_rows_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    build_profiles(MatrixEstimator(), LABELS, np.array([2, 0, 2, 0, 0, 2, 2]))
    assert "no validation row of class 1 (3 training rows): influence on them is 0" in caplog.text
    caplog.clear()
    build_profiles(MatrixEstimator(), LABELS, VALIDATION)
    assert not caplog.text


@pytest.mark.parametrize(
    ("labels", "validation", "message"),
    [
        (LABELS.astype(str), VALIDATION, "labels must be a vector of integers, not <U"),
        (LABELS, VALIDATION.astype(float), "validation labels must be a vector of integers, not float64"),
        (LABELS[:, None], VALIDATION, "labels must be a vector of integers"),
        ([*"abcabcabc"], VALIDATION, "labels must be a vector of integers, not <U"),
        (None, VALIDATION, "labels must be a vector of integers, not object"),
        (LABELS[:-1], VALIDATION, "8 labels for 9 training samples"),
    ],
)
def test_labels_that_are_no_labels_are_one_line(
    labels: np.ndarray, validation: np.ndarray, message: str
) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        build_profiles(MatrixEstimator(), labels, validation)


def test_one_class_is_refused() -> None:
    with pytest.raises(GlitchtraceError, match="at least two classes"):
        build_profiles(MatrixEstimator(), np.zeros_like(LABELS), VALIDATION)


def flat(profiles: Profiles) -> dict[str, np.ndarray]:
    found = {}
    for field in fields(profiles):
        value = getattr(profiles, field.name)
        for index, part in (value if isinstance(value, dict) else {0: value}).items():
            if isinstance(part, ClassProfile):
                found |= {
                    f"{field.name}{index}{table.name}": getattr(part, table.name) for table in fields(part)
                }
            else:
                found[f"{field.name}{index}"] = part
    return found


@pytest.mark.parametrize(
    ("counted", "kept"), [(None, [1, 2, 3]), ([2, 5, 12], [2, 5, 12]), ([3, 4, 5, 9], [4, 5, 9])]
)
def test_checkpoints_keep_the_numbers_of_their_epochs(counted, kept):
    """Of more than the estimator has, it takes the last ones, as estimators of one checkpoint do."""
    estimator = MatrixEstimator()
    found = build_profiles(estimator, LABELS, VALIDATION, numbers=counted)
    assert list(found.per_epoch) == kept
    for position, epoch in enumerate(kept):
        assert_profile(found.at_epoch(epoch).cumulative, estimator.under(LABELS, [position]))
        np.testing.assert_array_equal(
            found.at_epoch(epoch).self_influence, estimator.self_influence_per_epoch()[position]
        )


def test_more_checkpoints_than_count_are_refused() -> None:
    with pytest.raises(GlitchtraceError, match="has 3 checkpoints, but 2 count"):
        build_profiles(MatrixEstimator(), LABELS, VALIDATION, numbers=[2, 3])


@pytest.mark.parametrize("numbers", [None, [2, 3, 1000]])
@pytest.mark.parametrize("per_epoch", [True, False])
def test_file_round_trip(tmp_path: Path, per_epoch: bool, numbers: list[int] | None) -> None:
    written = build_profiles(MatrixEstimator(), LABELS, VALIDATION, per_epoch=per_epoch, numbers=numbers)
    save_profiles(written, tmp_path / "profile.safetensors")
    read = flat(load_profiles(tmp_path / "profile.safetensors"))
    expected = flat(written)
    assert read.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(read[key], array)
        assert read[key].dtype == array.dtype


def spoilt(folder: Path, change: dict[str, np.ndarray | None]) -> Path:
    path = folder / "profile.safetensors"
    save_profiles(build_profiles(MatrixEstimator(), LABELS, VALIDATION), path)
    content = load_file(path) | change
    write_tensors({key: value for key, value in content.items() if value is not None}, path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "lacks the tensor 'labels'"),
        ({"cumulative/positive": None}, "lacks the tensor 'cumulative/positive'"),
        ({"per_epoch/002/negative_count": None}, "lacks the tensor 'per_epoch/002/negative_count'"),
        ({"per_epoch/004/positive": np.zeros((9, 3))}, "lacks the tensor 'per_epoch/004/negative'"),
        ({"per_epoch/4/positive": np.zeros((9, 3))}, "unknown tensor 'per_epoch/4/positive'"),
        (
            {"cumulative/negative": np.zeros((9, 2))},
            r"cumulative/negative has shape \(9, 2\), expected \(9, 3\)",
        ),
        ({"self_influence": np.zeros(8)}, r"self_influence has shape \(8,\), expected \(9,\)"),
    ],
)
def test_bad_file(tmp_path: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    path = spoilt(tmp_path, change)
    with pytest.raises(GlitchtraceError, match=message) as caught:
        load_profiles(path)
    assert str(path) in str(caught.value)


def test_truncated_file(tmp_path: Path) -> None:
    path = spoilt(tmp_path, {})
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(GlitchtraceError, match="cannot be read as safetensors"):
        load_profiles(path)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("per_epoch", [True, False])
def test_one_pass_for_other_labels_gives_the_bits_of_three(frozen, per_epoch, monkeypatch):
    """The closed form keeps the products of a block for y⁻ and y⁺; without that it makes them anew."""
    rng = np.random.default_rng(0)
    parts = []
    for size in (70, 40):
        features = tuple(rng.normal(size=(size, 6)).astype(np.float32) for _ in range(1 if frozen else 3))
        probabilities = tuple(rng.dirichlet(np.ones(4), size).astype(np.float32) for _ in range(3))
        parts.append(Part(features, probabilities, rng.integers(0, 4, size)))
    factors = Factors(np.array([0.1, 0.2, 0.3]), 8, *parts)
    # Several blocks of rows.
    estimator = tracin.open_cell(EstimatorInputs(lambda: factors, lambda: None), {"memory_mib": 0.01})
    joint = build_profiles(estimator, parts[0].labels, parts[1].labels, per_epoch=per_epoch)
    monkeypatch.setattr(type(estimator), "joint_blocks", lambda self: None)
    apart = build_profiles(estimator, parts[0].labels, parts[1].labels, per_epoch=per_epoch)
    for name in ("cumulative", "counterfactual_negative", "counterfactual_positive"):
        for field in fields(ClassProfile):
            found, expected = (getattr(getattr(one, name), field.name) for one in (joint, apart))
            np.testing.assert_array_equal(found, expected, err_msg=f"{name} {field.name}")
    np.testing.assert_array_equal(joint.negative_label, apart.negative_label)
    np.testing.assert_array_equal(joint.positive_label, apart.positive_label)

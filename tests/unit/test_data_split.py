"""Splits: disjoint, stratified, exact in number."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.portion import portion
from glitchtrace.data.split import make_split, rows_of

TWO_PARTS = {"train": (0, 400), "test": (400, 600)}
ONE_PART = {"all": (0, 600)}
LABELS = np.arange(600) % 4


def sizes(split: pd.DataFrame) -> tuple[int, int, int]:
    return tuple(len(rows_of(split, part)) for part in ("train", "validation", "test"))


def split_of(parts=TWO_PARTS, seed: int = 0, labels=LABELS, **options) -> pd.DataFrame:
    return make_split(labels, parts, seed=seed, **options)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(ratio=st.decimals("0.001", "0.999", places=3), count=st.integers(0, 100_000))
def test_a_portion_is_the_floor_of_the_exact_product(ratio, count):
    assert portion(float(ratio), count) == portion(str(ratio), count) == math.floor(Fraction(ratio) * count)


def test_a_portion_does_not_lose_one_to_rounding():
    assert int(0.29 * 100) == 28
    assert portion(0.29, 100) == 29


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 5),
    official=st.booleans(),
    source=st.sampled_from([None, "holdout", "test_split"]),
    subset=st.sampled_from([{}, {"subset_ratio": 0.5}, {"subset_ratio": 1.0}, {"subset_size": 150}]),
    test_size=st.sampled_from([None, 40]),
)
def test_parts_are_disjoint_nonempty_and_hold_every_class(seed, classes, official, source, subset, test_size):
    if not official and source == "test_split":
        source = None
    labels = np.random.default_rng(seed).permutation(np.arange(600) % classes)
    parts = TWO_PARTS if official else ONE_PART
    split = make_split(labels, parts, seed=seed, validation_source=source, test_size=test_size, **subset)
    assert split["row"].is_unique
    assert split["row"].between(0, 599).all()
    for part in ("train", "validation", "test"):
        rows = rows_of(split, part)
        assert set(labels[rows]) == set(range(classes))
        if official:
            expected = "train" if part == "train" or (source == "holdout" and part != "test") else "test"
            first, end = TWO_PARTS[expected]
            assert rows.min() >= first
            assert rows.max() < end
    assert test_size is None or len(rows_of(split, "test")) == test_size


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 1000), ratio=st.sampled_from([0.1, 0.25, 0.29, 0.57]))
def test_shares_of_the_classes_are_kept(seed, ratio):
    labels = np.repeat([0, 1, 2], [300, 200, 100])
    split = make_split(labels, ONE_PART, seed=seed, subset_ratio=ratio)
    for part in ("train", "validation", "test"):
        rows = rows_of(split, part)
        found = np.bincount(labels[rows], minlength=3)
        assert np.abs(found - len(rows) * np.array([3, 2, 1]) / 6).max() < 1.5


@pytest.mark.parametrize(
    ("parts", "options", "expected"),
    [
        (TWO_PARTS, {}, (400, 100, 100)),
        (TWO_PARTS, {"subset_ratio": 0.1}, (40, 20, 180)),
        (TWO_PARTS, {"subset_ratio": 0.29}, (116, 58, 142)),
        (TWO_PARTS, {"subset_size": 100}, (100, 50, 150)),
        (TWO_PARTS, {"subset_ratio": 1.0}, (400, 100, 100)),
        (TWO_PARTS, {"subset_size": 400}, (400, 100, 100)),
        (TWO_PARTS, {"subset_ratio": 0.1, "validation_ratio": 0.4}, (40, 80, 120)),
        (TWO_PARTS, {"test_size": 30}, (400, 100, 30)),
        (TWO_PARTS, {"test_size": 100}, (400, 100, 100)),
        (TWO_PARTS, {"validation_source": "test_split"}, (400, 100, 100)),
        (TWO_PARTS, {"validation_source": "holdout"}, (320, 80, 200)),
        (TWO_PARTS, {"validation_source": "holdout", "subset_ratio": 0.5}, (160, 40, 200)),
        (TWO_PARTS, {"validation_source": "holdout", "test_size": 50}, (320, 80, 50)),
        (ONE_PART, {}, (384, 96, 120)),
        (ONE_PART, {"holdout_ratio": 0.5}, (240, 240, 120)),
        (ONE_PART, {"test_ratio": 0.5}, (240, 60, 300)),
        (ONE_PART, {"test_size": 100}, (400, 100, 100)),
        (ONE_PART, {"subset_size": 200}, (160, 40, 120)),
    ],
)
def test_each_option_sets_the_sizes(parts, options, expected):
    assert sizes(split_of(parts, **options)) == expected


def test_without_a_test_size_all_official_test_rows_are_used():
    split = split_of(subset_ratio=0.1)
    used = np.concatenate([rows_of(split, "validation"), rows_of(split, "test")])
    np.testing.assert_array_equal(np.sort(used), np.arange(400, 600))


@pytest.mark.parametrize("parts", [TWO_PARTS, ONE_PART])
@pytest.mark.parametrize("options", [{}, {"subset_ratio": 0.5}])
def test_the_same_seed_gives_the_same_split_and_seeds_differ(parts, options):
    pd.testing.assert_frame_equal(split_of(parts, 3, **options), split_of(parts, 3, **options))
    assert not split_of(parts, 3, **options).equals(split_of(parts, 4, **options))


@pytest.mark.parametrize("options", [{}, {"subset_ratio": 1.0}])
def test_all_training_rows_come_shuffled(options):
    rows = rows_of(split_of(**options), "train")
    np.testing.assert_array_equal(np.sort(rows), np.arange(400))
    assert np.mean(np.diff(rows) > 0) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("parts", "options", "message"),
    [
        (ONE_PART, {"validation_source": "test_split"}, "validation_source: test_split needs"),
        (TWO_PARTS, {"validation_source": "elsewhere"}, "validation_source: unknown value 'elsewhere'"),
        (TWO_PARTS, {"subset_ratio": 0.5, "subset_size": 9}, "subset_ratio, subset_size: both are given"),
        (
            TWO_PARTS,
            {"subset_ratio": 0.001},
            "subset_ratio: cannot divide 400 rows of 4 classes into 0 and 400",
        ),
        (TWO_PARTS, {"subset_size": 401}, "subset_size: cannot divide 400 rows of 4 classes into 401"),
        (TWO_PARTS, {"subset_size": 3}, "subset_size: cannot divide 400 rows of 4 classes into 3"),
        (TWO_PARTS, {"validation_ratio": 0.999}, "validation_ratio: cannot divide 200 rows"),
        (TWO_PARTS, {"subset_ratio": 0.01}, "validation_ratio: cannot divide 200 rows of 4 classes into 2"),
        (TWO_PARTS, {"test_size": 101}, "test_size: cannot divide 100 rows"),
        (ONE_PART, {"test_size": 600}, "test_size: cannot divide 600 rows"),
        (ONE_PART, {"test_ratio": 0.001}, "test_ratio: cannot divide 600 rows"),
        (ONE_PART, {"holdout_ratio": 0.999}, "holdout_ratio: cannot divide 480 rows"),
    ],
)
def test_an_impossible_split_names_the_key(parts, options, message):
    with pytest.raises(GlitchtraceError, match=f"^{message}") as caught:
        split_of(parts, **options)
    assert "\n" not in str(caught.value)


def test_a_class_without_training_rows_is_refused():
    labels = np.repeat([0, 1], [597, 3])
    with pytest.raises(GlitchtraceError, match="subset_size: class 1 has no sample among 32 training rows"):
        make_split(labels, ONE_PART, seed=0, subset_size=40)


def test_a_class_of_one_sample_cannot_be_divided():
    labels = np.repeat([0, 1], [599, 1])
    with pytest.raises(GlitchtraceError, match="test_ratio: cannot divide 600 rows"):
        make_split(labels, ONE_PART, seed=0)

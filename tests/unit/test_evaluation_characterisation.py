import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.evaluation.characterisation import KINDS, characterise, coarse_kinds
from glitchtrace.evaluation.label_repair import label_repair_accuracy
from glitchtrace.glitches.kinds import Kind


@given(st.integers(1, 30), st.integers(0, 2**16))
@settings(deadline=None, derandomize=True, max_examples=80)
def test_characterisation_equals_a_loop(size, seed):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, size).astype(np.int8)
    verdicts = rng.integers(1, 3, size).astype(np.int8)
    cfrank = rng.integers(0, 10, size).astype(float)
    detected = int((kinds != Kind.CLEAN).sum())
    found = characterise(cfrank, verdicts, kinds, detected)

    top = sorted(range(size), key=lambda index: (-cfrank[index], index))[:detected]
    confusion = {(true, predicted): 0 for true in KINDS for predicted in KINDS}
    for index in range(size):
        confusion[Kind(kinds[index]), Kind(verdicts[index]) if index in top else Kind.CLEAN] += 1
    expected = [[confusion[true, predicted] for predicted in KINDS] for true in KINDS]
    assert found.confusion.tolist() == expected
    for kind in (Kind.MISLABELLED, Kind.ANOMALOUS):
        hits = [verdicts[index] == kind for index in top if kinds[index] == kind]
        assert found.count(kind) == len(hits)
        if hits:
            assert found.accuracy(kind) == pytest.approx(np.mean(hits))
        else:
            assert math.isnan(found.accuracy(kind))


def test_the_confusion_table_counts_every_sample_once():
    kinds = np.array([0, 1, 2, 3, 4, 0], dtype=np.int8)
    found = characterise(np.arange(6.0), np.full(6, Kind.ANOMALOUS), kinds, detected=4)
    assert found.confusion.sum() == 6
    # Corrupted samples and near duplicates count with the anomalies (rows 2, 3, 4); row 5 is a false alarm.
    assert found.confusion.tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 3]]


def test_coarse_kinds_keep_clean_and_mislabelled_apart():
    assert coarse_kinds(np.arange(5, dtype=np.int8)).tolist() == [0, 1, 2, 2, 2]
    assert coarse_kinds(np.arange(5, dtype=np.int8)).dtype == np.int8


def test_no_detected_sample_of_a_kind_has_no_accuracy():
    kinds = np.array([0, 0, 1, 2], dtype=np.int8)
    found = characterise(np.array([9.0, 8.0, 1.0, 0.0]), np.full(4, Kind.MISLABELLED), kinds, detected=2)
    assert found.count(Kind.MISLABELLED) == found.count(Kind.ANOMALOUS) == 0
    assert math.isnan(found.accuracy(Kind.MISLABELLED))
    assert math.isnan(found.accuracy(Kind.ANOMALOUS))


def test_label_repair_counts_mislabelled_samples_only():
    kinds = np.array([1, 1, 1, 0, 2], dtype=np.int8)
    true_labels = np.array([4, 5, 6, 7, -1])
    proposed = np.array([4, 5, 0, 7, -1])
    assert label_repair_accuracy(proposed, true_labels, kinds) == (pytest.approx(2 / 3), 3)
    detected = np.array([True, False, True, True, True])
    assert label_repair_accuracy(proposed, true_labels, kinds, detected) == (0.5, 2)
    assert detected.tolist() == [True, False, True, True, True]


def test_label_repair_without_mislabelled_samples_is_undefined():
    accuracy, count = label_repair_accuracy(np.zeros(3), np.zeros(3), np.array([0, 2, 3]))
    assert math.isnan(accuracy)
    assert count == 0

"""Subsets and label noise of the published code, sample by sample."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glitchtrace.core import registry
from glitchtrace.data.split import make_split, rows_of
from glitchtrace.glitches.kinds import Kind
from glitchtrace.glitches.table import clean_table

GOLDEN = Path(__file__).parent / "glitch-detection" / "injection_k10.npz"
CLASSES = 10
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def inject(golden: dict[str, np.ndarray], name: str, seed: int, **settings: object) -> pd.DataFrame:
    labels = golden["in_y"]
    split = pd.DataFrame({"row": np.arange(len(labels)), "part": "train"})
    return registry.load("glitch", name).inject(
        clean_table(split, labels, "golden"),
        ratio=0.1,
        seed=seed,
        classes=CLASSES,
        settings=settings,
        foreign={},
    )


def marked(table: pd.DataFrame) -> np.ndarray:
    return np.flatnonzero(table["kind"] == Kind.MISLABELLED)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_training_subset_has_the_published_rows_in_the_published_order(golden, seed):
    # Twice the labels: the second half serves as the official test part.
    labels = np.tile(golden["in_y"], 2)
    half = len(golden["in_y"])
    parts = {"train": (0, half), "test": (half, 2 * half)}
    split = make_split(labels, parts, seed=seed, subset_ratio=0.1)
    expected = golden[f"out_subset_ids_ratio0.1_seed{seed}"]
    np.testing.assert_array_equal(rows_of(split, "train"), expected)
    np.testing.assert_array_equal(rows_of(split, "validation"), expected + half)


@pytest.mark.parametrize("seed", SEEDS)
def test_uniform_noise_marks_the_published_samples(golden, seed):
    table = inject(golden, "uniform", seed)
    np.testing.assert_array_equal(marked(table), golden[f"out_uniform_marked_ids_seed{seed}"])


@pytest.mark.parametrize("seed", SEEDS)
def test_uniform_noise_that_may_keep_labels_reproduces_the_published_labels(golden, seed):
    table = inject(golden, "uniform", seed, compat={"uniform_noise_may_keep_label": True})
    np.testing.assert_array_equal(
        table["label"], golden[f"out_uniform_labels_as_original_with_bug_seed{seed}"]
    )
    np.testing.assert_array_equal(marked(table), golden[f"out_uniform_marked_ids_seed{seed}"])


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_in_one_class_reproduces_the_published_labels(golden, seed):
    table = inject(golden, "class_dependent", seed)
    np.testing.assert_array_equal(table["label"], golden[f"out_cb_1classes_labels_seed{seed}"])
    np.testing.assert_array_equal(marked(table), golden[f"out_cb_1classes_marked_ids_seed{seed}"])


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_in_every_class_reproduces_the_published_labels_by_reseeding(golden, seed):
    compat = {"class_noise_reseeds_each_draw": True}
    table = inject(golden, "class_dependent", seed, classes_to_contaminate="all", compat=compat)
    np.testing.assert_array_equal(table["label"], golden[f"out_cb_10classes_labels_seed{seed}"])
    np.testing.assert_array_equal(marked(table), golden[f"out_cb_10classes_marked_ids_seed{seed}"])


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_in_every_class_has_the_published_classes_and_counts_without_reseeding(golden, seed):
    table = inject(golden, "class_dependent", seed, classes_to_contaminate="all")
    published = golden[f"out_cb_10classes_marked_ids_seed{seed}"]
    flips = np.stack([golden["in_y"], golden[f"out_cb_10classes_labels_seed{seed}"]])[:, published]
    own = table.loc[marked(table), ["true_label", "label"]].to_numpy().T
    assert sorted(map(tuple, own.T)) == sorted(map(tuple, flips.T))
    assert set(marked(table)) != set(published)

"""Base datasets: their content, their cards, and unusable ones."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.fetch import check_against_card
from glitchtrace.data.pool import Pool

SHIPPED = ("breast_cancer", "digits", "iris", "photo_patches", "wine")
KEYS = {
    "summary",
    "modality",
    "classes",
    "rows",
    "shape",
    "licence",
    "citation",
    "source",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_dataset_is_what_its_card_says(name):
    card, pool = registry.card("dataset", name), registry.load("dataset", name).load(None)
    pool.check(name)
    assert len(pool.class_names) == card["classes"]
    assert pool.parts == {part: (0, rows) for part, rows in card["rows"].items()}
    assert len(pool.features) == pool.parts["all"][1]
    assert pool.labels.dtype == np.int64
    if card["modality"] == "image":
        assert pool.features.dtype == np.uint8
        assert pool.features.shape[1:] == tuple(card["shape"])
        assert pool.columns is None
    else:
        assert pool.features.dtype == np.float32
        assert len(pool.columns) == pool.features.shape[1]
    assert pool.checksums == registry.load("dataset", name).load(None).checksums


def test_all_cards_have_the_same_keys_and_legal_foreign_datasets():
    for name in registry.names("dataset"):
        card = registry.card("dataset", name)
        assert (
            set(card)
            - {"foreign", "foreign_only", "convolution_size", "memory_mib", "files"}
            - {
                "own",
                "settings",
            }
            == KEYS
        ), name
        assert card["modality"] in ("image", "table", "sparse")
        assert bool(card["shape"]) == (card["modality"] != "sparse" and "own" not in card)
        if "foreign" in card:
            assert registry.card("dataset", card["foreign"])["modality"] == card["modality"]
            assert card["foreign"] != name


def test_pixels_of_digits_are_the_ink_in_255ths():
    from sklearn.datasets import load_digits

    ink = load_digits().images
    pixels = registry.load("dataset", "digits").load(None).features
    assert pixels[ink == 16].min() == 255
    assert pixels[ink == 0].max() == 0
    assert pixels[ink == 1].min() == pixels[ink == 1].max() == 16
    assert np.abs(pixels / 255 - ink / 16).max() <= 0.5 / 255


def test_patches_tile_the_photographs():
    from sklearn.datasets import load_sample_images

    pool = registry.load("dataset", "photo_patches").load(None)
    china, flower = load_sample_images().images
    assert list(pool.class_names) == ["china", "flower"]
    np.testing.assert_array_equal(pool.features[0], china[:16, :16])
    np.testing.assert_array_equal(pool.features[40 + 2], china[16:32, 32:48])
    np.testing.assert_array_equal(pool.features[-1], flower[400:416, 624:640])


GOOD = Pool(
    features=np.zeros((6, 2), dtype=np.float32),
    labels=np.array([0, 0, 1, 1, 2, 2]),
    class_names=("a", "b", "c"),
    parts={"all": (0, 6)},
    columns=("x", "y"),
)


def features(value: float) -> np.ndarray:
    array = GOOD.features.copy()
    array[4, 1] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": features(np.nan)}, "features of row 4 are NaN or infinite"),
        ({"features": features(-np.inf)}, "features of row 4 are NaN or infinite"),
        ({"features": np.full((6, 2), "red")}, "features are not numeric"),
        ({"labels": np.array([0, 0, 1, np.nan, 2, 2])}, "labels of row 3 are NaN"),
        ({"labels": np.array([0.0, 0, 1, 1, 2, 2])}, r"labels are not integers \(float64\)"),
        ({"labels": np.array(list("aabbcc"))}, "labels are not numeric"),
        ({"labels": np.array([0, 0, 1, 1, 2, 3])}, "labels run from 0 to 3, outside 0 … 2"),
        ({"labels": np.array([0, 0, 1, 1, 2, -1])}, "labels run from -1 to 2, outside 0 … 2"),
        ({"labels": np.array([0, 0, 1, 1, 1, 2])}, r"class 'c' has 1 sample\(s\)"),
        ({"labels": np.array([0, 0, 0, 2, 2, 2])}, r"class 'b' has 0 sample\(s\)"),
        ({"labels": np.array([0, 0, 1])}, r"6 rows of features but labels of shape \(3,\)"),
        ({"labels": np.zeros(6, dtype=int), "class_names": ("a",)}, "1 class; at least 2"),
    ],
)
def test_unusable_data_are_one_line_that_names_the_dataset(changes, message):
    GOOD.check("mine")
    with pytest.raises(GlitchtraceError, match=f"^dataset mine: {message}") as caught:
        dataclasses.replace(GOOD, **changes).check("mine")
    assert "\n" not in str(caught.value)


def test_a_pool_that_is_not_what_its_card_says_is_refused():
    pool = registry.load("dataset", "iris").load(None)
    check_against_card(pool, "iris")
    fewer = dataclasses.replace(
        pool, features=pool.features[:149], labels=pool.labels[:149], parts={"all": (0, 149)}
    )
    with pytest.raises(GlitchtraceError, match=r"iris: its card says rows \{'all': 150\}, its data have"):
        check_against_card(fewer, "iris")
    with pytest.raises(GlitchtraceError, match=r"wine: its card says rows"):
        check_against_card(pool, "wine")


def test_nan_in_a_sparse_pool_names_the_row():
    matrix = csr_matrix(np.array([[0, 0], [1, 0], [0, 0], [2, np.nan]], dtype=np.float32))
    pool = Pool(matrix, np.array([0, 1, 0, 1]), ("a", "b"), {"all": (0, 4)})
    with pytest.raises(GlitchtraceError, match="features of row 3 are NaN"):
        pool.check("sparse")

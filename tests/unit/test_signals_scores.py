"""Signals: their invariants, and what each one means on small tables."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from glitchtrace.core import registry
from glitchtrace.detectors import influence_signals
from glitchtrace.detectors.influence_signals import score
from glitchtrace.detectors.ranks import ascending_ranks
from glitchtrace.influence.profile import ClassProfile, Profiles, profiles_from_matrices

SEEDS = st.integers(0, 2**32 - 1)
modest = settings(deadline=None, derandomize=True, max_examples=25)
NAMES = tuple(sorted(influence_signals.CARDS))
ALL = [
    "SI",
    "MI",
    "negative_MI",
    "AAI",
    "MAI",
    "MPI",
    "GD_class",
    "NIL",
    "NIL_opt",
    "SLIP",
    "SLIN",
    "CNCI",
    "PCID",
    "inverse_MPI",
    "CFRank",
    "cosine_MI",
]


def matrices(seed: int, samples: int = 18, validation: int = 12) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (samples, validation)
    return {
        "influence": rng.normal(size=shape),
        "self_influence": rng.uniform(0, 2, samples),
        "labels": rng.permutation(np.arange(samples) % 4),
        "validation_labels": rng.integers(0, 4, validation),
        "counterfactual_negative": rng.normal(size=shape),
        "counterfactual_positive": rng.normal(size=shape),
    }


def profiles(seed: int) -> Profiles:
    return profiles_from_matrices(**matrices(seed))


def test_registered_names() -> None:
    assert sorted(ALL) == list(NAMES)
    labels = {name: registry.card("detector", name)["label"] for name in NAMES}
    assert {name: label for name, label in labels.items() if name != label} == {
        "negative_MI": "-MI",
        "GD_class": "GD-class",
        "SLIP": "#SLIP",
        "SLIN": "#SLIN",
        "inverse_MPI": "1/MPI",
        "cosine_MI": "-MI/√SI",
    }
    assert {registry.card("detector", name)["finds"] for name in NAMES} == {"label", "anomaly", "both"}


@modest
@given(SEEDS, st.floats(1e-3, 1e3))
def test_a_positive_factor_leaves_every_ranking(seed: int, factor: float) -> None:
    given_matrices = matrices(seed)
    scaled = {
        name: array * factor if "label" not in name else array for name, array in given_matrices.items()
    }
    plain, larger = profiles_from_matrices(**given_matrices), profiles_from_matrices(**scaled)
    for name in NAMES:
        ranks = ascending_ranks(np.round(score(name, plain), 9))
        # The scaled score in the unit of the plain one, so that both are rounded alike.
        power = {"PCID": -2, "inverse_MPI": -1, "SLIP": 0, "SLIN": 0, "CFRank": 0, "cosine_MI": 0.5}.get(
            name, 1
        )
        scaled_ranks = ascending_ranks(np.round(score(name, larger) / factor**power, 9))
        np.testing.assert_array_equal(ranks, scaled_ranks, err_msg=name)


@modest
@given(SEEDS, st.permutations([-7, 0, 3, 40]))
def test_renamed_classes_leave_the_scores(seed: int, names: list[int]) -> None:
    """Any integers as labels, in any order; y⁻ and y⁺ are renamed along."""
    given_matrices = matrices(seed)
    renamed = {
        key: np.array(names)[array] if "labels" in key else array for key, array in given_matrices.items()
    }
    plain, other = profiles_from_matrices(**given_matrices), profiles_from_matrices(**renamed)
    for name in NAMES:
        np.testing.assert_allclose(score(name, other), score(name, plain), rtol=1e-10, err_msg=name)
    # Distinct sums: no ties for the order of classes to decide, but where classes lack validation samples.
    assume((plain.validation_counts > 0).all() and (np.sort(plain.cumulative.negative)[:, :1] < 0).all())
    assume((np.sort(plain.cumulative.positive)[:, -2:] > 0).all())
    np.testing.assert_array_equal(other.negative_label, np.array(names)[plain.negative_label])
    np.testing.assert_array_equal(other.positive_label, np.array(names)[plain.positive_label])


@modest
@given(SEEDS)
def test_identities(seed: int) -> None:
    found = profiles(seed)
    scores = {name: score(name, found) for name in NAMES}
    np.testing.assert_allclose(scores["AAI"] * 12, scores["MAI"], rtol=1e-12)
    np.testing.assert_allclose(scores["MAI"], 2 * scores["MPI"] - scores["MI"], rtol=1e-12)
    np.testing.assert_array_equal(scores["negative_MI"], -scores["MI"])
    np.testing.assert_allclose(scores["inverse_MPI"] * scores["MPI"], 1, rtol=1e-12)
    assert (scores["NIL_opt"] >= scores["NIL"]).all()
    assert (scores["NIL_opt"] >= scores["GD_class"]).all()
    assert (scores["CNCI"] <= 0).all()
    assert (np.unique(scores["CFRank"], return_counts=True)[1] <= 2).all()
    np.testing.assert_array_equal(
        scores["CFRank"],
        np.maximum(ascending_ranks(scores["CNCI"]), ascending_ranks(scores["PCID"])),
    )


@modest
@given(SEEDS)
def test_scores_are_float64_without_nan(seed: int) -> None:
    sparse = matrices(seed)
    rng = np.random.default_rng(seed)
    for name in ("influence", "counterfactual_negative", "counterfactual_positive"):
        sparse[name] = (sparse[name] * (rng.random((18, 1)) < 0.5) * (rng.random((18, 12)) < 0.5)).astype(
            np.float32
        )
    found = profiles_from_matrices(**sparse)
    for name in NAMES:
        scores = score(name, found)
        assert scores.shape == (18,)
        assert scores.dtype == np.float64
        assert not np.isnan(scores).any()


@modest
@given(SEEDS)
def test_class_without_validation_samples(seed: int) -> None:
    given_matrices = matrices(seed)
    validation = given_matrices["validation_labels"]
    validation[validation == 2] = 3
    found = profiles_from_matrices(**given_matrices)
    own = given_matrices["labels"] == 2
    for name in ("NIL", "SLIP", "SLIN", "CNCI"):
        assert (score(name, found)[own] == 0).all()
    # The empty class contributes 0, so the minimum over classes is at most 0.
    assert (score("GD_class", found) >= 0).all()
    assert (found.negative_label != 2).all() or (
        score("NIL_opt", found)[found.negative_label == 2] == 0
    ).all()


def test_validation_class_without_training_samples() -> None:
    """It counts in sums over the validation set, never as a class."""
    influence = np.array([[1.0, -8.0, -1.0], [2.0, 4.0, -3.0]])
    found = profiles_from_matrices(
        influence=influence,
        self_influence=np.ones(2),
        labels=np.array([0, 2]),
        validation_labels=np.array([0, 1, 2]),
        counterfactual_negative=influence,
        counterfactual_positive=np.zeros((2, 3)),
    )
    assert score("MI", found).tolist() == [-8, 3]
    assert score("MAI", found).tolist() == [10, 9]
    assert score("GD_class", found).tolist() == [1, 3]
    assert score("NIL_opt", found).tolist() == [1, 3]
    assert score("PCID", found).tolist() == [1.0, 1 / (6 * 2)]


def test_orientation_of_marginal_influence() -> None:
    found = profiles(3)
    positive, negative = score("MI", found), score("MI", found, {"mi_orientation": "negative"})
    np.testing.assert_array_equal(positive, -negative)
    np.testing.assert_array_equal(score("negative_MI", found, {"mi_orientation": "negative"}), positive)
    assert np.abs(positive).min() > 0


def test_a_zero_denominator_is_most_suspicious() -> None:
    """No positive influence, an unchanged one, or both: +inf, and a sum of positive influence of 0
    likewise.
    """
    influence = np.array([[-1.0, -2.0], [1.0, 0.0], [0.0, 0.0], [1.0, 3.0]])
    changed = np.array([[5.0, 0.0], [1.0, 0.0], [0.0, 0.0], [2.0, 1.0]])
    found = profiles_from_matrices(
        influence=influence,
        self_influence=np.zeros(4),
        labels=np.array([0, 1, 0, 1]),
        validation_labels=np.array([0, 1]),
        counterfactual_negative=influence,
        counterfactual_positive=changed,
    )
    assert score("PCID", found).tolist() == [np.inf, np.inf, np.inf, 1 / 8]
    assert score("inverse_MPI", found).tolist() == [np.inf, 1, np.inf, 1 / 4]


def test_constant_scores_keep_the_order_of_the_samples() -> None:
    flat = {
        name: np.ones_like(array) if "label" not in name else array for name, array in matrices(0).items()
    }
    flat["labels"], flat["validation_labels"] = np.arange(18) % 2, np.arange(12) % 2
    found = profiles_from_matrices(**flat)
    for name in NAMES:
        np.testing.assert_array_equal(ascending_ranks(score(name, found)), np.arange(18), err_msg=name)


def test_epochs_are_scored_like_the_whole() -> None:
    first, second = profiles(1), profiles(2)
    found = replace(
        first,
        per_epoch={3: first.cumulative, 5: second.cumulative},
        self_influence_per_epoch=np.stack([first.self_influence, second.self_influence]),
    )
    for name in ("SI", "MAI", "GD_class"):
        expected = score(
            name, replace(first, cumulative=second.cumulative, self_influence=second.self_influence)
        )
        np.testing.assert_array_equal(score(name, found.at_epoch(5)), expected)
        assert (expected != score(name, found)).any()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SI", 7.0),
        ("MI", 5.0),
        ("negative_MI", -5.0),
        ("MAI", 15.0),
        ("AAI", 2.5),
        ("MPI", 10.0),
        ("inverse_MPI", 0.1),
        ("GD_class", 1.0),
        ("NIL", 2.0),
        ("NIL_opt", 3.0),
        ("SLIP", 4.0),
        ("SLIN", 1.0),
        ("CNCI", -0.5),
        ("cosine_MI", -5 / 7**0.5),
        ("PCID", 1 / (10 * 7.5)),
    ],
)
def test_every_signal_on_one_sample(name: str, expected: float) -> None:
    def table(positive: list[float], negative: list[float], more: list[int], less: list[int]) -> ClassProfile:
        arrays = [np.array([row, row]) for row in (positive, negative, more, less)]
        return ClassProfile(*arrays)

    found = Profiles(
        classes=np.array([4, 9]),
        labels=np.array([4, 9]),
        validation_counts=np.array([4, 2]),
        self_influence=np.array([7.0, 7.0]),
        cumulative=table([8.0, 2.0], [-2.0, -3.0], [4, 2], [1, 3]),
        per_epoch={},
        self_influence_per_epoch=np.empty((0, 2)),
        negative_label=np.array([9, 9]),
        counterfactual_negative=table([1.0, 1.0], [-0.5, -4.0], [1, 1], [1, 1]),
        positive_label=np.array([9, 9]),
        counterfactual_positive=table([0.5, 1.0], [-1.0, -1.0], [1, 1], [1, 1]),
    )
    np.testing.assert_allclose(score(name, found)[0], expected, rtol=1e-14)

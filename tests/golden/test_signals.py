"""Signals against the golden values of the published code, float64 at rtol 1e-10."""

from pathlib import Path

import numpy as np
import pytest

from glitchtrace.detectors.influence_signals import score
from glitchtrace.detectors.ranks import ascending_ranks
from glitchtrace.influence.profile import Profiles, profiles_from_matrices

FOLDER = Path(__file__).parent / "glitch-detection"
CASES = (
    "sig_basic_k3",
    "sig_k10",
    "sig_absent_val_class",
    "sig_ties",
    "sig_one_sided_rows",
    "sig_noncontiguous_labels",
)
NAMES = ("MI", "MAI", "AAI", "MPI", "GD_class", "NIL", "NIL_opt", "SLIP", "SLIN", "CNCI")
# Cases without exact ties in CNCI and PCID, where the published order of ranks is defined.
UNTIED = ("sig_basic_k3", "sig_noncontiguous_labels")
# The published PCID takes positions of classes for labels here, so that only its repaired form has a meaning.
POSITIONS_FOR_LABELS = "sig_noncontiguous_labels"


def golden(case: str) -> tuple[dict[str, np.ndarray], Profiles]:
    with np.load(FOLDER / f"{case}.npz") as archive:
        arrays = dict(archive)
    profiles = profiles_from_matrices(
        influence=arrays["in_influence"],
        self_influence=arrays["in_self_influence"],
        labels=arrays["in_y_train"],
        validation_labels=arrays["in_y_val"],
        counterfactual_negative=arrays["in_influence_neg_cf"],
        counterfactual_positive=arrays["in_influence_pos_cf"],
    )
    return arrays, profiles


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_signal(case: str, name: str) -> None:
    arrays, profiles = golden(case)
    assert_same(score(name, profiles), arrays[f"out_{name}"])


@pytest.mark.parametrize("case", CASES)
def test_self_influence(case: str) -> None:
    arrays, profiles = golden(case)
    assert_same(score("SI", profiles), arrays["in_self_influence"])


@pytest.mark.parametrize("case", CASES)
def test_class_tables(case: str) -> None:
    arrays, profiles = golden(case)
    assert_same(profiles.cumulative.positive.T, arrays["out_PIL_by_class"])
    assert_same(profiles.counterfactual_positive.positive.T, arrays["out_fixed_PIL_cf_by_class"])


@pytest.mark.parametrize("case", CASES)
def test_pcid(case: str) -> None:
    arrays, profiles = golden(case)
    assert_same(score("PCID", profiles), arrays["out_fixed_PCID"])
    if "out_PCID" in arrays and case != POSITIONS_FOR_LABELS:
        assert_same(score("PCID", profiles), arrays["out_PCID"])


@pytest.mark.parametrize("case", UNTIED)
def test_ranks(case: str) -> None:
    arrays, profiles = golden(case)
    np.testing.assert_array_equal(score("CFRank", profiles), arrays["out_fixed_CFRank"])
    np.testing.assert_array_equal(ascending_ranks(score("CNCI", profiles)), arrays["out_rank_CNCI"])
    if case != POSITIONS_FOR_LABELS:
        np.testing.assert_array_equal(ascending_ranks(score("PCID", profiles)), arrays["out_rank_PCID"])


@pytest.mark.parametrize("case", ["sig_k10", "sig_ties", "sig_one_sided_rows"])
def test_ranks_of_untied_samples(case: str) -> None:
    arrays, profiles = golden(case)
    for name in ("CNCI", "PCID"):
        scores = score(name, profiles)
        untied = np.array([(scores == value).sum() == 1 for value in scores])
        assert untied.any()
        np.testing.assert_array_equal(ascending_ranks(scores)[untied], arrays[f"out_rank_{name}"][untied])


@pytest.mark.parametrize("case", CASES)
def test_positions_map_back_to_labels(case: str) -> None:
    """The published code returns positions in the sorted list of classes, the first class on ties."""
    arrays, profiles = golden(case)
    np.testing.assert_array_equal(profiles.negative_label, profiles.classes[arrays["out_NIL_opt_row"]])
    net = profiles.cumulative.positive + profiles.cumulative.negative
    if case not in ("sig_ties", "sig_one_sided_rows"):
        np.testing.assert_array_equal(net.argmin(axis=1), arrays["out_GD_class_row"])


@pytest.mark.parametrize("case", CASES)
def test_second_best_class_of_untied_samples(case: str) -> None:
    arrays, profiles = golden(case)
    ordered = np.sort(profiles.cumulative.positive, axis=1)
    untied = ordered[:, -2] > ordered[:, -3]
    untied &= ordered[:, -1] > ordered[:, -2]
    assert untied.sum() > 10
    found = np.searchsorted(profiles.classes, profiles.positive_label)
    np.testing.assert_array_equal(found[untied], arrays["out_second_best_positive_row"][untied])

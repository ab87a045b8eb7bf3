"""RDIA against values of the published program, and the multi-class form against the formula."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from glitchtrace.papers.rdia.influence import measure
from glitchtrace.papers.rdia.methods import keep_probabilities
from glitchtrace.papers.rdia.regression import Regression
from glitchtrace.papers.rdia.relabelling import relabelled_loss, relabelled_residuals, relabelled_targets
from glitchtrace.papers.rdia.stage import accuracy, area_under_curve, log_loss

FOLDER = Path(__file__).parent / "rdia"
BINARY = json.loads((FOLDER / "binary_cases.json").read_text(encoding="utf-8"))
MULTI = {
    name: case
    for name, case in json.loads(
        (FOLDER / "ls_noise_multiclass_cases.json").read_text(encoding="utf-8")
    ).items()
    if name.startswith("multi_")
}
ALPHAS = [(name, alpha) for name, case in BINARY.items() for alpha in case["alphas"]]
MULTI_ALPHAS = [(name, alpha) for name, case in MULTI.items() for alpha in case["alphas"]]


def arrays(name):
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def features(golden, part):
    """The features of one part as the program saw them: dense float, pixels/255 in float32, or csr."""
    if part not in golden:
        stored = (golden[f"{part}_{key}"] for key in ("data", "indices", "indptr"))
        return csr_matrix(tuple(stored), shape=golden[f"{part}_shape"])
    found = golden[part]
    if found.dtype == np.uint8:
        found = found.astype(np.float32) / np.float32(255)
    return found.astype(np.float64)


class Case:
    """One binary case with its first model."""

    def __init__(self, name):
        self.golden, self.case = arrays(name), BINARY[name]
        self.X, self.validation, self.test = (
            features(self.golden, f"x_{part}") for part in ("train", "va", "te")
        )
        self.y, self.y_validation, self.y_test = (
            self.golden[key].astype(np.int64) for key in ("y_train_noisy", "y_va", "y_te")
        )
        self.regression = Regression(2, self.case["C"])
        self.theta = self.regression.fit(self.X, self.regression.one_hot(self.y))

    def influence(self, solver="cg", **settings):
        parts = (self.X, self.y, self.validation, self.y_validation)
        return measure(self.regression, self.theta, *parts, solver=solver, settings=settings)

    def check(self, theta, expected):
        probabilities = self.regression.probabilities(theta, self.test)
        assert log_loss(probabilities, self.y_test) == pytest.approx(expected["te_logloss"], abs=1e-4)
        assert accuracy(probabilities, self.y_test) == expected["te_acc"]
        assert area_under_curve(probabilities, self.y_test) == pytest.approx(expected["te_auc"], abs=1e-12)


CASES = {name: Case(name) for name in BINARY}


@pytest.mark.parametrize("name", BINARY)
def test_the_first_model(name):
    case = CASES[name]
    np.testing.assert_allclose(case.theta[:, 0], case.golden["theta"], rtol=0, atol=1e-5)
    case.check(case.theta, case.case["full"])


@pytest.mark.parametrize("solver", ["direct", "cg"])
@pytest.mark.parametrize("name", BINARY)
def test_influence_of_deletion_and_relabelling(name, solver):
    case = CASES[name]
    found = case.influence(solver)
    largest = np.abs(case.golden["phi_exact"]).max()
    np.testing.assert_allclose(found.deletion, case.golden["phi_exact"], rtol=0, atol=1e-6 * largest)
    np.testing.assert_allclose(
        found.relabelling, case.golden["phi_relabel_exact"], rtol=1e-5, atol=1e-6 * largest
    )
    inverse = case.golden["ihvp_exact"]
    np.testing.assert_allclose(found.solution.vector, inverse, rtol=0, atol=1e-6 * np.abs(inverse).max())


@pytest.mark.parametrize("name", BINARY)
def test_keep_probabilities_of_uids(name):
    case = CASES[name]
    np.testing.assert_allclose(
        keep_probabilities(case.golden["phi_cg"], 10), case.golden["uids_prob"], rtol=1e-9
    )


@pytest.mark.parametrize(("name", "alpha"), ALPHAS)
def test_the_harmful_set_and_both_refits(name, alpha):
    case, expected = CASES[name], BINARY[name]["alphas"][alpha]
    harmful = case.influence().harmful(float(alpha))
    difference = np.setxor1d(np.flatnonzero(harmful), case.golden[f"chosen_{alpha}"])
    assert set(difference) <= set(expected["ambiguous"])
    targets = case.regression.one_hot(case.y)
    relabelled = case.regression.fit_moving(case.X, targets, case.y, harmful, case.theta)
    case.check(relabelled, expected)
    np.testing.assert_allclose(relabelled[:, 0], case.golden[f"theta_rdia_{alpha}"], rtol=0, atol=1e-4)
    if alpha in case.case["dropout"]:
        case.check(case.regression.fit(case.X, targets * ~harmful[:, None]), case.case["dropout"][alpha])


@pytest.mark.parametrize("name", [name for name in BINARY if "probe_idx" in arrays(name)])
def test_exact_refits_follow_the_prediction(name):
    """Change of the summed validation loss when one sample is deleted, or its label flipped."""
    case = CASES[name]
    found, probes = case.influence(), case.golden["probe_idx"]
    targets = case.regression.one_hot(case.y)

    def validation_loss(theta):
        probabilities = case.regression.probabilities(theta, case.validation)
        return len(case.y_validation) * log_loss(probabilities, case.y_validation)

    before = validation_loss(case.theta)
    deleted, flipped = [], []
    for probe in probes:
        without, other = targets.copy(), targets.copy()
        without[probe] = 0
        other[probe] = 1 - other[probe]
        deleted.append(validation_loss(case.regression.fit(case.X, without, case.theta)) - before)
        flipped.append(validation_loss(case.regression.fit(case.X, other, case.theta)) - before)
    np.testing.assert_allclose(deleted, case.golden["loo_delta_val_loss_sum"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(flipped, case.golden["relabel_delta_val_loss_sum"], rtol=0, atol=1e-5)
    C = case.case["C"]
    assert np.corrcoef(deleted, -found.deletion[probes] / C)[0, 1] > 0.99
    assert np.corrcoef(flipped, -found.relabelling[probes] / C)[0, 1] > 0.99


class Multi:
    """One multi-class case with its first model and influence."""

    def __init__(self, name):
        self.golden, self.case = arrays(name), MULTI[name]
        self.X, self.y = self.golden["x_train"], self.golden["y_noisy"]
        self.validation, self.y_validation = self.golden["x_va"], self.golden["y_va"]
        self.regression = Regression(self.case["K"], self.case["C"])
        self.theta = self.regression.fit(self.X, self.regression.one_hot(self.y))
        parts = (self.X, self.y, self.validation, self.y_validation)
        self.influence = measure(self.regression, self.theta, *parts, solver="direct")

    def validation_loss(self, theta):
        probabilities = self.regression.probabilities(theta, self.validation)
        return len(self.y_validation) * log_loss(probabilities, self.y_validation)


MULTI_CASES = {name: Multi(name) for name in MULTI}


@pytest.mark.parametrize("name", MULTI)
def test_the_multi_class_model_and_its_influence(name):
    case = MULTI_CASES[name]
    np.testing.assert_allclose(case.theta, case.golden["theta"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(case.influence.probabilities, case.golden["probs"], rtol=0, atol=1e-6)
    largest = np.abs(case.golden["phi"]).max()
    np.testing.assert_allclose(case.influence.deletion, case.golden["phi"], rtol=0, atol=1e-6 * largest)
    np.testing.assert_allclose(
        case.influence.relabelling, case.golden["phi_relabel"], rtol=1e-5, atol=1e-6 * largest
    )


@pytest.mark.parametrize("name", MULTI)
def test_the_relabelling_function_at_the_first_model(name):
    case, golden = MULTI_CASES[name], MULTI_CASES[name].golden
    probabilities = golden["probs"]
    np.testing.assert_allclose(
        relabelled_targets(probabilities, case.y), golden["relabel_targets"], atol=1e-12
    )
    np.testing.assert_allclose(relabelled_loss(probabilities, case.y), golden["relabel_loss"], rtol=1e-9)
    residuals = relabelled_residuals(probabilities, case.y)[:40]
    gradients = case.X[:40, :, None] * residuals[:, None, :]
    np.testing.assert_allclose(gradients, golden["relabel_grad_first40"], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("name", "alpha"), MULTI_ALPHAS)
def test_relabelling_beats_deletion_beats_nothing_and_frozen_targets_lose(name, alpha):
    case, expected = MULTI_CASES[name], MULTI[name]["alphas"][alpha]
    harmful = case.influence.harmful(float(alpha))
    np.testing.assert_array_equal(np.flatnonzero(harmful), case.golden[f"chosen_{alpha}"])
    regression, targets = case.regression, case.regression.one_hot(case.y)
    frozen = np.where(harmful[:, None], relabelled_targets(case.influence.probabilities, case.y), targets)
    losses = [
        case.validation_loss(theta)
        for theta in (
            regression.fit_moving(case.X, targets, case.y, harmful, case.theta),
            regression.fit(case.X, targets * ~harmful[:, None]),
            regression.fit(case.X, frozen),
            case.theta,
        )
    ]
    names = ("relabel", "discard", "relabel_frozen_targets", "erm")
    assert losses == pytest.approx([expected[key][0] for key in names], rel=1e-4)
    assert losses == sorted(losses)


@pytest.mark.parametrize("name", ["relabel_fn_k2", "relabel_fn_k10"])
def test_the_relabelling_function_point_by_point(name):
    golden = arrays(name)
    probabilities, labels = golden["probs"], golden["labels"]
    np.testing.assert_allclose(
        relabelled_targets(probabilities, labels), golden["relabel_targets_clipped"], rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(
        relabelled_loss(probabilities, labels), golden["relabel_loss_clipped"], rtol=1e-9, atol=1e-10
    )

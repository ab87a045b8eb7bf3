"""RDIA: the model, the relabelling function, the guarantees, the methods, and the stages from files to files."""

import inspect
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from scipy.sparse import csr_matrix, random_array
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_json, write_npy, write_parquet
from glitchtrace.core.seeding import generator
from glitchtrace.data.sparse import write_sparse
from glitchtrace.glitches.kinds import Kind
from glitchtrace.influence.closed_form import influence_matrix
from glitchtrace.influence.solvers import conjugate_gradients, direct, lissa
from glitchtrace.papers.rdia import methods, regression
from glitchtrace.papers.rdia.cells import SOLVER_SETTINGS, cells
from glitchtrace.papers.rdia.data import load_cell
from glitchtrace.papers.rdia.influence import measure
from glitchtrace.papers.rdia.proposal import Problem
from glitchtrace.papers.rdia.regression import Regression
from glitchtrace.papers.rdia.relabelling import relabelled_loss, relabelled_residuals, relabelled_targets
from glitchtrace.papers.rdia.stage import (
    accuracy,
    area_under_curve,
    log_loss,
    measure_rdia,
    precision_recall,
    relabel_rdia,
    retrain,
)
from glitchtrace.repair.actions import Action

PROBABILITIES = st.integers(2, 6).flatmap(
    lambda K: st.lists(st.floats(-12, 12), min_size=K, max_size=K).map(lambda z: np.exp(z) / np.exp(z).sum())
)


def problem_of(classes=2, samples=120, columns=4, noise=0.3, seed=0, C=0.1, sparse=False) -> Problem:
    """A fitted problem whose classes are told apart by a linear rule, with wrong labels."""
    rng = np.random.default_rng(seed)
    teacher = rng.standard_normal((columns, classes)) * 2
    X = rng.standard_normal((2 * samples, columns))
    labels = (X @ teacher + 0.3 * rng.standard_normal((2 * samples, classes))).argmax(axis=1)
    observed = labels[:samples].copy()
    wrong = rng.choice(samples, int(noise * samples), replace=False)
    observed[wrong] = (observed[wrong] + rng.integers(1, classes, len(wrong))) % classes
    X, validation = (
        (csr_matrix(X[:samples]), csr_matrix(X[samples:])) if sparse else (X[:samples], X[samples:])
    )
    regression = Regression(classes, C)
    parameters = regression.fit(X, regression.one_hot(observed))
    found = measure(regression, parameters, X, observed, validation, labels[samples:], solver="direct")
    return Problem(
        regression=regression,
        X=X,
        labels=observed,
        validation=validation,
        validation_labels=labels[samples:],
        parameters=parameters,
        probabilities=found.probabilities,
        influence=found.deletion,
        mislabelled=len(wrong),
    )


def validation_loss(problem: Problem, parameters) -> float:
    probabilities = problem.regression.probabilities(parameters, problem.validation)
    return len(problem.validation_labels) * log_loss(probabilities, problem.validation_labels)


def propose(name: str, problem: Problem, alpha: float = 0.0, seed: int = 0, **changes):
    fragments = registry.settings("relabelling", name)
    complete = {**{key: fragment["default"] for key, fragment in fragments.items()}, **changes}
    return registry.load("relabelling", name).propose(problem, alpha, complete, generator(seed, name))


# --- the model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("sparse", [False, True])
def test_gradient_and_hessian_are_those_of_autograd(classes, sparse):
    rng = np.random.default_rng(1)
    X, regression = rng.standard_normal((30, 4)), Regression(classes, C=0.7)
    targets = rng.random((30, classes)) * rng.integers(0, 2, (30, 1))
    parameters = rng.standard_normal((4, regression.columns))

    def objective(flat):
        theta = flat.reshape(parameters.shape)
        logits = torch.tensor(X) @ theta
        if classes == 2:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        loss = -(torch.tensor(targets) * logits.log_softmax(dim=1)).sum()
        return 0.5 * (flat**2).sum() + 0.7 * loss

    flat = torch.tensor(parameters.ravel(), requires_grad=True)
    value = objective(flat)
    (gradient,) = torch.autograd.grad(value, flat)
    exact = torch.autograd.functional.hessian(objective, flat).numpy()
    rows = csr_matrix(X) if sparse else X
    assert regression.objective(parameters, rows, targets) == pytest.approx(value.item(), rel=1e-12)
    np.testing.assert_allclose(regression.gradient(parameters, rows, targets).ravel(), gradient, rtol=1e-10)
    hessian = regression.hessian(parameters, rows, targets.sum(axis=1))
    vector = rng.standard_normal(len(exact))
    np.testing.assert_allclose(hessian.product(vector), exact @ vector, rtol=1e-10)
    np.testing.assert_allclose(hessian.matrix(), exact, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(hessian.diagonal(), np.diag(exact), rtol=1e-10)


def test_sampled_products_are_unbiased():
    problem = problem_of(samples=300)
    hessian = problem.regression.hessian(problem.parameters, problem.X)
    vector, rng = np.ones(hessian.size), np.random.default_rng(0)
    mean = np.mean([hessian.sampled(vector, rng) for _ in range(400)], axis=0)
    np.testing.assert_allclose(mean, hessian.product(vector), rtol=0.05)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_bound_is_above_the_eigenvalues_of_every_sampled_hessian(classes, sparse):
    rng = np.random.default_rng(2)
    X, totals = rng.standard_normal((250, 3)), rng.random(250)
    parameters = rng.standard_normal((3, classes if classes > 2 else 1))
    hessian = Regression(classes, C=0.3).hessian(parameters, csr_matrix(X) if sparse else X, totals)
    for seed in range(30):
        # The same seed draws the same rows for every column.
        columns = [hessian.sampled(unit, np.random.default_rng(seed)) for unit in np.eye(hessian.size)]
        assert np.linalg.eigvalsh(np.stack(columns))[-1] <= hessian.bound()


def test_the_bound_is_reached_by_equal_rows_of_even_odds():
    X = np.tile([2.0, 0.0, 0.0], (10, 1))
    two = Regression(2, C=0.3).hessian(np.zeros((3, 1)), X)
    assert two.bound() == pytest.approx(np.linalg.eigvalsh(two.matrix())[-1]) == 1 + 0.3 * 10 * 4 / 4
    # Of three classes one that is out of the question leaves even odds of the others.
    parameters = np.array([[0.0, 0.0, -50.0], [0.0] * 3, [0.0] * 3])
    three = Regression(3, C=0.3).hessian(parameters, X)
    assert three.bound() == pytest.approx(np.linalg.eigvalsh(three.matrix())[-1]) == 1 + 0.3 * 10 * 4 / 2


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("sparse", [False, True])
def test_lissa_needs_no_settings_and_comes_near_cholesky(classes, sparse):
    problem = problem_of(classes, sparse=sparse)
    arguments = (problem.parameters, problem.X, problem.labels, problem.validation, problem.validation_labels)
    exact, found = (
        measure(problem.regression, *arguments, solver=solver).deletion for solver in ("direct", "lissa")
    )
    assert np.linalg.norm(found - exact) < 0.05 * np.linalg.norm(exact)


@pytest.mark.parametrize("sparse", [False, True])
def test_the_fit_is_that_of_scikit_learn(sparse):
    problem = problem_of(sparse=sparse)
    oracle = LogisticRegression(C=0.1, fit_intercept=False, tol=1e-12, solver="newton-cg", max_iter=500)
    oracle.fit(problem.X, problem.labels)
    np.testing.assert_allclose(problem.parameters[:, 0], oracle.coef_[0], rtol=0, atol=1e-6)


def test_a_large_fit_by_conjugate_gradients_ends_where_the_gradient_is_small():
    X = csr_matrix(random_array((200, 1500), density=0.02, rng=np.random.default_rng(0), format="csr"))
    labels = np.random.default_rng(1).integers(0, 2, 200)
    regression = Regression(2, C=5.0)
    targets = regression.one_hot(labels)
    fitted = regression.fit(X, targets)
    assert np.linalg.norm(regression.gradient(fitted, X, targets)) <= 1e-6


def test_weights_count_as_copies():
    problem = problem_of()
    targets = problem.regression.one_hot(problem.labels)
    twice = np.vstack([problem.X, problem.X[:50]]), np.vstack([targets, targets[:50]])
    targets[:50] *= 2
    weighted = problem.regression.fit(problem.X, targets)
    np.testing.assert_allclose(weighted, problem.regression.fit(*twice), atol=1e-6)


def test_nothing_to_fit_gives_the_minimum_of_the_regulariser():
    problem = problem_of()
    fitted = problem.regression.fit(problem.X, np.zeros((len(problem), 2)))
    assert not fitted.any()


def test_what_the_model_refuses():
    with pytest.raises(GlitchtraceError, match="1 class; a regression needs at least 2"):
        Regression(1, 0.1)
    with pytest.raises(GlitchtraceError, match=r"label 2 of sample 1 is outside 0 … 1; renumber"):
        Regression(2, 0.1).one_hot(np.array([0, 2, 1]))
    with pytest.raises(GlitchtraceError, match="label -1 of sample 0 is outside"):
        Regression(3, 0.1).one_hot(np.array([-1]))
    with pytest.raises(GlitchtraceError, match="features hold NaN or infinite values"):
        Regression(2, 0.1).fit(np.array([[np.nan], [1.0]]), np.eye(2))


# --- the relabelling function -------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=80)
@given(probabilities=PROBABILITIES, place=st.integers(0, 5))
def test_the_relabelled_loss_is_the_cross_entropy_of_its_targets(probabilities, place):
    label = np.array([place % len(probabilities)])
    targets = relabelled_targets(probabilities[None], label)
    assert (targets >= 0).all()
    assert targets[0, label[0]] == 0
    cut = np.clip(probabilities, 1e-7, 1 - 1e-7)
    # Both sides cut at 1e-7, the targets on the upper side too.
    expected = -np.log(np.clip(1 - probabilities[label[0]], 1e-7, 1 - 1e-7))
    assert -(targets @ np.log(cut)).item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(observed=st.floats(1e-6, 1 - 1e-6), label=st.integers(0, 1))
def test_with_two_classes_it_is_the_flip(observed, label):
    probabilities = np.array([[observed, 1 - observed]])
    np.testing.assert_allclose(
        relabelled_targets(probabilities, np.array([label]))[0, 1 - label], 1, rtol=1e-9
    )


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_gradient_of_the_relabelled_loss_is_that_of_autograd(classes):
    rng = np.random.default_rng(2)
    logits = torch.tensor(3 * rng.standard_normal((20, classes)), requires_grad=True)
    labels = rng.integers(classes, size=20)
    rows = torch.arange(20)
    observed = logits.softmax(dim=1)[rows, torch.tensor(labels)]
    (gradient,) = torch.autograd.grad(-(1 - observed).log().sum(), logits)
    probabilities = logits.softmax(dim=1).detach().numpy()
    np.testing.assert_allclose(relabelled_residuals(probabilities, labels), gradient, rtol=1e-8, atol=1e-12)
    # ∇ℓ(R(z)) − ∇ℓ(z) = −∇ℓ(z)/(1 − p): what makes one score decide on deletion and relabelling.
    plain = probabilities - np.eye(classes)[labels]
    others = 1 - probabilities[np.arange(20), labels]
    np.testing.assert_allclose(gradient.numpy() - plain, -plain / others[:, None], rtol=1e-8, atol=1e-12)


def test_saturated_samples_have_finite_losses_and_no_gradient():
    probabilities, labels = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]), np.array([0, 0])
    np.testing.assert_allclose(relabelled_loss(probabilities, labels), [-np.log(1e-7), 0])
    assert not relabelled_residuals(probabilities, labels).any()
    assert np.isfinite(relabelled_targets(probabilities, labels)).all()


# --- influence and guarantees -------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 4])
def test_influence_is_minus_the_derivative_of_the_validation_loss_by_the_weight(classes):
    problem = problem_of(classes)
    targets = problem.regression.one_hot(problem.labels)
    for row in (0, 17, 55):
        losses = []
        for weight in (0.99, 1.01):
            changed = targets.copy()
            changed[row] *= weight
            losses.append(
                validation_loss(problem, problem.regression.fit(problem.X, changed, problem.parameters))
            )
        # A weight of C on the loss in J counts as ε = 1 in the published Φ.
        derivative = (losses[1] - losses[0]) / 0.02
        assert problem.influence[row] / problem.regression.C == pytest.approx(derivative, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_relabelling_is_never_worse_than_deletion_to_first_order(classes):
    problem = problem_of(classes, noise=0.4)
    found = measure(
        problem.regression,
        problem.parameters,
        problem.X,
        problem.labels,
        problem.validation,
        problem.validation_labels,
    )
    observed = problem.probabilities[np.arange(len(problem)), problem.labels]
    harmful = found.harmful(0.0)
    assert harmful.any()
    gain = found.relabelling - found.deletion
    np.testing.assert_allclose(gain, found.deletion * observed / (1 - observed), rtol=1e-6, atol=1e-12)
    assert (gain[harmful] >= 0).all()
    odds = observed[harmful] / (1 - observed[harmful])
    assert gain[harmful].sum() >= odds.min() * found.deletion[harmful].sum() >= 0


@pytest.mark.parametrize("classes", [2, 3])
def test_deleting_the_harmful_lowers_the_validation_loss_and_relabelling_lowers_it_more(classes):
    problem = problem_of(classes, noise=0.4)
    before = validation_loss(problem, problem.parameters)
    dropped = validation_loss(problem, retrain(problem, propose("dropout", problem)))
    relabelled = validation_loss(problem, retrain(problem, propose("rdia", problem)))
    assert relabelled < dropped < before


def test_units_of_the_mean_are_those_of_the_sum_over_its_samples():
    problem = problem_of()
    parts = (problem.X, problem.labels, problem.validation, problem.validation_labels)
    code, mean = (
        measure(problem.regression, problem.parameters, *parts, units=units) for units in ("code", "mean")
    )
    np.testing.assert_allclose(
        mean.deletion * len(problem.validation_labels), code.deletion, rtol=1e-6, atol=1e-12
    )
    alpha = 0.002
    np.testing.assert_array_equal(code.harmful(alpha), mean.harmful(alpha / len(problem.validation_labels)))


def test_what_influence_refuses():
    problem = problem_of()
    arguments = (problem.regression, problem.parameters, problem.X, problem.labels)
    with pytest.raises(GlitchtraceError, match=r"validation set is empty.*validation_source: holdout"):
        measure(*arguments, problem.validation[:0], problem.validation_labels[:0])
    with pytest.raises(GlitchtraceError, match="label 2 of sample 0 is outside"):
        measure(*arguments, problem.validation, problem.validation_labels + 2)
    with pytest.raises(GlitchtraceError, match="units: unknown value 'sum'; use code or mean"):
        measure(*arguments, problem.validation, problem.validation_labels, units="sum")
    found = measure(*arguments, problem.validation, problem.validation_labels)
    with pytest.raises(GlitchtraceError, match=r"alpha: -1 is below 0"):
        found.harmful(-1)


def test_a_threshold_is_strict():
    problem = problem_of()
    alpha = float(np.sort(problem.influence)[-5])
    assert (propose("rdia", problem, alpha).actions == Action.RELABEL).sum() == 4


def test_sparse_rows_are_never_made_dense(monkeypatch):
    """A fit, influence and refit of 20,000 columns, where a dense matrix would be refused."""
    rng = np.random.default_rng(3)
    X = csr_matrix(random_array((3000, 20_000), density=0.0025, rng=rng, format="csr"))
    validation = csr_matrix(random_array((500, 20_000), density=0.0025, rng=rng, format="csr"))
    labels = rng.integers(0, 2, 3000)

    def refuse(*_args, **_kwargs):
        raise AssertionError("made dense")

    monkeypatch.setattr(csr_matrix, "toarray", refuse)
    monkeypatch.setattr(csr_matrix, "todense", refuse)
    regression = Regression(2, 1.0)
    targets = regression.one_hot(labels)
    parameters = regression.fit(X, targets)
    found = measure(regression, parameters, X, labels, validation, rng.integers(0, 2, 500))
    assert found.solution.residual <= 1e-8
    regression.fit_moving(X, targets, labels, found.harmful(0.0), parameters)


# --- the methods --------------------------------------------------------------------------------------------------


ALL = registry.names("relabelling")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("sparse", [False, True])
def test_every_method_proposes_what_can_be_fitted(name, sparse):
    problem = problem_of(3, sparse=sparse)
    before = problem.labels.copy()
    proposal = propose(name, problem, alpha=0.001)
    again = propose(name, problem, alpha=0.001)
    np.testing.assert_array_equal(proposal.targets, again.targets)
    np.testing.assert_array_equal(problem.labels, before)
    changed = proposal.labels != problem.labels
    np.testing.assert_array_equal(changed, proposal.actions == Action.RELABEL)
    assert proposal.targets.shape == (len(problem), 3)
    assert np.isfinite(retrain(problem, proposal)).all()


def test_none_harmful_leaves_the_first_model():
    problem = problem_of()
    for name in ("rdia", "dropout", "random_flip"):
        proposal = propose(name, problem, alpha=1e9)
        assert proposal.changes_nothing
        assert retrain(problem, proposal) is problem.parameters


def test_all_harmful_flips_every_label_or_leaves_nothing():
    problem = problem_of()
    problem = Problem(**{**vars(problem), "influence": np.ones(len(problem))})
    flipped = propose("rdia", problem)
    np.testing.assert_array_equal(flipped.labels, 1 - problem.labels)
    np.testing.assert_allclose(retrain(problem, flipped), -problem.parameters, atol=1e-5)
    nothing = propose("dropout", problem)
    assert (nothing.actions == Action.DROP).all()
    assert not retrain(problem, nothing).any()
    np.testing.assert_array_equal(propose("random_flip", problem).labels, 1 - problem.labels)


def test_all_harmful_of_several_classes_takes_the_observed_labels_below_chance(monkeypatch):
    problem = problem_of(3)
    problem = Problem(**{**vars(problem), "influence": np.ones(len(problem))})
    proposal = propose("rdia", problem)
    assert proposal.moving.all()
    fitted = retrain(problem, proposal)
    rows = np.arange(len(problem))
    before, after = (
        problem.regression.probabilities(theta, problem.X)[rows, problem.labels]
        for theta in (problem.parameters, fitted)
    )
    assert after.mean() < 1 / 3 < before.mean()
    assert not retrain(problem, propose("dropout", problem)).any()
    monkeypatch.setattr(regression, "MOVING_LIMIT", 1)
    with pytest.raises(GlitchtraceError, match=r"after 1 steps; scale the features or lower C"):
        retrain(problem, proposal)


def test_rdia_of_several_classes_names_the_most_probable_other_class():
    problem = problem_of(4)
    proposal = propose("rdia", problem)
    rows = np.flatnonzero(proposal.actions == Action.RELABEL)
    others = problem.probabilities.copy()
    others[np.arange(len(problem)), problem.labels] = 0
    np.testing.assert_array_equal(proposal.labels[rows], others[rows].argmax(axis=1))
    np.testing.assert_array_equal(np.flatnonzero(proposal.moving), rows)


def test_a_frozen_target_is_worse_than_a_moving_one():
    problem = problem_of(4, noise=0.4)
    moving, frozen = (
        validation_loss(problem, retrain(problem, propose("rdia", problem, target=target)))
        for target in ("moving", "frozen")
    )
    assert moving < frozen


def test_random_relabelling_changes_as_many_labels_as_rdia():
    problem = problem_of(3)
    count = (propose("rdia", problem, 0.001).actions == Action.RELABEL).sum()
    found = propose("random_flip", problem, 0.001)
    assert (found.actions == Action.RELABEL).sum() == count > 0
    assert not np.array_equal(found.labels, propose("random_flip", problem, 0.001, seed=1).labels)


def test_a_random_subset_keeps_its_share():
    assert (propose("random_subset", problem_of(), ratio=0.29).actions == Action.KEEP).sum() == 34


def test_uids_keeps_the_share_of_every_class_and_prefers_the_useful():
    problem = problem_of(samples=400, noise=0.4)
    kept = propose("uids", problem, ratio=0.6).actions == Action.KEEP
    for label in (0, 1):
        members = problem.labels == label
        assert (kept & members).sum() == int(0.6 * members.sum())
    assert problem.influence[kept].mean() < problem.influence[~kept].mean()


def test_uids_fills_up_where_nothing_can_be_drawn():
    problem = problem_of()
    problem = Problem(**{**vars(problem), "influence": np.where(np.arange(120) < 1, -1e3, 1e3)})
    kept = propose("uids", problem, ratio=0.5, steepness=1e4).actions == Action.KEEP
    assert kept.sum() == sum((problem.labels == label).sum() // 2 for label in (0, 1))


@pytest.mark.parametrize("norm", ["hessian", "gradient"])
def test_optlr_weighs_draws_by_their_inverse_probability(norm):
    problem = problem_of()
    gradients = (problem.probabilities[:, 1] - problem.labels)[:, None] * problem.X
    if norm == "hessian":
        hessian = problem.regression.hessian(problem.parameters, problem.X).matrix()
        gradients = np.linalg.solve(hessian, gradients.T).T
    norms = np.linalg.norm(gradients, axis=1)
    weights = propose("optlr", problem, norm=norm).targets.sum(axis=1)
    draws = weights * 114 * norms / norms.sum()
    np.testing.assert_allclose(draws, np.rint(draws), atol=1e-8)
    assert draws.sum() == pytest.approx(int(0.95 * 120))


def test_cnci_relabels_as_many_as_are_known_to_be_wrong_and_finds_most():
    problem = problem_of(samples=300, noise=0.2, C=1.0)
    found = propose("cnci", problem)
    assert 0 < (found.actions == Action.RELABEL).sum() <= problem.mislabelled
    assert accuracy(np.eye(2)[found.labels], problem_of(samples=300, noise=0.0, C=1.0).labels) > 0.82


@pytest.mark.parametrize("classes", [2, 4])
def test_cnci_of_rows_that_stay_sparse_is_that_of_dense_ones(classes, monkeypatch):
    problem = problem_of(classes, samples=300, noise=0.2, sparse=True)
    at_once, matrix = propose("cnci", problem), methods._influence(problem).args[0]
    monkeypatch.setattr(methods, "DENSE_MIB", 0)
    sparse = methods._influence(problem)
    found = propose("cnci", problem)
    np.testing.assert_array_equal(found.labels, at_once.labels)
    np.testing.assert_array_equal(found.actions, at_once.actions)
    assert (found.actions == Action.RELABEL).any()
    for labels in (problem.labels, 1 - problem.labels % 2):
        blocks = list(sparse(labels=labels, memory_mib=0.1))
        assert len(blocks) > 1
        J = np.concatenate([block for _, block in blocks])
        np.testing.assert_allclose(
            J, influence_matrix(matrix, labels=labels, include_bias=False), rtol=1e-4, atol=1e-5
        )
        assert J.dtype == np.float32


def test_cnci_holds_no_dense_rows_of_many_columns(monkeypatch):
    """What is made dense is as wide as the validation set: no matrix of the 200,000 columns of the features."""
    rng = np.random.default_rng(4)
    X = csr_matrix(random_array((800, 200_000), density=1e-4, rng=rng, format="csr"))
    labels = rng.integers(0, 2, 800)
    regression = Regression(2, 1.0)
    parameters = regression.fit(X[:600], regression.one_hot(labels[:600]))
    problem = Problem(
        regression=regression,
        X=X[:600],
        labels=labels[:600],
        validation=X[600:],
        validation_labels=labels[600:],
        parameters=parameters,
        probabilities=regression.probabilities(parameters, X[:600]),
        influence=np.zeros(600),
        mislabelled=60,
    )
    widths, to_array = [], csr_matrix.toarray
    monkeypatch.setattr(
        csr_matrix, "toarray", lambda self, **keys: widths.append(self.shape[1]) or to_array(self, **keys)
    )
    propose("cnci", problem)
    assert set(widths) == {200}


def test_cleanlab_relabels_most_of_what_is_wrong():
    problem = problem_of(samples=300, noise=0.2, C=1.0)
    found = propose("cleanlab_suggestion", problem)
    assert accuracy(np.eye(2)[found.labels], problem_of(samples=300, noise=0.0, C=1.0).labels) > 0.9


# --- measures -----------------------------------------------------------------------------------------------------


def test_measures_are_those_of_scikit_learn_and_nan_where_they_have_no_meaning():
    rng = np.random.default_rng(0)
    positive, labels = np.round(rng.random(60), 1), rng.integers(0, 2, 60)
    both = np.column_stack([1 - positive, positive])
    assert area_under_curve(both, labels) == pytest.approx(roc_auc_score(labels, positive))
    assert np.isnan(area_under_curve(both, np.zeros(60, int)))
    assert np.isnan(area_under_curve(np.full((60, 3), 1 / 3), labels))
    assert log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-np.log(np.finfo(float).eps))
    assert np.isnan(log_loss(both[:0], labels[:0]))
    assert np.isnan(accuracy(both[:0], labels[:0]))
    precision, recall = precision_recall(np.array([True, True, False]), np.array([True, False, False]))
    assert (precision, recall) == (0.5, 1.0)
    assert all(np.isnan(precision_recall(np.zeros(3, bool), np.zeros(3, bool))))


# --- cells ----------------------------------------------------------------------------------------------------------

BLOCK = {
    "datasets": ["wine"],
    "learners": ["logistic"],
    "glitches": ["uniform"],
    "ratios": [0.2],
    "seeds": [0],
}


def test_cells_are_the_product_sorted_and_each_once():
    block = {**BLOCK, "relabellings": ["rdia", "erm"], "seeds": [1, 0]}
    found = cells([block, block], {})
    assert [(cell["seed"], cell["relabelling"]) for cell in found] == [
        ("0", "erm"),
        ("0", "rdia"),
        ("1", "erm"),
        ("1", "rdia"),
    ]


@pytest.mark.parametrize(
    ("changes", "settings_of", "message"),
    [
        ({"glitches": ["far_anomalies"], "datasets": ["mnist"]}, {}, "changes more than labels"),
        ({"ratios": ["clean"]}, {}, r"rdia\[0\]: glitch uniform needs a ratio"),
        ({}, {"dataset": {"wine": {"validation_source": "none"}}}, "none needs an official test part"),
        (
            {"datasets": ["mnist"]},
            {"dataset": {"mnist": {"validation_source": "none"}}},
            "mnist has no validation rows",
        ),
        (
            {},
            {"learner": {"logistic": {"solver": "direct", "solver_settings": {"tolerance": 1e-6}}}},
            r"rdia\[0\]: learners.logistic.solver_settings: tolerance is no setting of the solver direct; leave "
            r"it out \(direct takes none\)",
        ),
        (
            {"learners": ["logistic@mine"]},
            {"learner": {"logistic@mine": {"solver": "cg", "solver_settings": {"limit": 9, "scale": 2.0}}}},
            r"learners.logistic@mine.solver_settings: scale is no setting of the solver cg; .* \(cg takes tolerance",
        ),
    ],
)
def test_illegal_cells_are_refused(changes, settings_of, message):
    with pytest.raises(GlitchtraceError, match=message):
        cells([{**BLOCK, "relabellings": ["rdia"], **changes}], settings_of)


def test_a_dataset_whose_rows_nobody_counts_is_legal():
    settings = {"dataset": {"own_libsvm": {"test_size": 60}}}
    assert cells([{**BLOCK, "datasets": ["own_libsvm"], "relabellings": ["rdia"]}], settings)


def test_every_solver_accepts_its_own_settings_and_the_card_knows_them_all():
    known = set(registry.card("learner", "logistic")["settings"]["solver_settings"]["properties"])
    assert known == {key for keys in SOLVER_SETTINGS.values() for key in keys}
    functions = {"cg": conjugate_gradients, "direct": direct, "lissa": lissa}
    assert set(registry.card("learner", "logistic")["settings"]["solver"]["enum"]) == set(functions)
    for solver, function in functions.items():
        keywords = [
            name
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        assert set(keywords) >= set(SOLVER_SETTINGS[solver])
        learner = {"solver": solver, "solver_settings": dict.fromkeys(SOLVER_SETTINGS[solver], 1)}
        block = {**BLOCK, "relabellings": ["rdia"]}
        assert len(cells([block], {"learner": {"logistic": learner}})) == 1


# --- stages -----------------------------------------------------------------------------------------------------------

LEARNER = {"C": 0.1, "units": "code", "solver": "cg", "solver_settings": {}}


@pytest.fixture(params=[False, True], ids=["dense", "sparse"])
def files(request, tmp_path):
    """The files of a cell of two classes in which a third of the labels are wrong."""
    problem = problem_of(samples=150, noise=0.0)
    X = np.vstack([problem.X, problem.validation]).astype(np.float32)
    labels = np.concatenate([problem.labels, problem.validation_labels]).astype(np.int64)
    source = tmp_path / "sources" / "made"
    features = source / ("features.npz" if request.param else "features.npy")
    write_sparse(csr_matrix(X), features) if request.param else write_npy(X, features)
    write_npy(labels, source / "labels.npy")
    write_json(
        {"classes": ["a", "b"], "parts": {"all": [0, 300]}, "modality": "table"}, source / "source.json"
    )
    rows = np.random.default_rng(0).permutation(300)
    parts = np.repeat(["train", "validation", "test"], [150, 70, 80])
    write_parquet(
        pd.DataFrame({"row": rows, "part": parts, "label": labels[rows]}), tmp_path / "split.parquet"
    )
    own = labels[rows[:150]]
    wrong = np.arange(150) < 50
    table = pd.DataFrame({"source": "made", "row": rows[:150], "label": np.where(wrong, 1 - own, own)})
    kinds = np.where(wrong, Kind.MISLABELLED, Kind.CLEAN).astype(np.int8)
    write_parquet(table.assign(true_label=own, source_label=own, kind=kinds), tmp_path / "glitch.parquet")
    names = {"split": "split.parquet", "glitch": "glitch.parquet"}
    inputs = {key: str(tmp_path / name) for key, name in names.items()}
    made = {"influence": str(tmp_path / "influence.parquet"), "fit": str(tmp_path / "fit.safetensors")}
    return SimpleNamespace(
        folder=tmp_path, inputs={"features": [str(features)], **inputs}, made=made, own=own
    )


def relabel(files, name: str, stem: str = "a", **settings_of):
    repaired, gain = (str(files.folder / f"{table}-{stem}.parquet") for table in ("repaired", "gain"))
    relabel_rdia(
        **files.inputs,
        **files.made,
        repaired=repaired,
        gain=gain,
        learner="logistic",
        learner_settings=LEARNER,
        relabelling=name,
        settings=settings_of,
        seed=0,
    )
    return pd.read_parquet(repaired), pd.read_parquet(gain).set_index("part")


def test_from_files_to_the_gain_of_a_repair(files):
    measure_rdia(**files.inputs, **files.made, learner="logistic", settings=LEARNER)
    table = pd.read_parquet(files.made["influence"])
    assert list(table) == ["sample", "label", "probability", "influence", "relabel_influence"]
    fit = load_file(files.made["fit"])
    assert fit["parameters"].shape == fit["inverse_product"].shape == (4, 1)
    assert fit["residual"][0] <= 1e-8
    _, plain = relabel(files, "erm", "erm")
    repaired, gain = relabel(files, "rdia@alpha_0_002", alpha=0.002, target="moving")
    assert set(repaired["policy"]) == {"rdia@alpha_0_002"}
    acted = repaired["action"] == "relabel"
    np.testing.assert_array_equal(acted, table["influence"] > 0.002)
    assert gain.loc["test", "relabelled"] == acted.sum()
    assert gain.loc["test", "precision"] == (acted & (np.arange(150) < 50)).sum() / acted.sum()
    assert gain.loc["test", "log_loss"] < plain.loc["test", "log_loss"]
    assert np.isnan(plain.loc["test", "alpha"])
    before = {path.name: path.read_bytes() for path in files.folder.glob("*-a.parquet")}
    relabel(files, "rdia@alpha_0_002", "b", alpha=0.002, target="moving")
    for name, content in before.items():
        assert (files.folder / name.replace("-a", "-b")).read_bytes() == content


def test_each_part_is_measured_on_its_own_samples(files):
    measure_rdia(**files.inputs, **files.made, learner="logistic", settings=LEARNER)
    _, one = relabel(files, "erm", "one")
    split = pd.read_parquet(files.inputs["split"])
    other = {"validation": "test", "test": "validation"}
    write_parquet(split.assign(part=split["part"].replace(other)), files.inputs["split"])
    _, two = relabel(files, "erm", "two")
    pd.testing.assert_frame_equal(one.sort_index(), two.rename(index=other).sort_index())
    assert one["log_loss"].nunique() == 2


def test_labels_of_validation_are_those_observed_and_of_test_the_clean_ones(files):
    clean = load_cell(**files.inputs)
    split = pd.read_parquet(files.inputs["split"])
    write_parquet(split.assign(label=1 - split["label"]), files.inputs["split"])
    dirty = load_cell(**files.inputs)
    np.testing.assert_array_equal(dirty.validation.labels, 1 - clean.validation.labels)
    np.testing.assert_array_equal(dirty.test.labels, clean.test.labels)


def test_a_threshold_is_chosen_by_the_validation_loss_after_retraining(files):
    measure_rdia(**files.inputs, **files.made, learner="logistic", settings=LEARNER)
    alphas = [0.5, 0.01, 0.0]
    alone = [relabel(files, "rdia", alpha=alpha, target="moving")[1] for alpha in alphas]
    losses = [gain.loc["validation", "log_loss"] for gain in alone]
    _, chosen = relabel(files, "rdia", alpha=None, alphas=alphas, target="moving")
    pd.testing.assert_frame_equal(chosen, alone[int(np.argmin(losses))])


def test_an_empty_validation_part_is_one_line_and_nothing_is_written(files):
    split = pd.read_parquet(files.inputs["split"])
    write_parquet(split[split["part"] != "validation"], files.inputs["split"])
    with pytest.raises(GlitchtraceError, match="validation set is empty"):
        measure_rdia(**files.inputs, **files.made, learner="logistic", settings=LEARNER)
    assert not list(files.folder.glob("influence*"))


def test_samples_of_another_source_are_refused(files):
    table = pd.read_parquet(files.inputs["glitch"])
    write_parquet(table.assign(source="fmnist"), files.inputs["glitch"])
    with pytest.raises(GlitchtraceError, match="samples from outside made"):
        measure_rdia(**files.inputs, **files.made, learner="logistic", settings=LEARNER)

"""Influence functions of the head against a dense Hessian by automatic differentiation."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from glitchtrace.core import configuration, registry, resources
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.preprocess import VectorInputs
from glitchtrace.influence import influence_functions, solvers
from glitchtrace.influence.estimator import Estimator, EstimatorInputs, Problem
from glitchtrace.influence.factors import Factors, Part
from glitchtrace.influence.profile import build_profiles

SAMPLES, QUERIES, WIDTH, CLASSES, DAMPING = 30, 4, 3, 3, 0.05


def factors() -> tuple[Factors, torch.Tensor]:
    """Factors of a head in float64, and its weights (K, D)."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(CLASSES, WIDTH + 1))
    parts = []
    for size in (SAMPLES, QUERIES):
        features = rng.normal(size=(size, WIDTH))
        logits = features @ weights[:, :-1].T + weights[:, -1]
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        parts.append(Part((features,), (chances,), rng.integers(0, CLASSES, size)))
    return Factors(np.array([0.1]), 8, *parts), torch.tensor(weights)


def by_dense_hessian(found: Factors, weights: torch.Tensor, labels: np.ndarray, queries: Part) -> np.ndarray:
    """(1/n) ∇ℓ_iᵀ (H + λI)⁻¹ ∇L_j with H by automatic differentiation."""

    def loss(flat: torch.Tensor, part: Part, labels: np.ndarray) -> torch.Tensor:
        inputs = torch.tensor(np.column_stack([part.features[0], np.ones(len(part))]))
        return cross_entropy(inputs @ flat.view(CLASSES, -1).T, torch.as_tensor(labels), reduction="none")

    flat = weights.flatten()
    hessian = torch.autograd.functional.hessian(
        lambda w: loss(w, found.train, found.train.labels).mean(), flat
    )
    ours = torch.autograd.functional.jacobian(lambda w: loss(w, found.train, labels), flat)
    theirs = torch.autograd.functional.jacobian(lambda w: loss(w, queries, queries.labels), flat)
    damped = hessian + DAMPING * torch.eye(len(flat), dtype=flat.dtype)
    return (ours @ torch.linalg.solve(damped, theirs.T) / SAMPLES).numpy()


def opened(found: Factors, **settings: object) -> Estimator:
    def no_network() -> None:
        raise AssertionError("the head needs no network")

    cell = EstimatorInputs(lambda: found, no_network)  # type: ignore[arg-type]
    estimator: Estimator = registry.load("estimator", "influence_functions").open_cell(
        cell, {"damping": DAMPING, **settings}
    )
    return estimator


@pytest.mark.parametrize(("solver", "tolerance"), [("direct", 1e-10), ("cg", 1e-6), ("lissa", 0.1)])
def test_it_is_the_inverse_of_the_dense_hessian(solver: str, tolerance: float) -> None:
    found, weights = factors()
    expected = by_dense_hessian(found, weights, found.train.labels, found.validation)
    matrix = np.concatenate([block for _, block in opened(found, solver=solver, memory_mib=1e-3).blocks()])
    assert np.abs(matrix - expected).max() <= tolerance * np.abs(expected).max()


def test_self_influence_and_counterfactual_labels_are_those_of_the_dense_hessian() -> None:
    found, weights = factors()
    own = by_dense_hessian(found, weights, found.train.labels, found.train)
    np.testing.assert_allclose(opened(found).self_influence(), np.diagonal(own), rtol=1e-9)
    other = (found.train.labels + 1) % CLASSES
    matrix = np.concatenate([block for _, block in opened(found).blocks(other)])
    expected = by_dense_hessian(found, weights, other, found.validation)
    np.testing.assert_allclose(matrix, expected, rtol=1e-8, atol=1e-12)


def test_one_factorisation_serves_all_blocks_and_their_size_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, _ = factors()
    whole = opened(found).self_influence_per_epoch()
    calls = []
    monkeypatch.setattr(
        influence_functions, "factorised", lambda operator: calls.append(0) or solvers.factorised(operator)
    )
    estimator = opened(found, memory_mib=1e-6)
    next(estimator.blocks())
    np.testing.assert_allclose(estimator.self_influence_per_epoch(), whole, rtol=1e-12)
    assert calls == [0]


def test_the_declared_memory_holds_the_hessian_and_its_factor() -> None:
    root = Path(__file__).parents[2]
    study = configuration.merge(
        configuration.variants(root), configuration.read(root / "config/studies/fidelity_mnist.yaml")
    )
    study = configuration.merge(configuration.read(root / "config/config.yaml"), study)
    settings = configuration.resolve(study, configuration.load_schema(root))["settings"]

    def mib(solver: str) -> int:
        own = {**settings["estimator"]["influence_functions"], "solver": solver}
        cell = {**settings, "estimator": {"influence_functions": own}}
        return resources.influence(
            "compute_influence", "mnist@truth", "linear@mnist", "influence_functions", cell
        )

    weights = 10 * (28 * 28 + 1)
    assert mib("direct") - mib("cg") >= 2 * 8 * weights**2 / 2**20


def test_every_signal_is_made_from_it_and_what_has_no_meaning_is_refused() -> None:
    found, _ = factors()
    profiles = build_profiles(opened(found), found.train.labels, found.validation.labels)
    assert np.isfinite(profiles.cumulative.positive).all()
    assert len(profiles.per_epoch) == 1
    with pytest.raises(GlitchtraceError, match="no learning rate to divide"):
        opened(found, divide_by_batch_size=True)
    with pytest.raises(GlitchtraceError, match="labels"):
        list(opened(found).blocks(np.full(SAMPLES, CLASSES)))


# --- EK-FAC -----------------------------------------------------------------------------------------------------------


def opened_ekfac(cell: EstimatorInputs, **settings: object) -> Estimator:
    estimator: Estimator = registry.load("estimator", "ekfac").open_cell(cell, settings)
    return estimator


def matrix_of(estimator: Estimator, labels: np.ndarray | None = None) -> np.ndarray:
    return np.concatenate([block for _, block in estimator.blocks(labels)])


def no_network() -> Problem:
    raise AssertionError("a head needs no network")


def test_ekfac_is_koh_and_liang_where_the_hessian_is_a_kronecker_product() -> None:
    found, _ = factors()
    # With the same features everywhere, and probabilities of their own, it is mean(diag p − p pᵀ) ⊗ h̃ h̃ᵀ.
    features = (np.repeat(found.train.features[0][:1], SAMPLES, axis=0),)
    cell = EstimatorInputs(lambda: replace(found, train=replace(found.train, features=features)), no_network)
    expected = registry.load("estimator", "influence_functions").open_cell(cell, {"damping": DAMPING})
    for memory in (1e-3, 64):
        estimator = opened_ekfac(cell, damping=DAMPING, memory_mib=memory, layers="head")
        np.testing.assert_allclose(matrix_of(estimator), matrix_of(expected), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(estimator.self_influence(), expected.self_influence(), rtol=1e-9)


@cache
def small_network() -> EstimatorInputs:
    """An MLP of two layers, as it was built, with its factors."""
    rng = np.random.default_rng(3)
    inputs = [
        VectorInputs(rng.normal(size=(rows, 4)).astype(np.float32), np.zeros(4), np.ones(4))
        for rows in (20, 5)
    ]
    network = registry.load("model", "mlp").build((4,), CLASSES, {"hidden": [3], "head_seed": 0})
    parts = []
    for part in inputs:
        with torch.no_grad():
            features = network.features(part.batch(slice(None)))
            chances = network.head(features).softmax(1)
        parts.append(
            Part((features.numpy(),) * 2, (chances.numpy(),) * 2, rng.integers(0, CLASSES, len(part)))
        )
    found = Factors(np.array([0.1, 0.1]), 8, *parts)
    return EstimatorInputs(lambda: found, lambda: Problem(network, [network.checkpoint()] * 2, *inputs))


def by_dense_fisher(
    cell: EstimatorInputs, labels: np.ndarray, damping: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """J and self influence from whole Fisher matrices of both layers, by gradients of single samples."""
    network, factors = cell.problem.network, cell.factors
    wanted = [("hidden.0", [network.hidden[0].weight, network.hidden[0].bias])]
    wanted.append(("head", [network.head.weight, network.head.bias]))

    def gradients(inputs: VectorInputs, label: np.ndarray) -> list[np.ndarray]:
        """Of each layer (rows, O, I + 1)."""
        rows = []
        for x, y in zip(inputs.batch(slice(None)), label, strict=True):
            loss = cross_entropy(network(x[None]), torch.tensor([int(y)]))
            rows.append([torch.autograd.grad(loss, pair, retain_graph=True) for _, pair in wanted])
        return [
            np.stack([np.column_stack([part.double().numpy() for part in row[k]]) for row in rows])
            for k in (0, 1)
        ]

    count = len(factors.train)
    chances = factors.train.probabilities[-1].astype(np.float64)
    by_class = [gradients(cell.problem.train, np.full(count, c)) for c in range(CLASSES)]
    ours = gradients(cell.problem.train, labels)
    own = gradients(cell.problem.train, factors.train.labels)
    theirs = gradients(cell.problem.validation, factors.validation.labels)
    found, selves = np.zeros((count, len(factors.validation))), np.zeros(count)
    x = cell.problem.train.batch(slice(None)).double().numpy()
    for k, given in enumerate([x, factors.train.features[-1].astype(np.float64)]):
        full = [g[k].reshape(count, -1) for g in by_class]
        fisher = sum((chances[:, c, None] * full[c]).T @ full[c] for c in range(CLASSES)) / count
        extended = np.column_stack([given, np.ones(count)])
        # The bias column of a gradient is δ.
        back = [g[k][:, :, -1] for g in by_class]
        outer = sum((chances[:, c, None] * back[c]).T @ back[c] for c in range(CLASSES)) / count
        basis = np.kron(np.linalg.eigh(outer)[1], np.linalg.eigh(extended.T @ extended / count)[1])
        values = np.diagonal(basis.T @ fisher @ basis)
        inverse = basis / (values + (0.1 * values.mean() if damping is None else damping)) @ basis.T
        found += ours[k].reshape(count, -1) @ inverse @ theirs[k].reshape(len(factors.validation), -1).T
        flat = own[k].reshape(count, -1)
        selves += np.vecdot(flat @ inverse, flat)
    return found / count, selves / count


@pytest.mark.parametrize("damping", [None, 0.01])
def test_ekfac_of_a_network_is_the_diagonal_of_the_fisher_matrix_in_kronecker_s_basis(
    damping: float | None,
) -> None:
    cell = small_network()
    estimator = opened_ekfac(cell, damping=damping, batch=7, memory_mib=1e-4)
    for labels in (None, (cell.factors.train.labels + 1) % CLASSES):
        chosen = cell.factors.train.labels if labels is None else labels
        expected, selves = by_dense_fisher(cell, chosen, damping)
        np.testing.assert_allclose(matrix_of(estimator, labels), expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(estimator.self_influence(), selves, rtol=1e-4)
    head = opened_ekfac(cell, damping=damping, layers="head")
    assert np.abs(matrix_of(head) - matrix_of(estimator)).max() > 1e-3
    # One checkpoint has one array of features, and is no reason to leave the other layers out.
    chosen = opened_ekfac(cell, damping=damping, batch=7, memory_mib=1e-4, epochs=[2])
    np.testing.assert_array_equal(matrix_of(chosen), matrix_of(estimator))


def test_ekfac_refuses_what_it_does_not_cover() -> None:
    cell = small_network()
    with pytest.raises(GlitchtraceError, match="divide_by_batch_size: there is no learning rate"):
        opened_ekfac(cell, divide_by_batch_size=True)
    network = registry.load("model", "small_cnn").build((1, 16, 16), CLASSES, {"head_seed": 0})
    other = EstimatorInputs(
        lambda: cell.factors,
        lambda: replace(cell.problem, network=network, checkpoints=[network.checkpoint()] * 2),
    )
    with pytest.raises(GlitchtraceError, match="covers dense layers, not Conv2d"):
        opened_ekfac(other)
    sure = Part((np.ones((2, 1)),), (np.eye(2),), np.array([0, 1]))
    certain = EstimatorInputs(lambda: Factors(np.array([0.1]), 2, sure, sure), no_network)
    with pytest.raises(GlitchtraceError, match="every probability is 0 or 1"):
        matrix_of(opened_ekfac(certain, layers="head"))

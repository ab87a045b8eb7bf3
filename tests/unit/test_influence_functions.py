"""Influence functions of the head against a dense Hessian by automatic differentiation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from glitchtrace.core import configuration, registry, resources
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence import influence_functions, solvers
from glitchtrace.influence.estimator import Estimator, EstimatorInputs
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

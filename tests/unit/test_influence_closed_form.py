"""The closed form against autograd, against loops, and against itself: streamed, merged, factored."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.closed_form import (
    epoch_blocks,
    influence_blocks,
    influence_matrix,
    residuals,
    row_blocks,
    self_influence,
    self_influence_per_epoch,
    step_sizes,
)
from glitchtrace.influence.factors import Factors, Part

SEEDS = st.integers(0, 2**32 - 1)
modest = settings(deadline=None, derandomize=True, max_examples=20)


def make_factors(
    seed: int = 0,
    *,
    samples: int = 13,
    validation: int = 7,
    classes: int = 3,
    width: int = 4,
    epochs: int = 3,
    frozen: bool = False,
    dtype: type = np.float64,
) -> Factors:
    rng = np.random.default_rng(seed)

    def part(size: int) -> Part:
        features = rng.normal(size=(1 if frozen else epochs, size, width)).astype(dtype)
        probabilities = rng.dirichlet(np.ones(classes), size=(epochs, size)).astype(dtype)
        return Part(tuple(features), tuple(probabilities), rng.integers(0, classes, size))

    return Factors(rng.uniform(0.01, 0.2, epochs), 4, part(samples), part(validation))


def by_loops(factors: Factors, bias: int) -> np.ndarray:
    """Σ_t η_t (e·e′)(h·h′ + b), one entry at a time."""
    train, validation = factors.train, factors.validation
    matrix = np.zeros((len(train), len(validation)))
    for epoch, rate in enumerate(factors.learning_rates):
        position = 0 if factors.frozen else epoch
        for i in range(len(train)):
            for j in range(len(validation)):
                e, other = train.probabilities[epoch][i].copy(), validation.probabilities[epoch][j].copy()
                e[train.labels[i]] -= 1
                other[validation.labels[j]] -= 1
                products = train.features[position][i] @ validation.features[position][j] + bias
                matrix[i, j] += rate * (e @ other) * products
    return matrix


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_matrix_equals_loops(frozen: bool, bias: bool) -> None:
    factors = make_factors(frozen=frozen)
    np.testing.assert_allclose(
        influence_matrix(factors, include_bias=bias), by_loops(factors, bias), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("bias", [True, False])
def test_matrix_and_self_equal_autograd(bias: bool) -> None:
    """Per-sample gradients of a linear head, one backward pass each, at two checkpoints."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (9,), generator=generator)
    rates, gradients, probabilities = [0.1, 0.03], [], []
    for _ in rates:
        head = torch.nn.Linear(5, 3, dtype=torch.float64)
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        rows = []
        for x, y in zip(inputs, labels, strict=True):
            loss = torch.nn.functional.cross_entropy(head(x), y)
            weight, offset = torch.autograd.grad(loss, [head.weight, head.bias])
            rows.append(torch.cat([weight.flatten(), offset] if bias else [weight.flatten()]))
        gradients.append(torch.stack(rows).numpy())
        probabilities.append(head(inputs).softmax(dim=1).detach().numpy())
    train = Part((inputs[:6].numpy(),), tuple(p[:6] for p in probabilities), labels[:6].numpy())
    validation = Part((inputs[6:].numpy(),), tuple(p[6:] for p in probabilities), labels[6:].numpy())
    factors = Factors(np.array(rates), 2, train, validation)

    expected = sum(rate * g[:6] @ g[6:].T for rate, g in zip(rates, gradients, strict=True))
    np.testing.assert_allclose(influence_matrix(factors, include_bias=bias), expected, rtol=1e-10)
    norms = sum(rate * (g[:6] ** 2).sum(axis=1) for rate, g in zip(rates, gradients, strict=True))
    np.testing.assert_allclose(self_influence(factors, include_bias=bias), norms, rtol=1e-10)


@modest
@given(SEEDS, st.booleans(), st.booleans())
def test_self_influence_is_the_diagonal(seed: int, frozen: bool, bias: bool) -> None:
    factors = make_factors(seed, frozen=frozen)
    on_itself = influence_matrix(replace(factors, validation=factors.train), include_bias=bias)
    selves = self_influence(factors, include_bias=bias)
    np.testing.assert_allclose(selves, np.diag(on_itself), rtol=1e-10)
    assert (selves >= 0).all()


@modest
@given(SEEDS, st.floats(1e-4, 0.01), st.booleans())
def test_streamed_equals_whole(seed: int, memory_mib: float, frozen: bool) -> None:
    factors = make_factors(seed, samples=41, frozen=frozen)
    whole = influence_matrix(factors)
    seen, parts = [], []
    for rows, block in influence_blocks(factors, memory_mib=memory_mib):
        seen += range(rows.start, rows.stop)
        parts.append(block)
    assert seen == list(range(41))
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(
        influence_matrix(factors, memory_mib=memory_mib), whole, rtol=1e-12, atol=1e-15
    )


@modest
@given(SEEDS)
def test_frozen_features_merge_the_checkpoints(seed: int) -> None:
    frozen = make_factors(seed, frozen=True)
    repeated = replace(
        frozen,
        train=replace(frozen.train, features=frozen.train.features * 3),
        validation=replace(frozen.validation, features=frozen.validation.features * 3),
    )
    np.testing.assert_allclose(influence_matrix(frozen), influence_matrix(repeated), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(self_influence(frozen), self_influence(repeated), rtol=1e-12)


@modest
@given(SEEDS, st.booleans(), st.booleans())
def test_epochs_alone_add_up(seed: int, frozen: bool, bias: bool) -> None:
    factors = make_factors(seed, frozen=frozen)
    alone = np.zeros((3, 13, 7))
    for rows, epoch, block in epoch_blocks(factors, include_bias=bias, memory_mib=0.001):
        alone[epoch, rows] = block
    for epoch in range(3):
        expected = influence_matrix(factors, epochs=(epoch,), include_bias=bias)
        np.testing.assert_allclose(alone[epoch], expected, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(
        alone.sum(axis=0), influence_matrix(factors, include_bias=bias), rtol=1e-11, atol=1e-13
    )


@modest
@given(SEEDS, st.booleans())
def test_counterfactual_labels_change_the_residual_only(seed: int, frozen: bool) -> None:
    factors = make_factors(seed, frozen=frozen)
    other = np.random.default_rng(seed).integers(0, 3, 13)
    relabelled = replace(factors, train=replace(factors.train, labels=other))
    np.testing.assert_array_equal(influence_matrix(factors, labels=other), influence_matrix(relabelled))


@modest
@given(SEEDS, st.permutations(range(3)))
def test_class_permutation_leaves_the_influence(seed: int, order: list[int]) -> None:
    factors = make_factors(seed)
    place = np.argsort(order)

    def permuted(part: Part) -> Part:
        return replace(
            part, probabilities=tuple(p[:, order] for p in part.probabilities), labels=place[part.labels]
        )

    swapped = replace(factors, train=permuted(factors.train), validation=permuted(factors.validation))
    np.testing.assert_allclose(influence_matrix(swapped), influence_matrix(factors), rtol=1e-10, atol=1e-13)


def test_division_by_the_batch_size() -> None:
    factors = make_factors()
    assert (step_sizes(factors, True) == factors.learning_rates / 4).all()
    np.testing.assert_allclose(
        influence_matrix(factors, divide_by_batch_size=True), influence_matrix(factors) / 4, rtol=1e-12
    )
    np.testing.assert_allclose(
        self_influence(factors, divide_by_batch_size=True), self_influence(factors) / 4, rtol=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_of_the_factors_is_kept(dtype: type) -> None:
    factors = make_factors(samples=60, validation=40, width=64, dtype=dtype)
    matrix = influence_matrix(factors)
    assert matrix.dtype == dtype
    exact = by_loops(factors, 1)
    tolerance = 2e-6 if dtype is np.float32 else 1e-14
    assert np.abs(matrix - exact).max() <= tolerance * np.abs(exact).max()
    assert self_influence_per_epoch(factors).dtype == np.float64


def test_residuals_of_one_sample() -> None:
    np.testing.assert_allclose(residuals(np.array([[0.2, 0.5, 0.3]]), np.array([1])), [[0.2, -0.5, 0.3]])


def test_blocks_fit_the_memory_and_never_vanish() -> None:
    rows = list(row_blocks(100, columns=1024, itemsize=4, memory_mib=0.2))
    assert {slice_.stop - slice_.start for slice_ in rows} == {25}
    assert len(list(row_blocks(5, columns=10**6, itemsize=8, memory_mib=0.001))) == 5
    assert [rows.stop for rows in row_blocks(1300, columns=1, itemsize=4, memory_mib=64)] == [
        384,
        768,
        1152,
        1300,
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": []}, r"epochs: \[\] must be different positions 0 to 2, at least one"),
        ({"epochs": [3]}, r"epochs: \[3\]"),
        ({"epochs": [-1]}, r"epochs: \[-1\]"),
        ({"epochs": [1, 1]}, r"epochs: \[1, 1\]"),
        ({"labels": np.zeros(12, int)}, r"labels: shape \(12,\), expected \(13,\)"),
        ({"labels": np.full(13, -1)}, "labels must be integers from 0 to 2"),
        ({"labels": np.full(13, 3)}, "labels must be integers from 0 to 2"),
        ({"labels": np.zeros(13)}, "labels must be integers from 0 to 2"),
    ],
)
@pytest.mark.parametrize("function", [influence_matrix, influence_blocks])
def test_epochs_and_labels_that_mean_nothing_are_one_line(function, options, message) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        list(function(make_factors(), **options))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rates": np.array([0.1, -0.1, 0.1])}, "learning_rates holds -0.1"),
        ({"probabilities": 5.0}, "train/probabilities: row 0 holds a value outside 0 to 1"),
        ({"probabilities": 0.5}, "train/probabilities: row 0 sums to 0.5"),
        ({"probabilities": -1.0}, "give probabilities, not logits"),
    ],
)
def test_logits_and_negative_rates_are_refused(change, message) -> None:
    factors = make_factors()
    if "probabilities" in change:
        scaled = tuple(change["probabilities"] * part for part in factors.train.probabilities)
        change = {"train": replace(factors.train, probabilities=scaled)}
    with pytest.raises(GlitchtraceError, match=message):
        replace(factors, **change)

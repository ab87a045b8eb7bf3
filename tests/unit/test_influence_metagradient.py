"""Metagradient against automatic differentiation, central differences, retraining and SGD-influence."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence import metagradient, tracin_steps
from glitchtrace.influence.estimator import EstimatorInputs, Problem
from glitchtrace.influence.factors import assemble_factors
from glitchtrace.influence.profile import build_profiles
from glitchtrace.models.network import Head
from glitchtrace.training.record import Part, Recorder
from glitchtrace.training.sgd import train

SAMPLES, WIDTH, CLASSES, QUERIES = 12, 4, 3, 5
FORMS = [{}, {"momentum": 0.8}, {"decay": 0.05}, {"momentum": 0.5, "decay": 0.1}]


def problem(seed: int = 0, steps: int = 9, dtype: type = np.float64) -> dict[str, Any]:
    """A small training: inputs, labels, initial weights, batches of uneven sizes, falling rates; queries."""
    rng = np.random.default_rng(seed)
    return {
        "inputs": np.column_stack([rng.normal(size=(SAMPLES, WIDTH)), np.ones(SAMPLES)]).astype(dtype),
        "labels": rng.integers(0, CLASSES, SAMPLES),
        "initial": (0.3 * rng.normal(size=(CLASSES, WIDTH + 1))).astype(dtype),
        "batches": [rng.choice(SAMPLES, rng.integers(2, 6), replace=False) for _ in range(steps)],
        "rates": 0.8 / np.sqrt(1 + np.arange(steps)),
    }


def queries(seed: int = 1, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = np.column_stack([rng.normal(size=(QUERIES, WIDTH)), np.ones(QUERIES)]).astype(dtype)
    return rows, rng.integers(0, CLASSES, QUERIES)


def by_automatic_differentiation(
    given: dict[str, Any], asked: tuple[np.ndarray, np.ndarray], momentum: float = 0.0, decay: float = 0.0
) -> np.ndarray:
    """−dL_j/dw_i through the whole unrolled training."""
    weights = torch.ones(SAMPLES, dtype=torch.float64, requires_grad=True)
    inputs, labels = torch.tensor(given["inputs"]), torch.tensor(given["labels"])
    state = torch.tensor(given["initial"], requires_grad=True)
    velocity = torch.zeros_like(state)
    for rows, rate in zip(given["batches"], given["rates"], strict=True):
        each = cross_entropy(inputs[rows] @ state.T, labels[rows], reduction="none")
        loss = (weights[rows] * each).mean() + decay / 2 * (state**2).sum()
        (gradient,) = torch.autograd.grad(loss, state, create_graph=True)
        velocity = momentum * velocity + gradient
        state = state - float(rate) * velocity
    losses = cross_entropy(torch.tensor(asked[0]) @ state.T, torch.tensor(asked[1]), reduction="none")
    columns = [-torch.autograd.grad(loss, weights, retain_graph=True)[0].numpy() for loss in losses]
    return np.column_stack(columns)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_it_is_the_derivative_through_the_unrolled_training(form: dict[str, float]) -> None:
    given, asked = problem(), queries()
    found = metagradient.influence_matrix(metagradient.record_training(**given, **form), *asked)
    expected = by_automatic_differentiation(given, asked, **form)
    assert np.abs(found - expected).max() <= 1e-8 * np.abs(expected).max()


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_it_is_the_slope_of_retraining(form: dict[str, float]) -> None:
    given, (rows, labels) = problem(3), queries(4)
    found = metagradient.influence_matrix(metagradient.record_training(**given, **form), rows, labels)

    def losses(weights: np.ndarray) -> np.ndarray:
        last = metagradient.record_training(**given, **form, weights=weights).states[-1]
        return -np.log(metagradient.probabilities(rows, last)[np.arange(QUERIES), labels])

    step = 1e-5
    for sample in range(SAMPLES):
        change = step * np.eye(SAMPLES)[sample]
        slope = (losses(np.ones(SAMPLES) + change) - losses(np.ones(SAMPLES) - change)) / (2 * step)
        np.testing.assert_allclose(found[sample], -slope, atol=1e-5 * np.abs(found).max())


@given(seed=st.integers(0, 2**16), label=st.integers(0, CLASSES - 1))
@settings(deadline=None, derandomize=True, max_examples=10)
def test_counterfactual_labels_change_the_gradient_of_the_sample_alone(seed: int, label: int) -> None:
    # The training stays what it was: only ∇ℓ_i is that of the other label.
    record, asked = metagradient.record_training(**problem(seed)), queries(seed)
    ((_, walked),) = metagradient.walk(record, *asked)
    other = walked.under(np.full(SAMPLES, label))
    same = record.labels == label
    np.testing.assert_array_equal(other[same], walked.under(record.labels)[same])
    # Over the true distribution of labels the gradient has mean zero: p-weighted labels give no influence.
    last = metagradient.record_training(
        **{**problem(seed), "batches": problem(seed)["batches"][:1], "rates": [0.5]}
    )
    ((_, one),) = metagradient.walk(last, *asked)
    rows = last.batches[0]
    guess = metagradient.probabilities(last.inputs[rows], last.states[0])
    by_label = np.stack([one.under(np.full(SAMPLES, c))[rows] for c in range(CLASSES)], axis=1)
    assert np.abs(np.einsum("ic,icj->ij", guess, by_label)).max() < 1e-12


@pytest.mark.parametrize("memory", [1e-6, 0.01, 100.0])
def test_blocks_of_queries_change_nothing(memory: float) -> None:
    record, asked = metagradient.record_training(**problem()), queries()
    whole = metagradient.influence_matrix(record, *asked)
    parts = metagradient.influence_matrix(record, *asked, memory_mib=memory)
    np.testing.assert_allclose(parts, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("form", FORMS)
def test_the_walk_of_a_basis_serves_all_queries(form: dict[str, float]) -> None:
    record = metagradient.record_training(**problem(), **form)
    rows, labels = (np.concatenate([part] * 3) for part in queries())
    assert metagradient.basis_size(record) == 10
    expected = metagradient.influence_matrix(record, rows, labels)
    opened = metagradient.of_head(record, rows, labels)
    ((_, found),) = opened.blocks()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    other = (record.labels + 1) % CLASSES
    ((_, found),) = opened.blocks(other)
    by_walk = np.concatenate(
        [part.under(other) for _, part in metagradient.walk(record, rows, labels)], axis=1
    )
    np.testing.assert_allclose(found, by_walk, rtol=1e-6, atol=1e-7)
    own = np.diagonal(metagradient.influence_matrix(record, record.inputs, record.labels))
    np.testing.assert_allclose(opened.self_influence(), own, rtol=1e-10)
    # A memory of nothing: a vector of the basis at a time, and no more than one is held.
    small = metagradient.of_head(record, rows, labels, memory_mib=1e-3)
    np.testing.assert_allclose(small.self_influence(), own, rtol=1e-10)
    ((_, found),) = small.blocks()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_one_step_from_its_own_checkpoint_is_tracin() -> None:
    given, asked = problem(steps=1), queries()
    given["batches"], given["rates"] = [np.arange(SAMPLES)], np.array([0.01])
    record = metagradient.record_training(**given)
    found = metagradient.influence_matrix(record, *asked)
    eye = np.eye(CLASSES)
    ours = metagradient.probabilities(given["inputs"], record.states[0]) - eye[given["labels"]]
    theirs = metagradient.probabilities(asked[0], record.states[-1]) - eye[asked[1]]
    expected = 0.01 / SAMPLES * (ours @ theirs.T) * (given["inputs"] @ asked[0].T)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_sample_that_is_drawn_twice_in_a_batch_counts_twice() -> None:
    given, asked = problem(steps=1), queries()
    given["batches"], given["rates"] = [np.array([0, 0, 1])], np.array([0.3])
    found = metagradient.influence_matrix(metagradient.record_training(**given), *asked)
    expected = by_automatic_differentiation(given, asked)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_single_precision_is_close() -> None:
    double = metagradient.influence_matrix(metagradient.record_training(**problem()), *queries())
    single = metagradient.influence_matrix(
        metagradient.record_training(**problem(dtype=np.float32)), *queries(dtype=np.float32)
    )
    assert single.dtype == np.float32
    assert np.abs(single - double).max() <= 2e-5 * np.abs(double).max()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": np.array([0.1])}, "9 steps has 10 states and 1 rates"),
        ({"labels": np.arange(SAMPLES)}, "labels must be integers from 0 to 2"),
        ({"labels": np.zeros(3, int)}, r"labels: shape \(3,\), expected \(12,\)"),
        ({"batches": [np.array([0, SAMPLES])] * 9}, r"batches\[0\] names the rows 0 to 12 of 12 samples"),
        ({"momentum": 1.0}, r"momentum 1 must be in \[0, 1\)"),
        ({"decay": -0.1}, "decay -0.1 must not be negative"),
        ({"inputs": np.ones((SAMPLES, 2))}, r"inputs of shape \(12, 2\) do not fit a head"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    record = metagradient.record_training(**problem())
    fields = {name: getattr(record, name) for name in record.__dataclass_fields__}
    with pytest.raises(GlitchtraceError, match=message):
        metagradient.RecordedHead(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.arange(SAMPLES)}, "labels must be integers from 0 to 2"),
        (
            {"batches": [np.array([1]), np.array([3, -1])]},
            r"batches\[1\] names the rows -1 to 3 of 12 samples",
        ),
        ({"batches": [np.array([], int), np.array([3])]}, r"batches\[0\] names no sample"),
        ({"rates": np.ones(1)}, "1 rates for 2 batches"),
        ({"initial": np.zeros((CLASSES, 2))}, r"inputs of shape .* do not fit a head of shape \(3, 2\)"),
        ({"weights": np.ones(3)}, r"weights of shape \(3,\) for 12 samples"),
    ],
)
def test_a_training_that_does_not_fit_is_refused_before_it_begins(
    changes: dict[str, Any], message: str
) -> None:
    given = {**problem(), "batches": [np.array([0, 1]), np.array([2])], "rates": np.ones(2), **changes}
    with pytest.raises(GlitchtraceError, match=message):
        metagradient.record_training(**given)


# --- the estimator of a cell -------------------------------------------------------------------------------------


SGD = {"learning_rate": 0.1, "batch_size": 4, "epochs": 3}


def cell(seed: int = 5, **changes: Any) -> EstimatorInputs:
    """A linear model that the workflow's own training has trained, with what the training kept."""
    given, (rows, labels) = problem(dtype=np.float32), queries(dtype=np.float32)
    network = Head(torch.nn.Linear(WIDTH, CLASSES))
    first = network.checkpoint()
    parts = {
        "train": Part(Stored(given["inputs"][:, :-1]), given["labels"]),
        "validation": Part(Stored(rows[:, :-1]), labels),
    }
    options = {key: value for key, value in SGD.items() if key != "epochs"}
    recorder = Recorder(network, parts, **options, evaluation_batch=8, device=torch.device("cpu"))
    states = []

    def after_epoch(epoch: int) -> None:
        states.append(network.checkpoint())
        recorder.record(epoch)

    train(
        network,
        parts["train"].samples,
        given["labels"],
        **SGD,
        seed=seed,
        device=torch.device("cpu"),
        on_epoch=after_epoch,
    )
    network.restore(first)
    tensors = recorder.factors()
    problem_of_torch = Problem(network, states, parts["train"].samples, parts["validation"].samples)
    return EstimatorInputs(
        lambda: assemble_factors(tensors),
        lambda: problem_of_torch,
        changes.get("training", {**SGD, "seed": seed}),
    )


class Stored:
    """Samples at hand."""

    def __init__(self, array: np.ndarray) -> None:
        self._tensor = torch.from_numpy(np.ascontiguousarray(array))

    def __len__(self) -> int:
        return len(self._tensor)

    def batch(self, rows: np.ndarray | slice) -> torch.Tensor:
        return self._tensor[rows]


def test_the_estimator_repeats_the_training_of_a_cell_and_every_signal_is_made_from_it() -> None:
    inputs = cell()
    opened = metagradient.open_cell(inputs, {})
    ((rows, matrix),) = opened.blocks()
    assert (rows, matrix.shape) == (slice(0, SAMPLES), (SAMPLES, QUERIES))
    record = metagradient.repeated_head(inputs)
    np.testing.assert_allclose(
        matrix, metagradient.influence_matrix(record, *queries(dtype=np.float32)), rtol=1e-5
    )
    own = metagradient.influence_matrix(record, record.inputs, record.labels)
    np.testing.assert_allclose(opened.self_influence(), np.diagonal(own), rtol=1e-5)
    profiles = build_profiles(opened, inputs.factors.train.labels, inputs.factors.validation.labels)
    total = profiles.cumulative.positive + profiles.cumulative.negative
    np.testing.assert_allclose(total.sum(axis=1), matrix.sum(axis=1), rtol=1e-4, atol=1e-6)
    ((_, other),) = opened.blocks(profiles.negative_label)
    assert np.abs(other - matrix).max() > 0


@pytest.mark.parametrize(
    ("training", "settings", "message"),
    [
        ({**SGD, "seed": 6}, {}, "does not end at its last checkpoint"),
        (None, {}, "needs the settings and the seed"),
        ({**SGD, "seed": 5}, {"epochs": [1]}, "is that of the whole training"),
        ({**SGD, "seed": 5}, {"divide_by_batch_size": True}, "is that of the whole training"),
    ],
)
def test_a_training_that_cannot_be_repeated_is_refused(training: Any, settings: Any, message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        metagradient.open_cell(cell(training=training), settings)


def test_tracin_of_every_step_is_the_sum_over_the_batches_that_held_a_sample() -> None:
    given, (rows, labels) = problem(), queries()
    given["batches"][2] = np.array([1, 1, 3])  # twice counts twice
    record = metagradient.record_training(**given)
    opened = tracin_steps.StepInfluence(record, rows, labels, memory_mib=1e-3)
    identity = np.eye(CLASSES)

    def expected(of: np.ndarray, asked: np.ndarray, asked_labels: np.ndarray) -> np.ndarray:
        total = np.zeros((SAMPLES, len(asked)))
        for batch, rate, weights in zip(given["batches"], given["rates"], record.states[:-1], strict=True):
            other = metagradient.probabilities(asked, weights) - identity[asked_labels]
            for i in batch:
                own = metagradient.probabilities(given["inputs"][[i]], weights)[0] - identity[of[i]]
                total[i] += rate / len(batch) * (other @ own) * (asked @ given["inputs"][i])
        return total

    ((_, found),) = opened.blocks()
    np.testing.assert_allclose(found, expected(given["labels"], rows, labels), rtol=1e-6, atol=1e-7)
    other = (given["labels"] + 1) % CLASSES
    ((_, found),) = opened.blocks(other)
    np.testing.assert_allclose(found, expected(other, rows, labels), rtol=1e-6, atol=1e-7)
    own = np.diagonal(expected(given["labels"], given["inputs"], given["labels"]))
    np.testing.assert_allclose(opened.self_influence(), own, rtol=1e-10)


def test_tracin_of_every_step_of_a_cell() -> None:
    inputs = cell()
    opened = tracin_steps.open_cell(inputs, {})
    build_profiles(opened, inputs.factors.train.labels, inputs.factors.validation.labels)
    ((_, matrix),) = opened.blocks()
    record = metagradient.repeated_head(inputs)
    found = tracin_steps.StepInfluence(record, *queries(dtype=np.float32), memory_mib=256)
    np.testing.assert_allclose(matrix, next(found.blocks())[1], rtol=1e-5)
    for training, settings_, message in (
        (None, {}, "needs the settings and the seed"),
        ({**SGD, "seed": 5}, {"epochs": [1]}, "it is that of all steps"),
    ):
        with pytest.raises(GlitchtraceError, match=message):
            tracin_steps.open_cell(cell(training=training), settings_)

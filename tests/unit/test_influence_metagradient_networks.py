"""Metagradient of small networks against automatic differentiation, central differences and SGD-influence."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence import metagradient
from glitchtrace.influence import metagradient_networks as networks
from glitchtrace.influence.estimator import EstimatorInputs, Problem
from glitchtrace.influence.factors import assemble_factors
from glitchtrace.influence.profile import build_profiles
from glitchtrace.influence.sgd_influence import sgd_influence, validation_gradient
from glitchtrace.models.convnets import build_small_cnn
from glitchtrace.models.dense import build_fullnet, build_mlp
from glitchtrace.models.network import Network
from glitchtrace.training.record import Part, Recorder
from glitchtrace.training.recorded.recording import layout_of, make_plan, record
from glitchtrace.training.recorded.trace import Snapshots
from glitchtrace.training.sgd import train

SAMPLES, WIDTH, CLASSES, QUERIES, STEPS = 10, 4, 3, 3, 7
FORMS = [{}, {"momentum": 0.8}, {"decay": 0.05}, {"momentum": 0.5, "decay": 0.1}]


class Stored:
    """Samples at hand."""

    def __init__(self, array: np.ndarray) -> None:
        self.tensor = torch.from_numpy(np.ascontiguousarray(array))

    def __len__(self) -> int:
        return len(self.tensor)

    def batch(self, rows: Any) -> torch.Tensor:
        return self.tensor[rows]


def problem(kind: str = "mlp", dtype: type = np.float64) -> tuple[dict[str, Any], tuple[Stored, np.ndarray]]:
    """A small training and its queries."""
    rng = np.random.default_rng(0)
    shape = (WIDTH,) if kind == "mlp" else (1, 16, 16)
    if kind == "mlp":
        network: Network = build_mlp(shape, CLASSES, {"hidden": [6, 5], "head_seed": 1})
    else:
        network = build_small_cnn(shape, CLASSES, {"head_seed": 1})
    given = {
        "network": network.double() if dtype is np.float64 else network,
        "samples": Stored(rng.normal(size=(SAMPLES, *shape)).astype(dtype)),
        "labels": rng.integers(0, CLASSES, SAMPLES),
        "batches": [rng.choice(SAMPLES, rng.integers(2, 6), replace=False) for _ in range(STEPS)],
        "rates": (0.8 if kind == "mlp" else 0.1) / np.sqrt(1 + np.arange(STEPS)),
        "every": 3,
    }
    rows = Stored(rng.normal(size=(QUERIES, *shape)).astype(dtype))
    return given, (rows, rng.integers(0, CLASSES, QUERIES))


def losses(last: networks.Parameters, given: dict[str, Any], asked: Any) -> np.ndarray:
    logits = networks._logits(given["network"], last, asked[0].tensor)
    return cross_entropy(logits, torch.from_numpy(asked[1]), reduction="none").detach().numpy()


def by_automatic_differentiation(
    given: dict[str, Any], asked: Any, momentum: float = 0.0, decay: float = 0.0
) -> np.ndarray:
    """−dL_j/dw_i through the whole unrolled training."""
    network, x, y = given["network"], given["samples"].tensor, torch.from_numpy(given["labels"])
    weights = torch.ones(SAMPLES, dtype=torch.float64, requires_grad=True)
    names = network.trained
    state = [p.detach().clone().requires_grad_() for p in network.trained_parameters()]
    velocity = [torch.zeros_like(p) for p in state]
    for rows, rate in zip(given["batches"], given["rates"], strict=True):
        outputs = functional_call(network, dict(zip(names, state, strict=True)), (x[rows],))
        loss = (weights[rows] * cross_entropy(outputs, y[rows], reduction="none")).mean()
        loss = loss + decay / 2 * sum((p**2).sum() for p in state)
        gradient = torch.autograd.grad(loss, state, create_graph=True)
        velocity = [momentum * v + g for v, g in zip(velocity, gradient, strict=True)]
        state = [p - float(rate) * v for p, v in zip(state, velocity, strict=True)]
    outputs = functional_call(network, dict(zip(names, state, strict=True)), (asked[0].tensor,))
    each = cross_entropy(outputs, torch.from_numpy(asked[1]), reduction="none")
    return np.column_stack(
        [-torch.autograd.grad(loss, weights, retain_graph=True)[0].numpy() for loss in each]
    )


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("kind", ["mlp", "small_cnn"])
def test_it_is_the_derivative_through_the_unrolled_training(kind: str, form: dict[str, float]) -> None:
    given, asked = problem(kind)
    found = networks.influence_matrix(networks.record_training(**given, **form), *asked)
    expected = by_automatic_differentiation(given, asked, **form)
    assert np.abs(expected).max() > 1e-3
    assert np.abs(found - expected).max() <= 1e-8 * np.abs(expected).max()


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_it_is_the_slope_of_retraining(form: dict[str, float]) -> None:
    given, asked = problem()
    found = networks.influence_matrix(networks.record_training(**given, **form), *asked)
    for sample in range(SAMPLES):
        change = 1e-5 * np.eye(SAMPLES)[sample]
        up, down = (
            losses(networks.record_training(**given, **form, weights=1 + sign * change).last, given, asked)
            for sign in (1, -1)
        )
        np.testing.assert_allclose(found[sample], (down - up) / 2e-5, atol=1e-5 * np.abs(found).max())


def test_blocks_of_queries_and_marks_change_nothing() -> None:
    given, asked = problem()
    whole = networks.influence_matrix(networks.record_training(**given), *asked)
    parts = networks.influence_matrix(
        networks.record_training(**{**given, "every": 100}), *asked, memory_mib=1e-6
    )
    np.testing.assert_allclose(parts, whole, rtol=1e-10, atol=1e-14)


class Labelled(Stored):
    """Samples as a recorded step takes them."""

    def __init__(self, array: np.ndarray, labels: np.ndarray) -> None:
        super().__init__(array)
        self.labels = torch.from_numpy(labels)

    def batch(self, rows: Any, seeds: Any = None) -> Any:
        return self.tensor[rows], self.labels[rows]


def test_its_sum_over_validation_is_sgd_influence_of_all_steps() -> None:
    given, (rows, labels) = problem()
    network = given["network"]
    plan = make_plan(SAMPLES, epochs=2, batch_size=4, learning_rate=0.3, order_seed=0)
    batches = [part[part >= 0] for part in plan.batches]
    found = networks.influence_matrix(
        networks.record_training(network, given["samples"], given["labels"], batches, plan.rates),
        rows,
        labels,
    )
    samples = Labelled(given["samples"].tensor.numpy(), given["labels"])
    keep = np.empty((plan.steps, layout_of(network).width))
    trace = record(network, samples, plan, keep=keep)
    u = validation_gradient(network, trace.final, trace, rows, labels, 8)
    expected = sgd_influence(network, samples, trace, u, snapshots=Snapshots(trace, keep))[:, 0]
    np.testing.assert_allclose(found.mean(axis=1), expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())


SGD = {"learning_rate": 0.1, "batch_size": 4}


def cell(
    kind: str = "mlp", seed: int = 5, network: Network | None = None, epochs: int = 3
) -> EstimatorInputs:
    """A network that the workflow's own training has trained, with what the training kept."""
    given, (rows, labels) = problem(kind, np.float32)
    network = network or given["network"]
    parts = {"train": Part(given["samples"], given["labels"]), "validation": Part(rows, labels)}
    first, states = network.checkpoint(), []
    recorder = Recorder(
        network,
        parts,
        learning_rate=0.1,
        batch_size=4,
        evaluation_batch=8,
        device=torch.device("cpu"),
    )

    def after_epoch(epoch: int) -> None:
        states.append(network.checkpoint())
        recorder.record(epoch)

    device = torch.device("cpu")
    settings = {**SGD, "epochs": epochs}
    train(network, given["samples"], given["labels"], **settings, seed=5, device=device, on_epoch=after_epoch)
    network.restore(first)
    tensors = recorder.factors()
    torch_problem = Problem(network, states, given["samples"], rows)  # type: ignore[arg-type]
    return EstimatorInputs(
        lambda: assemble_factors(tensors), lambda: torch_problem, {**settings, "seed": seed}
    )


@pytest.mark.parametrize(("kind", "epochs"), [("mlp", 3), ("small_cnn", 3), ("mlp", 1)])
def test_the_estimator_of_a_cell_is_that_of_its_training_and_every_signal_is_made_from_it(
    kind: str, epochs: int
) -> None:
    inputs, (_, (rows, labels)) = cell(kind, epochs=epochs), problem(kind, np.float32)
    opened = metagradient.open_cell(inputs, {})
    ((_, matrix),) = opened.blocks()
    whole = networks.repeated(inputs)
    np.testing.assert_allclose(matrix, networks.influence_matrix(whole, rows, labels), rtol=1e-4, atol=1e-7)
    own = networks.influence_matrix(whole, whole.samples, whole.labels)
    np.testing.assert_allclose(opened.self_influence(), np.diagonal(own), rtol=1e-3, atol=1e-7)
    profiles = build_profiles(opened, whole.labels, labels)
    total = profiles.cumulative.positive + profiles.cumulative.negative
    np.testing.assert_allclose(total.sum(axis=1), matrix.sum(axis=1), rtol=1e-3, atol=1e-6)


def test_another_training_is_refused() -> None:
    with pytest.raises(GlitchtraceError, match="does not reach its checkpoints"):
        list(metagradient.open_cell(cell(seed=6), {}).blocks())


def test_a_network_that_draws_is_refused_in_one_line() -> None:
    settings = {"hidden": [5], "activation": "relu", "dropout": 0.2, "head_seed": 0}
    network = build_fullnet((WIDTH,), CLASSES, settings)
    with pytest.raises(GlitchtraceError, match=r"does not cover Dropout \(layer 'dropout'\)"):
        metagradient.open_cell(cell(network=network), {})


def test_a_walk_of_hours_is_refused_before_it_begins_and_one_of_minutes_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given, _ = problem()
    given["batches"], given["rates"] = given["batches"] * 100, np.full(100 * STEPS, 0.01)
    record_ = networks.record_training(**given)
    # 4·6 + 6·5 + 5·3 products of two operations each, six times per sample of a step and query; 6 ms a step.
    passed = sum(len(rows) for rows in given["batches"])
    seconds = 6 * 2 * 69 * passed * 1000 / 2e10 + 0.006 * 100 * STEPS
    assert networks.walk_minutes(record_, 1000) == pytest.approx(seconds / 60)
    networks.check_cost(record_, 10**6, "validation samples", 120)
    assert not caplog.messages
    networks.check_cost(record_, 10**9, "validation samples", 10**9)
    assert "validation samples takes about" in caplog.messages[0]
    with pytest.raises(
        GlitchtraceError, match=r"for self influence, takes about .* hours .*most_minutes \(120\)"
    ):
        networks.check_cost(record_, 10**9, "training samples, for self influence,", 120)


def test_the_setting_is_the_limit_of_the_estimator() -> None:
    opened = metagradient.open_cell(cell("mlp"), {"most_minutes": 1e-6})
    with pytest.raises(GlitchtraceError, match="raise it, take fewer samples or epochs"):
        opened.self_influence()


def test_what_does_not_fit_is_refused() -> None:
    given, _ = problem()
    with pytest.raises(GlitchtraceError, match="7 steps has 1 rates"):
        networks.record_training(**{**given, "rates": np.ones(1)})
    for changes, message in (
        ({"labels": given["labels"] + CLASSES}, f"labels must be integers from 0 to {CLASSES - 1}"),
        (
            {"batches": [np.array([SAMPLES])] * STEPS},
            rf"batches\[0\] names the rows {SAMPLES} to {SAMPLES} of",
        ),
        ({"weights": np.ones(2)}, r"weights of shape \(2,\)"),
    ):
        with pytest.raises(GlitchtraceError, match=message):
            networks.record_training(**{**given, **changes})
    with pytest.raises(GlitchtraceError, match="diverged before step 3 at learning rate"):
        networks.record_training(**{**given, "rates": np.full(STEPS, 1e200)})

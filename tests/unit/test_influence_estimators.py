"""The three estimators on a small trained network: against captum, against each other, option by option."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from captum.influence import TracInCP, TracInCPFast
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.preprocess import Inputs
from glitchtrace.influence.estimator import Checkpoint, Estimator, EstimatorInputs, Problem
from glitchtrace.influence.factors import Factors, Part
from glitchtrace.influence.per_sample import PerSampleInfluence, Samples, parameters_of
from glitchtrace.influence.profile import build_profiles
from glitchtrace.models.network import Network

SAMPLES, VALIDATION, CLASSES, RATES = 40, 15, 3, (0.3, 0.2, 0.1)


class Rows(Inputs):
    def batch(self, rows: np.ndarray | slice) -> Tensor:
        return torch.from_numpy(self._stored[rows])


class Convolutions(Network):
    """Two convolution layers with BatchNorm, pooled; the second and the head are trained."""

    last_block = "block"

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3)
        self.block = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, CLASSES)
        self.train_only(["block", "head"])

    def features(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.block(torch.relu(self.stem(x))).mean(dim=(2, 3))
        return pooled


@cache
def cell() -> EstimatorInputs:
    """A network trained for three epochs, with its checkpoints and factors."""
    rng = np.random.default_rng(8)
    labels = {"train": rng.integers(0, CLASSES, SAMPLES), "validation": rng.integers(0, CLASSES, VALIDATION)}
    inputs = {
        name: Rows((rng.normal(size=(len(y), 1, 6, 6)) + y[:, None, None, None]).astype(np.float32))
        for name, y in labels.items()
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Convolutions()
    checkpoints, outputs = [], {name: ([], []) for name in labels}  # type: ignore[var-annotated]
    for rate in RATES:
        network.train()
        loss = nn.functional.cross_entropy(
            network(inputs["train"].batch(slice(None))), torch.from_numpy(labels["train"])
        )
        network.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in network.trained_parameters():
                parameter -= rate * parameter.grad
        network.eval()
        checkpoints.append(network.checkpoint())
        for name, (features, probabilities) in outputs.items():
            with torch.no_grad():
                hidden = network.features(inputs[name].batch(slice(None)))
                features.append(hidden.numpy())
                probabilities.append(network.head(hidden).softmax(dim=1).numpy())
    train, validation = (
        Part(tuple(features), tuple(probabilities), labels[name])
        for name, (features, probabilities) in outputs.items()
    )
    factors = Factors(np.array(RATES), 8, train, validation)
    problem = Problem(network, checkpoints, inputs["train"], inputs["validation"])
    return EstimatorInputs(lambda: factors, lambda: problem)


def opened(name: str = "tracin", **settings: Any) -> Estimator:
    estimator: Estimator = registry.load("estimator", name).open_cell(cell(), settings)
    return estimator


def matrix(estimator: Estimator, *arguments: Any) -> np.ndarray:
    return np.concatenate([block for _, block in estimator.blocks(*arguments)])


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def captum_oracle(
    construct: Callable[..., Any], labels: np.ndarray, **arguments: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Matrix (n, m) and self influence by captum, called as its documentation says, with our learning
    rates.
    """
    problem = cell().problem

    def restore(network: Network, epoch: int) -> float:
        network.restore(problem.checkpoints[epoch])
        network.eval()
        return RATES[epoch]

    instance = construct(
        problem.network,
        train_dataset=TensorDataset(problem.train.batch(slice(None)), torch.from_numpy(labels)),
        checkpoints=range(3),
        checkpoints_load_func=restore,
        batch_size=SAMPLES,
        **arguments,
    )
    validation = (
        problem.validation.batch(slice(None)),
        torch.from_numpy(cell().factors.validation.labels),
    )
    return instance.influence(validation).detach().numpy().T, instance.self_influence().detach().numpy()


@cache
def full_oracle() -> tuple[np.ndarray, np.ndarray]:
    return captum_oracle(
        TracInCP, cell().factors.train.labels, layers=["head"], loss_fn=nn.CrossEntropyLoss(reduction="none")
    )


@cache
def fast_oracle() -> tuple[np.ndarray, np.ndarray]:
    return captum_oracle(
        TracInCPFast,
        cell().factors.train.labels,
        final_fc_layer=cell().problem.network.head,
        loss_fn=nn.CrossEntropyLoss(reduction="sum"),
    )


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tracin", {}),
        ("tracin", {"memory_mib": 0.001}),
        ("tracin", {"layers": ["head"]}),
        ("tracin", {"layers": ["head"], "gradient_memory_mib": 0.0005, "batch": 7}),
        ("captum_tracincp", {}),
        ("captum_tracincp", {"memory_mib": 0.0005, "batch": 7}),
    ],
)
def test_head_with_bias_equals_captum(name: str, settings: dict[str, Any]) -> None:
    estimator = opened(name, **settings)
    assert_close(matrix(estimator), full_oracle()[0])
    assert_close(estimator.self_influence(), full_oracle()[1])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tracin", {"include_bias": False}),
        ("tracin", {"layers": ["head"], "include_bias": False}),
        ("captum_tracincp_fast", {}),
        ("captum_tracincp_fast", {"memory_mib": 0.0005, "batch": 7}),
    ],
)
def test_head_without_bias_equals_captum(name: str, settings: dict[str, Any]) -> None:
    estimator = opened(name, **settings)
    assert_close(matrix(estimator), fast_oracle()[0])
    assert_close(estimator.self_influence(), fast_oracle()[1])


EVERY = pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tracin", {}),
        ("tracin", {"layers": ["block", "head"], "gradient_memory_mib": 0.005, "batch": 6}),
        ("captum_tracincp", {}),
        ("captum_tracincp_fast", {}),
    ],
)


@EVERY
def test_epochs_alone_add_up(name: str, settings: dict[str, Any]) -> None:
    estimator = opened(name, **settings)
    alone = np.zeros((3, SAMPLES, VALIDATION))
    for rows, epoch, block in estimator.epoch_blocks():
        alone[epoch, rows] = block
    assert_close(alone.sum(axis=0), matrix(estimator))
    assert_close(alone[1], matrix(estimator, None, (1,)))
    assert_close(matrix(opened(name, **settings, epochs=[2])), alone[1])
    selves = estimator.self_influence_per_epoch()
    assert_close(opened(name, **settings, epochs=[2]).self_influence(), selves[1])
    assert_close(estimator.self_influence(), selves.sum(axis=0))


@EVERY
def test_division_by_the_batch_size(name: str, settings: dict[str, Any]) -> None:
    divided = opened(name, **settings, divide_by_batch_size=True)
    assert_close(matrix(divided) * 8, matrix(opened(name, **settings)))
    assert_close(divided.self_influence() * 8, opened(name, **settings).self_influence())


def test_counterfactual_labels_agree() -> None:
    labels = (cell().factors.train.labels + 1) % CLASSES
    expected = captum_oracle(
        TracInCP, labels, layers=["head"], loss_fn=nn.CrossEntropyLoss(reduction="none")
    )[0]
    for name, settings in (("tracin", {}), ("tracin", {"layers": ["head"]}), ("captum_tracincp", {})):
        assert_close(matrix(opened(name, **settings), labels), expected)


def test_all_layers_equal_gradients_by_autograd() -> None:
    """Sum over checkpoints of products of gradients, one backward pass per sample."""
    problem, factors = cell().problem, cell().factors
    network, names = problem.network, parameters_of(problem.network, ["block", "head"])
    expected, selves = np.zeros((SAMPLES, VALIDATION)), np.zeros(SAMPLES)
    for checkpoint, rate in zip(problem.checkpoints, RATES, strict=True):
        network.restore(checkpoint)
        network.eval()
        sides = []
        for inputs, labels in (
            (problem.train, factors.train.labels),
            (problem.validation, factors.validation.labels),
        ):
            rows = []
            for i, label in enumerate(labels):
                loss = nn.functional.cross_entropy(
                    network(inputs.batch(slice(i, i + 1))), torch.tensor([label])
                )
                found = torch.autograd.grad(loss, [network.get_parameter(name) for name in names])
                rows.append(torch.cat([gradient.flatten() for gradient in found]))
            sides.append(torch.stack(rows).numpy())
        expected += rate * sides[0] @ sides[1].T
        selves += rate * (sides[0] ** 2).sum(axis=1)
    estimator = opened(layers=["block", "head"], batch=16)
    assert_close(matrix(estimator), expected)
    assert_close(estimator.self_influence(), selves)
    assert np.abs(matrix(estimator) - matrix(opened())).max() > 0.01 * np.abs(expected).max()


def test_parameters_of_layers() -> None:
    network = Convolutions()
    assert parameters_of(network, ["block"]) == ["block.0.weight", "block.1.weight", "block.1.bias"]
    assert parameters_of(network, ["block.1", "head"], include_bias=False) == [
        "block.1.weight",
        "head.weight",
    ]
    for layer in ("tail", "blo", "block.2"):
        with pytest.raises(GlitchtraceError, match=f"no layer '{layer}' .*stem, block, head"):
            parameters_of(network, [layer])


def test_general_path_leaves_the_network_as_it_is() -> None:
    problem = cell().problem
    estimator = PerSampleInfluence(
        problem.network,
        [Checkpoint(problem.checkpoints[2], 0.1)],
        Samples(problem.train, cell().factors.train.labels),
        Samples(problem.validation, cell().factors.validation.labels),
        layers=["block"],
    )
    estimator.self_influence()
    after = problem.network.checkpoint()
    for name, tensor in problem.checkpoints[2].items():
        np.testing.assert_array_equal(after[name], tensor)


def test_last_block_input_equals_its_formula() -> None:
    """(a·a′)(e·e′) at the last checkpoint, with a the flattened input of the block and no bias."""
    problem, factors = cell().problem, cell().factors
    labels = (factors.train.labels + 1) % CLASSES
    network = problem.network
    network.restore(problem.checkpoints[2])
    network.eval()
    with torch.no_grad():
        a, other_a = (
            torch.relu(network.get_submodule("stem")(inputs.batch(slice(None)))).flatten(1).numpy()
            for inputs in (problem.train, problem.validation)
        )
    e = factors.train.probabilities[2] - np.eye(CLASSES)[labels]
    other_e = factors.validation.probabilities[2] - np.eye(CLASSES)[factors.validation.labels]
    found = matrix(opened(counterfactual_features="last_block_input", batch=9), labels, (2,))
    assert_close(found, RATES[2] * (e @ other_e.T) * (a @ other_a.T))


def test_last_block_input_leaves_the_influence_itself() -> None:
    np.testing.assert_array_equal(
        matrix(opened(counterfactual_features="last_block_input")), matrix(opened())
    )


@pytest.mark.parametrize("other", [{"counterfactual_epochs": "all"}, {"layers": ["head"]}])
def test_last_block_input_contradicts_other_settings(other: dict[str, Any]) -> None:
    with pytest.raises(
        GlitchtraceError, match="last_block_input needs counterfactual_epochs: last and layers"
    ):
        opened(counterfactual_features="last_block_input", **other)


def test_last_block_input_needs_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Convolutions, "last_block", None)
    labels = cell().factors.train.labels
    with pytest.raises(GlitchtraceError, match="counterfactual_features: this network has no last block"):
        matrix(opened(counterfactual_features="last_block_input"), labels, (2,))


def test_counterfactual_bias() -> None:
    labels = (cell().factors.train.labels + 1) % CLASSES
    for layers in ("head", ["head"]):
        without = opened(layers=layers, counterfactual_include_bias=False)
        assert_close(matrix(without), matrix(opened()))
        assert_close(
            matrix(without, labels),
            matrix(opened(include_bias=False, counterfactual_include_bias=False), labels),
        )
        assert np.abs(matrix(without, labels) - matrix(opened(), labels)).max() > 1e-4


@pytest.mark.parametrize("name", ["captum_tracincp", "captum_tracincp_fast"])
def test_profiles_of_captum_equal_ours(name: str) -> None:
    factors = cell().factors
    bias = name == "captum_tracincp"
    ours = build_profiles(
        opened(include_bias=bias, counterfactual_include_bias=bias),
        factors.train.labels,
        factors.validation.labels,
    )
    found = build_profiles(opened(name), factors.train.labels, factors.validation.labels)
    np.testing.assert_array_equal(found.negative_label, ours.negative_label)
    np.testing.assert_array_equal(found.positive_label, ours.positive_label)
    for table in ("cumulative", "counterfactual_negative", "counterfactual_positive"):
        assert_close(getattr(found, table).positive, getattr(ours, table).positive)
        assert_close(getattr(found, table).negative, getattr(ours, table).negative)


@pytest.mark.parametrize("name", registry.names("estimator"))
def test_unknown_setting(name: str) -> None:
    with pytest.raises(
        GlitchtraceError, match=rf"estimators\.{name}\.layer: unknown setting; known: .*epochs"
    ):
        opened(name, layer="head")


@pytest.mark.parametrize("name", registry.names("estimator"))
def test_cards_describe_every_setting(name: str) -> None:
    for setting in registry.settings("estimator", name).values():
        assert {"description", "default"} <= setting.keys()


def test_checkpoints_of_another_training() -> None:
    problem = cell().problem
    short = Problem(problem.network, problem.checkpoints[:2], problem.train, problem.validation)
    inputs = EstimatorInputs(lambda: cell().factors, lambda: short)
    with pytest.raises(
        GlitchtraceError, match=r"holds 2 epochs, factors\.safetensors 3; train the cell again"
    ):
        registry.load("estimator", "tracin").open_cell(inputs, {"layers": ["head"]})


# A Krylov space of all 15 weights and all eigenvectors: nothing is approximated.
ARNOLDI = {"projection": 15, "krylov": 15, "damping": 0.4}


def test_arnoldi_on_the_whole_space_is_the_inverse_hessian_of_the_head() -> None:
    expected = opened("influence_functions", damping=ARNOLDI["damping"] / SAMPLES)
    other = (cell().factors.train.labels + 1) % CLASSES
    for settings in ({}, {"layers": ["head"], "batch": 7, "memory_mib": 1e-3}):
        found = opened("captum_arnoldi", **ARNOLDI, **settings)
        assert_close(matrix(found), matrix(expected), 1e-4)
        assert_close(matrix(found, other), matrix(expected, other), 1e-4)
        assert_close(found.self_influence(), expected.self_influence(), 1e-4)


def test_arnoldi_draws_the_same_whatever_was_drawn_before() -> None:
    settings = {**ARNOLDI, "projection": 3, "krylov": 6}
    found = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            found.append(matrix(opened("captum_arnoldi", **settings)))
    assert np.array_equal(*found)
    # Three directions of fifteen are less than all.
    assert np.abs(found[0] - matrix(opened("captum_arnoldi", **ARNOLDI))).max() > 1e-3
    with pytest.raises(GlitchtraceError, match="no layer 'tail'"):
        opened("captum_arnoldi", layers=["tail"])
    with pytest.raises(GlitchtraceError, match="divide_by_batch_size: there is no learning rate"):
        opened("captum_arnoldi", divide_by_batch_size=True)

"""The classifiers of the loop: passes, training and derivatives against PyTorch."""

import numpy as np
import pytest
import torch
from torch import nn

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.convolutional import ConvolutionalPasses
from glitchtrace.papers.cincer.curvature import dense_hessian
from glitchtrace.papers.cincer.dense import DenseNetwork
from glitchtrace.papers.cincer.gradients import FactoredGradients, expand_classes
from glitchtrace.papers.cincer.settings import TrainingSettings
from glitchtrace.papers.cincer.stage import build_classifier
from glitchtrace.papers.cincer.torch_classifier import AutogradPasses, TorchClassifier
from glitchtrace.training.optimisers import ArrayAdam

DEFAULTS = {
    name: {key: value["default"] for key, value in registry.settings("model", name).items()}
    for name in ("logreg", "kernel_logreg", "fullnet", "convnet")
}


def data(samples: int = 50, inputs: int = 6, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(samples, inputs)), rng.integers(0, classes, samples)


def twin(network: DenseNetwork) -> nn.Sequential:
    """The same network in PyTorch, float64, without dropout."""
    activation = nn.Tanh if network.activation == "tanh" else nn.ReLU
    modules: list[nn.Module] = []
    for place, layer in enumerate(network.layers(network.parameters)):
        linear = nn.Linear(layer.shape[0] - 1, layer.shape[1], dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(layer[:-1].T.copy()))
            linear.bias.copy_(torch.from_numpy(layer[-1].copy()))
        modules += ([activation()] if place else []) + [linear]
    return nn.Sequential(*modules)


def flat(module: nn.Module) -> np.ndarray:
    """Parameters in our order: kernel (in, out), bias."""
    parts = [p.detach().numpy().T.ravel() for p in module.parameters()]
    return np.concatenate(parts)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize(("epochs", "tolerance"), [(1, 1e-6), (100, 1e-5)])
def test_steps_of_adam_agree_with_pytorch(activation: str, epochs: int, tolerance: float) -> None:
    inputs, labels = data(samples=32)
    training = TrainingSettings(epochs=epochs, batch_size=32)
    network = DenseNetwork([6, 16, 8, 3], activation=activation, training=training, dtype=np.float64)
    other = twin(network)
    optimiser = torch.optim.Adam(other.parameters(), lr=1e-3, eps=1e-7)
    for _ in range(epochs):
        optimiser.zero_grad()
        nn.functional.cross_entropy(other(torch.from_numpy(inputs)), torch.from_numpy(labels)).backward()
        optimiser.step()
    network.fit(inputs, labels, np.random.default_rng(0))
    np.testing.assert_allclose(network.parameters, flat(other), rtol=0, atol=tolerance)
    assert np.abs(network.parameters - network.initial).max() > 5e-4 * min(epochs, 10)


def test_mini_batches_and_dropout_agree_with_pytorch() -> None:
    inputs, labels = data(samples=50)
    network = DenseNetwork(
        [6, 16, 8, 3], dropout=0.3, training=TrainingSettings(epochs=4, batch_size=16), dtype=np.float64
    )
    other = twin(network)
    optimiser = torch.optim.Adam(other.parameters(), lr=1e-3, eps=1e-7)
    rng = np.random.default_rng(7)
    for _ in range(4):
        order = rng.permutation(50)
        masks = network.masks(4, 16, rng)
        assert masks is not None
        for step in range(4):
            rows = order[16 * step : 16 * step + 16]
            value = torch.from_numpy(inputs[rows])
            for place, module in enumerate(other):
                value = module(value)
                if place % 2:
                    value = value * torch.from_numpy(masks[place // 2][step][:, : len(rows)].T.copy())
            optimiser.zero_grad()
            nn.functional.cross_entropy(value, torch.from_numpy(labels[rows])).backward()
            optimiser.step()
    network.fit(inputs, labels, np.random.default_rng(7))
    np.testing.assert_allclose(network.parameters, flat(other), rtol=0, atol=1e-10)
    assert {0.0, 1 / 0.7} == set(np.unique(masks[0]))


def test_float32_follows_float64() -> None:
    inputs, labels = data()
    found = []
    for dtype in (np.float32, np.float64):
        network = DenseNetwork([6, 16, 3], training=TrainingSettings(epochs=20), dtype=dtype)
        network.fit(inputs, labels, np.random.default_rng(0))
        found.append(network.probabilities(inputs))
    np.testing.assert_allclose(found[0], found[1], atol=2e-5)
    assert found[0].dtype == np.float64


def test_long_fits_do_not_overflow_the_scaled_moments() -> None:
    inputs, labels = data(samples=8)
    network = DenseNetwork([6, 3], training=TrainingSettings(epochs=3000, batch_size=8), dtype=np.float64)
    other = twin(network)
    optimiser = torch.optim.Adam(other.parameters(), lr=1e-3, eps=1e-7)
    for _ in range(3000):
        optimiser.zero_grad()
        nn.functional.cross_entropy(other(torch.from_numpy(inputs)), torch.from_numpy(labels)).backward()
        optimiser.step()
    network.fit(inputs, labels, np.random.default_rng(0))
    np.testing.assert_allclose(network.parameters, flat(other), atol=1e-5)


def test_a_fit_starts_from_the_initial_weights_unless_warm() -> None:
    inputs, labels = data()
    cold = DenseNetwork([6, 4, 3], training=TrainingSettings(epochs=2))
    for _ in range(2):
        cold.fit(inputs, labels, np.random.default_rng(0))
    once = cold.parameters.copy()
    cold.fit(inputs, labels, np.random.default_rng(0))
    np.testing.assert_array_equal(cold.parameters, once)
    warm = DenseNetwork([6, 4, 3], training=TrainingSettings(epochs=2, warm=True))
    warm.fit(inputs, labels, np.random.default_rng(0))
    before = warm.snapshot()
    warm.fit(inputs, labels, np.random.default_rng(1))
    moved = warm.parameters.copy()
    assert not np.array_equal(moved, once)
    warm.restore(before)
    warm.fit(inputs, labels, np.random.default_rng(1))
    np.testing.assert_array_equal(warm.parameters, moved)


def make_classifier(kind: str, **training: object):
    """A network of two hidden layers (dense) or the convolutional one (torch), for ``samples_of(kind)``."""
    settings = TrainingSettings(**{"batch_size": 16, **training})  # type: ignore[arg-type]
    if kind == "dense":
        return DenseNetwork([6, 16, 8, 3], training=settings)
    return build_classifier("convnet", DEFAULTS["convnet"], shape=(10, 10), classes=3, training=settings)


def samples_of(kind: str) -> tuple[np.ndarray, np.ndarray]:
    inputs, labels = data(inputs=6 if kind == "dense" else 100)
    return inputs.reshape(50, *((6,) if kind == "dense" else (10, 10))), labels


def assert_same(found: object, expected: object) -> None:
    """Equality of snapshots."""
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, np.ndarray | torch.Tensor):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    elif isinstance(expected, ArrayAdam):
        kept = {"steps", "_power1", "_power2", "_first", "_second"}
        assert_same({k: vars(found)[k] for k in kept}, {k: vars(expected)[k] for k in kept})
    else:
        assert found == expected


@pytest.mark.parametrize("kind", ["dense", "torch"])
@pytest.mark.parametrize("warm", [False, True])
def test_a_diverged_fit_names_epoch_and_learning_rate_and_changes_nothing(kind: str, warm: bool) -> None:
    inputs, labels = samples_of(kind)
    classifier = make_classifier(kind, epochs=3, warm=warm)
    for fits in range(2):
        before = classifier.snapshot()
        spoilt = inputs.copy()
        spoilt[7] = np.nan
        with pytest.raises(
            GlitchtraceError, match=r"diverged in epoch 1 at learning rate 0\.001; lower"
        ) as caught:
            classifier.fit(spoilt, labels, np.random.default_rng(0))
        assert "\n" not in str(caught.value)
        assert_same(classifier.snapshot(), before)
        classifier.fit(inputs, labels, np.random.default_rng(fits))
    once = make_classifier(kind, epochs=3, warm=warm)
    for fits in range(2):
        once.fit(inputs, labels, np.random.default_rng(fits))
    assert_same(classifier.snapshot(), once.snapshot())


@pytest.mark.parametrize("kind", ["dense", "torch"])
@pytest.mark.parametrize(("epochs", "batch"), [(1, 50), (2, 16), (50, 16)])
def test_a_learning_rate_without_measure_is_an_error(kind: str, epochs: int, batch: int) -> None:
    inputs, labels = samples_of(kind)
    classifier = make_classifier(kind, epochs=epochs, batch_size=batch, learning_rate=1e20)
    with pytest.raises(GlitchtraceError, match=r"diverged in epoch 1 at learning rate 1e\+20"):
        classifier.fit(inputs, labels, np.random.default_rng(0))


def test_early_stopping_ends_at_the_training_accuracy() -> None:
    inputs, _ = data()
    labels = (inputs[:, 0] > 0).astype(np.int64)
    network = DenseNetwork(
        [6, 2], training=TrainingSettings(epochs=5000, learning_rate=0.01, stop_accuracy=0.9)
    )
    network.fit(inputs, labels, np.random.default_rng(0))
    accuracy = (network.probabilities(inputs).argmax(axis=1) == labels).mean()
    assert 0.9 <= accuracy < 1


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_gradients_and_hessian_products_agree_with_autograd(activation: str) -> None:
    inputs, labels = data(samples=7)
    network = DenseNetwork([6, 5, 4, 3], activation=activation, dtype=np.float64)
    other = twin(network)
    rows, classes = expand_classes(7, 3)
    ours = network.gradients(inputs, rows, classes)
    for place, (row, label) in enumerate(zip(rows, classes, strict=True)):
        other.zero_grad()
        other(torch.from_numpy(inputs[[row]])).log_softmax(dim=1)[0, label].backward()
        expected = np.concatenate([p.grad.numpy().T.ravel() for p in other.parameters()])
        np.testing.assert_allclose(ours.vectors()[place], expected, atol=1e-12)

    def loss(parameters: torch.Tensor) -> torch.Tensor:
        value, start = torch.from_numpy(inputs), 0
        for layer in network.layers(network.parameters):
            stop = start + layer.size
            matrix = parameters[start:stop].reshape(layer.shape)
            value = value @ matrix[:-1] + matrix[-1]
            if stop < parameters.numel():
                value = torch.tanh(value) if activation == "tanh" else torch.relu(value)
            start = stop
        return nn.functional.cross_entropy(value, torch.from_numpy(labels))

    expected = torch.autograd.functional.hessian(loss, torch.from_numpy(network.parameters.copy())).numpy()
    found = dense_hessian(lambda v: network.hessian_product(inputs, labels, v), len(expected))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_factored_gradients_agree_with_their_vectors() -> None:
    inputs, _ = data(samples=5)
    network = DenseNetwork([6, 4, 3], dtype=np.float64)
    rows, labels = expand_classes(5, 3)
    gradients = network.gradients(inputs, rows, labels)
    vectors = gradients.vectors()
    other = gradients.take(np.array([1, 4, 9]))
    assert isinstance(other, FactoredGradients)
    np.testing.assert_allclose(gradients.dot(other), vectors @ other.vectors().T, atol=1e-13)
    sizes = np.cumsum([24, 4, 12])
    blocks = zip(np.split(vectors, sizes, axis=1), np.split(other.vectors(), sizes, axis=1), strict=True)
    for found, (mine, theirs) in zip(gradients.tensor_dots(other), blocks, strict=True):
        np.testing.assert_allclose(found, mine @ theirs.T, atol=1e-13)
    weights = np.random.default_rng(0).random(len(rows))
    np.testing.assert_allclose(gradients.mean_square(weights), weights @ vectors**2, atol=1e-13)
    np.testing.assert_allclose(gradients.times(vectors[:2]), vectors @ vectors[:2].T, atol=1e-13)
    assert gradients.parameters == vectors.shape[1]


# --- models by name ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "shape", "parameters"),
    [
        ("fullnet", (28, 28), 52650),
        ("fullnet", (30,), 2114 + 2016),
        ("logreg", (28, 28), 7850),
        ("kernel_logreg", (4,), 170),
    ],
)
def test_dense_models_have_the_published_sizes(model: str, shape: tuple[int, ...], parameters: int) -> None:
    classes = 2 if shape == (30,) else 10
    network = build_classifier(
        model, DEFAULTS[model], shape=shape, classes=classes, training=TrainingSettings(epochs=1)
    )
    assert isinstance(network, DenseNetwork)
    assert network.parameters.size == parameters


def test_products_of_too_many_inputs_are_refused() -> None:
    with pytest.raises(GlitchtraceError, match="use logreg"):
        build_classifier(
            "kernel_logreg", DEFAULTS["kernel_logreg"], shape=(784,), classes=10, training=TrainingSettings()
        )


@pytest.mark.parametrize(("model", "shape"), [("fullnet", (6,)), ("kernel_logreg", (6,)), ("logreg", (6,))])
def test_our_passes_are_those_of_the_registered_model(model: str, shape: tuple[int, ...]) -> None:
    inputs, _ = data()
    ours = build_classifier(
        model, DEFAULTS[model], shape=shape, classes=3, training=TrainingSettings(), bits=64
    )
    assert isinstance(ours, DenseNetwork)
    network = registry.load("model", model).build(shape, 3, DEFAULTS[model]).double().eval()
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    linear = [layer for layer in linear if layer is not network.head] + [network.head]
    parts = [p.detach().numpy().T.ravel() for layer in linear for p in (layer.weight, layer.bias)]
    ours.parameters[:] = np.concatenate(parts)
    with torch.no_grad():
        expected = network(torch.from_numpy(inputs)).softmax(dim=1).numpy()
    np.testing.assert_allclose(ours.probabilities(inputs), expected, atol=1e-12)


@pytest.fixture(scope="module")
def convolutional():
    classifier = build_classifier(
        "convnet",
        DEFAULTS["convnet"],
        shape=(10, 10),
        classes=3,
        training=TrainingSettings(epochs=1),
        bits=64,
    )
    rng = np.random.default_rng(0)
    inputs, labels = rng.random((20, 10, 10)) - 0.5, rng.integers(0, 3, 20)
    classifier.fit(inputs, labels, rng)
    return classifier, inputs, labels


@pytest.mark.parametrize("shape", [(10, 11), (13, 12, 3)])
@pytest.mark.parametrize(("epochs", "tolerance"), [(1, 1e-6), (100, 1e-5)])
def test_convolutional_passes_agree_with_automatic_differentiation(
    shape: tuple[int, ...], epochs: int, tolerance: float
) -> None:
    rng = np.random.default_rng(0)
    inputs, labels = rng.random((32, *shape)) - 0.5, rng.integers(0, 3, 32)
    inputs[:, :5] = -0.5  # windows of equal values, of which the first gets the gradient
    found = []
    for passes in (ConvolutionalPasses, AutogradPasses):
        network = registry.load("model", "convnet").build(
            (shape[2] if len(shape) == 3 else 1, *shape[:2]), 3, DEFAULTS["convnet"]
        )
        classifier = TorchClassifier(
            network, classes=3, training=TrainingSettings(epochs=epochs), dtype=np.float64, passes=passes
        )
        # The same draws, of dropout too.
        classifier.fit(inputs, labels, np.random.default_rng(1))
        parameters = nn.utils.parameters_to_vector(network.parameters()).detach().numpy()
        found.append((parameters, classifier.probabilities(inputs)))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def test_convolutional_passes_take_batches_of_any_size() -> None:
    rng = np.random.default_rng(0)
    pictures, labels = torch.from_numpy(rng.random((9, 1, 10, 10))), torch.from_numpy(rng.integers(0, 3, 9))
    settings = {**DEFAULTS["convnet"], "dropout": 0.0}
    network = registry.load("model", "convnet").build((1, 10, 10), 3, settings).double()
    ours, theirs = ConvolutionalPasses(network), AutogradPasses(network)
    for count in (2, 9, 1, 4):
        found = []
        for passes in (ours, theirs):
            passes.backward(passes.prepare(pictures[:count]), labels[:count])
            gradients = [parameter.grad for parameter in network.trained_parameters()]
            for gradient, parameter in zip(gradients, network.trained_parameters(), strict=True):
                assert gradient.stride() == parameter.stride()
            found.append(torch.cat([gradient.flatten() for gradient in gradients]).numpy())
        np.testing.assert_allclose(*found, rtol=0, atol=1e-12)


def test_a_network_of_the_house_has_the_derivatives_of_autograd(convolutional) -> None:
    classifier, inputs, labels = convolutional
    rows, classes = expand_classes(3, 3)
    gradients = classifier.gradients(inputs[:3], rows, classes)
    network = classifier.network
    parameters = network.trained_parameters()
    for place in (0, 4, 8):
        logits = network(torch.from_numpy(inputs[rows[place], None, None]))
        found = torch.autograd.grad(logits.log_softmax(dim=1)[0, classes[place]], parameters)
        expected = torch.cat([part.flatten() for part in found]).numpy()
        np.testing.assert_allclose(gradients.vectors()[place], expected, atol=1e-10)
    top = classifier.gradients(inputs[:3], rows, classes, top=True)
    np.testing.assert_allclose(top.vectors()[:, -3:], gradients.vectors()[:, -3:], atol=1e-10)
    np.testing.assert_allclose(
        np.linalg.norm(top.vectors(), axis=1),
        np.linalg.norm(gradients.vectors()[:, -3 * 65 :], axis=1),
        atol=1e-10,
    )
    vector = np.random.default_rng(1).normal(size=gradients.parameters)
    step = 1e-8  # small, so that no unit changes its side
    before = classifier.snapshot()

    def loss_gradient(sign: float) -> np.ndarray:
        moved = torch.nn.utils.parameters_to_vector(parameters).detach() + sign * step * torch.from_numpy(
            vector
        )
        torch.nn.utils.vector_to_parameters(moved, parameters)
        loss = nn.functional.cross_entropy(
            network(torch.from_numpy(inputs[:, None])), torch.from_numpy(labels)
        )
        found = torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)]).numpy()
        classifier.restore(before)
        return found

    expected = (loss_gradient(1) - loss_gradient(-1)) / (2 * step)
    np.testing.assert_allclose(classifier.hessian_product(inputs, labels, vector), expected, atol=1e-6)


def test_a_network_of_the_house_is_reproducible_and_restored(convolutional) -> None:
    classifier, inputs, labels = convolutional
    classifier.fit(inputs, labels, np.random.default_rng(5))
    before = classifier.snapshot()
    first = classifier.probabilities(inputs)
    classifier.fit(inputs, labels, np.random.default_rng(6))
    assert not np.array_equal(classifier.probabilities(inputs), first)
    classifier.restore(before)
    np.testing.assert_array_equal(classifier.probabilities(inputs), first)
    classifier.fit(inputs, labels, np.random.default_rng(5))
    np.testing.assert_array_equal(classifier.probabilities(inputs), first)


def test_gradients_that_do_not_fit_in_memory_are_refused(convolutional) -> None:
    classifier, inputs, _ = convolutional
    rows = np.zeros(200_000, dtype=np.int64)
    with pytest.raises(GlitchtraceError, match="take top_fisher"):
        classifier.gradients(inputs[:1], rows, rows)

import numpy as np
import pytest
import torch

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.ekfac import dense_layers
from glitchtrace.models.dense import build_linear, build_mlp
from glitchtrace.models.network import Head, Network

SETTINGS = {"hidden": [6, 5], "head_seed": 42}


def small_mlp(seed: int = 42) -> Network:
    return build_mlp((4,), 3, {**SETTINGS, "head_seed": seed})


@pytest.mark.parametrize("build", [build_linear, build_mlp])
def test_a_vector_model_has_logits_of_its_head_on_its_features(build):
    network = build((4,), 3, SETTINGS)
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    features = network.features(x)
    assert features.shape == (7, network.head.in_features)
    expected = features @ network.head.weight.T + network.head.bias
    torch.testing.assert_close(network(x), expected)
    assert network(x).shape == (7, 3)


@pytest.mark.parametrize("build", [build_linear, build_mlp])
def test_a_vector_model_refuses_pictures(build):
    with pytest.raises(GlitchtraceError, match="takes vectors"):
        build((1, 8, 8), 3, SETTINGS)


def test_linear_features_are_the_inputs_and_mlp_features_are_its_hidden_layers():
    x = torch.tensor([[1.0, -2.0, 3.0, 0.5]])
    assert torch.equal(build_linear((4,), 3, SETTINGS).features(x), x)
    network = small_mlp()
    values = x.numpy()
    for layer in network.hidden:
        values = np.maximum(values @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0)
    np.testing.assert_allclose(network.features(x).detach().numpy(), values, rtol=1e-5)


@pytest.mark.parametrize("build", [build_linear, build_mlp])
def test_the_head_starts_as_torch_does_right_after_seeding(build):
    network = build((4,), 3, SETTINGS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(42)
        expected = torch.nn.Linear(network.head.in_features, 3)
    assert torch.equal(network.head.weight, expected.weight)
    assert torch.equal(network.head.bias, expected.bias)
    other = build((4,), 3, {**SETTINGS, "head_seed": 43})
    assert not torch.equal(network.head.weight, other.head.weight)


@pytest.mark.parametrize("build", [build_linear, build_mlp])
def test_building_leaves_the_global_generator_alone(build):
    before = torch.random.get_rng_state()
    build((4,), 3, SETTINGS)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_trained_names_are_the_parameters_that_require_a_gradient():
    network = small_mlp()
    network.train_only(["hidden.1", "head"])
    assert network.trained == ("hidden.1.weight", "hidden.1.bias", "head.weight", "head.bias")
    assert [name for name, p in network.named_parameters() if p.requires_grad] == list(network.trained)
    assert [id(p) for p in network.trained_parameters()] == [
        id(network.get_parameter(name)) for name in network.trained
    ]


@pytest.mark.parametrize("layer", ["hidden.7", "hid", "head.weight.x"])
def test_an_unknown_trainable_layer_is_named(layer):
    with pytest.raises(GlitchtraceError, match=f"trainable_layers: .*'{layer}'.*known: hidden, head"):
        small_mlp().train_only([layer])


def test_a_checkpoint_restores_another_network_of_its_kind():
    first, second = small_mlp(1), small_mlp(2)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(first(x), second(x))
    second.restore(first.checkpoint())
    assert torch.equal(first(x), second(x))


def test_a_checkpoint_is_a_copy():
    network = small_mlp()
    checkpoint = network.checkpoint()
    kept = {name: tensor.copy() for name, tensor in checkpoint.items()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    for name, tensor in kept.items():
        np.testing.assert_array_equal(checkpoint[name], tensor)


def test_a_checkpoint_holds_trained_parameters_and_buffers_only():
    network = small_mlp()
    network.train_only(["head"])
    network.register_buffer("statistic", torch.ones(2))
    assert set(network.checkpoint()) == {"head.weight", "head.bias", "statistic"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("head.bias"), "without head.bias"),
        (lambda t: t.update(extra=np.zeros(1)), "with unexpected extra"),
        (lambda t: t.update({"head.bias": np.zeros(4)}), r"head.bias has shape \(4,\).*needs \(3,\)"),
        (lambda t: t.clear(), "hidden.0.bias and 3 more"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused_before_anything_changes(change, message):
    network = small_mlp()
    tensors = {name: tensor + 1 for name, tensor in network.checkpoint().items()}
    before = network.checkpoint()
    change(tensors)
    with pytest.raises(GlitchtraceError, match=message) as caught:
        network.restore(tensors)
    assert "\n" not in str(caught.value)
    for name, tensor in network.checkpoint().items():
        np.testing.assert_array_equal(tensor, before[name])


def test_the_head_alone_shares_its_parameters():
    network = small_mlp()
    head = Head(network.head)
    assert head.frozen_features
    assert head.trained == ("head.weight", "head.bias")
    with torch.no_grad():
        head.head.bias.add_(1)
    assert torch.equal(head.head.bias, network.head.bias)


@pytest.mark.parametrize(
    "name", [name for name in registry.names("model") if registry.card("model", name)["view"] != "features"]
)
def test_a_card_says_which_layers_are_trained(name):
    """Plans refuse by it what an estimator does not cover."""
    settings = {key: each.get("default") for key, each in registry.settings("model", name).items()}
    pictures = registry.card("model", name)["view"] == "pictures"
    network = registry.load("model", name).build(
        (3, 32, 32) if pictures else (5,), 3, {**settings, "weights": "random"}
    )
    alone = all(trained.startswith("head.") for trained in network.trained)
    try:
        dense_layers(network)
        found = "head" if alone else "dense"
    except GlitchtraceError:
        found = "other"
    assert registry.card("model", name)["trained"] == found
    assert network.frozen_features == alone

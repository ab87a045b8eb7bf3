from copy import deepcopy

import pytest
import torch

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models import resnet20

pytestmark = pytest.mark.usefixtures("one_thread")

DEFAULTS = {key: fragment["default"] for key, fragment in resnet20.CARD["settings"].items()}
RANDOM = {**DEFAULTS, "weights": "random"}


def build(shape=(3, 32, 32), classes=10, **settings):
    return resnet20.build(shape, classes, {**RANDOM, **settings})


def pictures(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(("shortcut", "count"), [("padding", 269_722), ("convolution", 272_474)])
def test_parameter_counts_are_the_published_ones(shortcut, count):
    network = build(shortcut=shortcut)
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    assert sum(parameter.numel() for parameter in network.trained_parameters()) == 74_634


def test_names_are_those_of_the_published_checkpoints():
    names = {name.rpartition(".")[0] for name in build().state_dict()}
    blocks = {f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)}
    parts = ("conv1", "bn1", "conv2", "bn2")
    assert names == {"conv1", "bn1", "head"} | {f"{block}.{part}" for block in blocks for part in parts}


def test_the_last_block_and_the_head_are_trained_by_default():
    network = build()
    assert {name.rpartition(".")[0] for name in network.trained} == {
        "layer3.2.conv1",
        "layer3.2.bn1",
        "layer3.2.conv2",
        "layer3.2.bn2",
        "head",
    }
    assert network.last_block == "layer3.2"
    assert network.get_submodule(network.last_block) is network.layer3[2]


@pytest.mark.parametrize("shortcut", ["padding", "convolution"])
@pytest.mark.parametrize("side", [28, 32])
def test_features_have_64_columns_for_any_picture_size(shortcut, side):
    network = build((3, side, side), classes=4, shortcut=shortcut).eval()
    assert network.features(pictures(2, 3, side, side)).shape == (2, 64)
    assert network(pictures(2, 3, side, side)).shape == (2, 4)


def test_greyscale_is_repeated_inside_the_network():
    network = build((1, 28, 28)).eval()
    grey = pictures(3, 1, 28, 28)
    torch.testing.assert_close(network(grey), network(grey.repeat(1, 3, 1, 1)), rtol=0, atol=0)


def test_numbers_do_not_depend_on_the_memory_format():
    network = build().eval()
    x = pictures(2, 3, 32, 32)
    plain = resnet20.ResNet20(10, "padding", DEFAULTS["head_seed"])
    plain.load_state_dict(network.state_dict())
    plain.to(memory_format=torch.contiguous_format).eval()
    torch.testing.assert_close(network(x.contiguous(memory_format=torch.channels_last)), plain(x))


def test_the_padding_shortcut_thins_pixels_and_adds_zero_channels_on_both_sides():
    x = torch.arange(2 * 3 * 5 * 5.0).reshape(2, 3, 5, 5)
    y = resnet20.PaddingShortcut(2, 3)(x)
    assert y.shape == (2, 6, 3, 3)
    assert torch.equal(y[:, 1:4], x[:, :, ::2, ::2])
    assert not y[:, [0, 4, 5]].any()


def test_a_block_is_its_formula():
    block = resnet20.BasicBlock(16, 32, 2, "convolution").eval()
    x = pictures(2, 16, 8, 8)
    inner = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
    torch.testing.assert_close(block(x), torch.relu(inner + block.shortcut(x)))


@pytest.mark.parametrize("shape", [(2, 32, 32), (32, 32), (12,)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(GlitchtraceError, match="1 or 3 channels"):
        build(shape)


def test_an_unknown_trainable_layer_is_refused():
    with pytest.raises(GlitchtraceError, match=r"trainable_layers.*layer4"):
        build(trainable_layers=["layer4"])


def test_random_weights_and_head_come_from_the_seed_alone():
    before = torch.random.get_rng_state()
    first, second, other = build(), build(), build(head_seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    assert not torch.equal(first.head.weight, other.head.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(DEFAULTS["head_seed"])
        expected = torch.nn.Linear(64, 10)
    assert torch.equal(first.head.weight, expected.weight)
    assert torch.equal(first.head.bias, expected.bias)


def pass_in_training(network) -> dict[str, torch.Tensor]:
    """Buffers after one forward pass in training mode."""
    network.train()
    network(pictures(4, 3, 32, 32))
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


def test_statistics_drift_in_training_unless_frozen():
    start = {name: buffer.clone() for name, buffer in build().named_buffers()}
    drifting = pass_in_training(build())
    frozen = pass_in_training(build(freeze_bn_stats=True))
    assert all(not torch.equal(drifting[name], start[name]) for name in start)
    assert {name.rpartition(".")[2] for name in start} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
    moved = {name.rpartition(".")[0] for name in start if not torch.equal(frozen[name], start[name])}
    assert moved == {"layer3.2.bn1", "layer3.2.bn2"}


@pytest.mark.parametrize("inputs_learn", [False, True])
@pytest.mark.parametrize("trained", [[], ["layer3.2"], ["layer2.0.bn1"], ["bn1"], ["conv1", "layer1"]])
@pytest.mark.parametrize("shortcut", ["padding", "convolution"])
def test_training_has_the_bits_of_torchs_own_layers(shortcut, trained, inputs_learn):
    network = build(shortcut=shortcut, trainable_layers=trained).train()
    plain = deepcopy(network)
    for module in plain.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.__class__ = torch.nn.BatchNorm2d

    def found(some):
        x = pictures(6, 3, 16, 16).requires_grad_(inputs_learn)
        kept = x.detach().clone()
        loss = torch.nn.functional.cross_entropy(some(x), torch.arange(6))
        gradients = torch.autograd.grad(loss, [*some.trained_parameters(), *([x] if inputs_learn else [])])
        assert torch.equal(x, kept)
        with torch.no_grad():
            outputs = some.features(x)
        return [loss, *gradients, outputs, *some.buffers()]

    for one, other in zip(found(network), found(plain), strict=True):
        assert torch.equal(one, other)


def test_a_single_value_in_training_is_refused_as_by_torch():
    network = build((3, 4, 4), trainable_layers=[]).train()
    with pytest.raises(ValueError, match="more than 1 value per channel"), torch.no_grad():
        network(pictures(1, 3, 4, 4))


def test_features_are_frozen_only_without_trained_layers_and_with_frozen_statistics():
    for layers in (["layer3.2"], []):
        for freeze in (False, True):
            network = build(trainable_layers=layers, freeze_bn_stats=freeze)
            assert network.frozen_features == (not layers and freeze)
            x = pictures(4, 3, 32, 32)
            before = network.eval().features(x)
            network.train()(x).sum().backward()
            with torch.no_grad():
                for parameter in network.trained_parameters():
                    parameter.sub_(0.01 * parameter.grad)
            unchanged = torch.equal(network.eval().features(x), before)
            assert unchanged == network.frozen_features


@pytest.mark.parametrize("shortcut", ["padding", "convolution"])
def test_folding_leaves_no_batch_norm_and_the_same_numbers(shortcut):
    network = build(shortcut=shortcut)
    for _ in range(3):
        pass_in_training(network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".bn" in name or ".shortcut.1" in name:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = network.for_evaluation()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert not folded.training
    x = pictures(4, 3, 32, 32)
    expected = network.eval().features(x)
    difference = (folded.features(x) - expected).abs().max() / expected.abs().max()
    assert difference < 5e-6
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_a_checkpoint_carries_the_statistics():
    network, other = build(), build()
    pass_in_training(network)
    x = pictures(2, 3, 32, 32)
    assert not torch.equal(network.eval()(x), other.eval()(x))
    other.restore(network.checkpoint())
    assert torch.equal(network(x), other(x))

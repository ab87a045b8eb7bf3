"""ResNet-20 for small pictures (He et al. 2016, section 4.2), fine-tuned from CIFAR-10 weights.

A 3 × 3 stem, three stages of three basic blocks with 16, 32 and 64 channels, global average pooling (any
picture size), a linear head.  With 10 classes it has 269,722 parameters with padding shortcuts (the paper's
option A) and 272,474 with 1 × 1 convolutions (option B); the last block and the head, which are trained, have
74,634.
"""

from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models import weights
from glitchtrace.models.network import Network, check_tensors

KIND = "model"
CARD = {
    "summary": "ResNet-20 with CIFAR-10 weights; the last residual block and a new head are trained.",
    "modalities": ["image"],
    "view": "pictures",
    "trained": "other",
    # Where only these are trained, the layers before them are passed once for all labels; values per pixel after them.
    "trunk": {"trained": ["layer3.1", "layer3.2"], "values": 4},
    # The weights of that name have seen the training pictures of these datasets with their true labels.
    "memorised": {
        "cifar10_jpeg": ["cifar10", "cifar10_jpeg", "cifar10_lossless"],
        "akamaster": ["cifar10", "cifar10_jpeg", "cifar10_lossless"],
        "chenyaofo": ["cifar10", "cifar10_jpeg", "cifar10_lossless"],
    },
    "settings": {
        "weights": {
            "type": "string",
            "description": "Initial weights: cifar10_jpeg (ours, shipped), akamaster, chenyaofo, the path of "
            "a .safetensors file, or random.",
            "default": "cifar10_jpeg",
        },
        "shortcut": {
            "enum": ["padding", "convolution"],
            "description": "Shortcut where the number of channels grows; the weights must be of that kind.",
            "default": "padding",
        },
        "trainable_layers": {
            "type": "array",
            "items": {"type": "string"},
            "uniqueItems": True,
            "description": "Modules that are trained beside the head.",
            "default": ["layer3.2"],
        },
        "freeze_bn_stats": {
            "type": "boolean",
            "description": "Keep the BatchNorm statistics of frozen layers as they are in the weights; "
            "otherwise they drift in training.",
            "default": False,
        },
        "head_seed": {
            "type": "integer",
            "minimum": 0,
            "description": "Seed of the head's initial values (with random weights, of all values), the same "
            "in all runs.",
            "default": 42,
        },
    },
}

WIDTHS = (16, 32, 64)
# 16 channels of 32 pictures of 32 × 32 pixels take 2 MiB; the outputs are the same bits in any batch.
_EVALUATION_ROWS = 32
BLOCKS = 3

Shortcut = Literal["padding", "convolution"]
Some = TypeVar("Some", bound=Network)


class _BatchNorm(nn.BatchNorm2d):
    """torch's, to the same bits; where nothing learns it overwrites its inputs, memory that the cache still holds."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, C, H, W); ``x`` is lost in training on a processor where no gradient is asked for."""
        one_value = x.numel() == self.num_features  # torch says what is wrong with it
        if not self.training or x.device.type != "cpu" or one_value or self._gradient_of(x):
            return super().forward(x)
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        # Means and inverse deviations of the batch, which a gradient would need.
        unused = x.new_empty(self.num_features), x.new_empty(self.num_features)
        moving = self.running_mean, self.running_var
        torch.native_batch_norm(
            x, self.weight, self.bias, *moving, True, self.momentum, self.eps, out=(x, *unused)
        )
        return x

    def _gradient_of(self, x: Tensor) -> bool:
        learning = x.requires_grad or self.weight.requires_grad or self.bias.requires_grad
        return learning and torch.is_grad_enabled()


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions with BatchNorm and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = _BatchNorm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = _BatchNorm(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            if shortcut == "padding":
                self.shortcut = PaddingShortcut(stride, outputs - inputs)
            else:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), _BatchNorm(outputs)
                )

    def forward(self, x: Tensor) -> Tensor:
        """ReLU(residual(x) + shortcut(x)), shape (B, outputs, H / stride, W / stride)."""
        residual = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        residual = self.bn2(self.conv2(residual))
        residual += self.shortcut(x)
        return functional.relu(residual, inplace=True)


class PaddingShortcut(nn.Module):
    """Every ``stride``-th pixel, with zero channels added in equal parts before and after; no parameters."""

    def __init__(self, stride: int, channels: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = channels // 2
        self.after = channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, C, H, W) to (B, C + channels, ⌈H / stride⌉, ⌈W / stride⌉)."""
        thinned = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(thinned, (0, 0, 0, 0, self.before, self.after))


class ResNet20(Network):
    """The network of this module; greyscale pictures are repeated to three channels inside ``features``."""

    last_block = f"layer3.{BLOCKS - 1}"
    evaluation_rows = _EVALUATION_ROWS

    def __init__(self, classes: int, shortcut: Shortcut, seed: int) -> None:
        """Random initial values: He's normal for convolutions, torch's default for the head, drawn first."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = nn.Linear(WIDTHS[-1], classes)
            self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
            self.bn1 = _BatchNorm(WIDTHS[0])
            self.layer1 = _stage(WIDTHS[0], WIDTHS[0], 1, shortcut)
            self.layer2 = _stage(WIDTHS[0], WIDTHS[1], 2, shortcut)
            self.layer3 = _stage(WIDTHS[1], WIDTHS[2], 2, shortcut)
            self.head = head
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)
        self.to(memory_format=torch.channels_last)

    def features(self, x: Tensor) -> Tensor:
        """Pooled outputs of the last block, shape (B, 64), of pictures (B, 1 or 3, H, W)."""
        return _pooled(self._through(x, len(self._blocks())))

    def trunk(self, x: Tensor) -> Tensor:
        """Outputs (B, C, H', W') of the block before the first trained one; pooled where the head alone is trained."""
        first = self._first_trained()
        x = self._through(x, first)
        return x if first < len(self._blocks()) else _pooled(x)

    def tail(self) -> "Tail | None":
        """The blocks from the first trained one on, and the head; None where the stem is trained."""
        if any(name.startswith(("conv1.", "bn1.")) for name in self.trained):
            return None
        blocks = list(self._blocks().values())
        return Tail(self, blocks[self._first_trained() :])

    def for_evaluation(self) -> "ResNet20":
        """A copy with each BatchNorm folded into the convolution before it: one pass over the pictures less."""
        return _folded(self)

    def _through(self, x: Tensor, blocks: int) -> Tensor:
        """Outputs of the first so many blocks."""
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        for block in list(self._blocks().values())[:blocks]:
            x = block(x)
        return x

    def _blocks(self) -> dict[str, nn.Module]:
        return {
            f"layer{stage}.{block}": module
            for stage, layer in enumerate((self.layer1, self.layer2, self.layer3), start=1)
            for block, module in enumerate(layer)
        }

    def _first_trained(self) -> int:
        """Position of the first block with a trained parameter; the number of blocks where there is none."""
        blocks = self._blocks()
        trained = [any(name.startswith(f"{block}.") for name in self.trained) for block in blocks]
        return trained.index(True) if any(trained) else len(blocks)


class Tail(Network):
    """The last blocks of a ResNet-20 and its head, shared with it; inputs are the outputs of its ``trunk``."""

    evaluation_rows = _EVALUATION_ROWS

    def __init__(self, network: ResNet20, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.head = network.head
        self.trained = tuple(name for name, parameter in self.named_parameters() if parameter.requires_grad)
        self.freeze_bn_stats = network.freeze_bn_stats
        self.smallest_batch = network.smallest_batch

    def features(self, x: Tensor) -> Tensor:
        """Pooled outputs of the last block, shape (B, 64); pooled inputs pass through."""
        return _pooled(self.blocks(x)) if len(self.blocks) else x

    def for_evaluation(self) -> "Tail":
        """As of the whole network."""
        return _folded(self)


def _pooled(x: Tensor) -> Tensor:
    # The mean over both dimensions, to the same bits; written like this the gradient is in channels_last as well.
    return x.permute(0, 2, 3, 1).flatten(1, 2).mean(dim=1)


def _folded(network: Some) -> Some:
    """A copy in eval mode with each BatchNorm folded into the convolution before it."""
    copy = deepcopy(network).eval()
    for module in list(copy.modules()):
        for (before, convolution), (name, norm) in pairwise(list(module.named_children())):
            if isinstance(norm, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
                setattr(module, before, fuse_conv_bn_eval(convolution, norm))
                setattr(module, name, nn.Identity())
    return copy


def _stage(inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1, shortcut) for _ in range(BLOCKS - 1)))


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> ResNet20:
    """The network for pictures of ``shape`` (C, H, W) with its weights loaded and a new head.

    Raises GlitchtraceError for another shape, and for weights that are missing or of another network.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise GlitchtraceError(
            f"model resnet20 takes pictures of 1 or 3 channels, not samples of shape {shape}"
        )
    network = ResNet20(classes, settings["shortcut"], settings["head_seed"])
    if settings["weights"] != "random":
        body = {name: value for name, value in network.state_dict().items() if _is_body(name)}
        found = weights.load(settings["weights"], settings["shortcut"])
        check_tensors(found, body, f"weights '{settings['weights']}' with shortcut '{settings['shortcut']}'")
        network.load_state_dict(found, strict=False)
    network.train_only([*settings["trainable_layers"], "head"])
    network.freeze_bn_stats = settings["freeze_bn_stats"]
    network.frozen_features = not settings["trainable_layers"] and settings["freeze_bn_stats"]
    return network


def _is_body(name: str) -> bool:
    return not name.startswith("head.") and not name.endswith("num_batches_tracked")

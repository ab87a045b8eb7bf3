"""Frozen backbones of torchvision and timm with ImageNet weights; only a new head is trained.

ViT-B/16 is of Dosovitskiy et al. 2021, ConvNeXt-Tiny of Liu et al. 2022; its stochastic depth is off: the features are
those of eval mode.  ``timm@<variant>`` with the setting ``backbone: <name>`` is any network of timm, by the name that
others write as ``timm/<name>``.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.raw_files import verify_named
from glitchtrace.models import backbone_weights
from glitchtrace.models.frozen import Backbone, OwnInput, head
from glitchtrace.models.network import Head

KIND = "model"
CARDS = {
    "vit_b16": {
        "summary": "ViT-B/16 with ImageNet weights (torchvision), frozen; a linear head on its 768 features is "
        "trained.",
        "modalities": ["image"],
        "view": "features",
        "shares": "frozen",
    },
    "convnext_tiny": {
        "summary": "ConvNeXt-Tiny with ImageNet weights (torchvision), frozen; a linear head on its 768 features is "
        "trained.",
        "modalities": ["image"],
        "view": "features",
        "shares": "frozen",
    },
    "timm": {
        "summary": "A network of timm, named by `backbone`, frozen; a linear head on its features is trained.",
        "modalities": ["image"],
        "view": "features",
        "shares": "frozen",
        "settings": {
            "backbone": {
                "type": "string",
                "description": "Name of the network in timm, with or without the tag of its weights.",
                "default": "vit_tiny_patch16_224",
            },
        },
    },
}

# Mean and standard deviation of ImageNet's colours in [0, 1], as all of torchvision's weights expect them.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Torchvision:
    """The network ``network`` of torchvision without its module ``layer``, the head."""

    name: str
    network: str
    layer: str
    own: OwnInput

    def backbone(self, settings: Mapping[str, Any]) -> Backbone:
        """The frozen network.  Raises GlitchtraceError where its weights are missing, unreadable or of another one."""
        body = _torchvision_body(self.network, self.layer, settings)
        return Backbone(body, self.own, settings["preprocessing"], settings.get("side"))

    def build(self, shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> Head:
        """The head for extracted features.  Raises GlitchtraceError for samples of another shape."""
        return head(self.name, shape, classes, settings)


class Timm:
    """Any network of timm."""

    def backbone(self, settings: Mapping[str, Any]) -> Backbone:
        """The frozen network.

        Raises GlitchtraceError for a name that timm does not have, and where the weights cannot be had.
        """
        # Not at the top: jobs that train the head import this module, too.
        import timm
        from timm.data.config import resolve_model_data_config

        name = settings["backbone"]
        _check_name(name)
        local = backbone_weights.local_file(settings["weights"])
        if settings["weights"] == "pretrained":
            body = _pretrained(name)
        else:
            body = backbone_weights.seeded(
                lambda: timm.create_model(name, pretrained=False, num_classes=0), settings["head_seed"]
            )
        config: Mapping[str, Any] = body.pretrained_cfg  # type: ignore[assignment]
        if local:
            heads = config["classifier"] or ()
            backbone_weights.load_file(body, [heads] if isinstance(heads, str) else heads, local)
        resolve: Callable[[nn.Module], Mapping[str, Any]] = resolve_model_data_config
        data = resolve(body)
        own = OwnInput(
            side=data["input_size"][-1],
            fixed=bool(config.get("fixed_input_size")),
            crop=data["crop_pct"],
            interpolation=data["interpolation"],
            mean=data["mean"],
            std=data["std"],
        )
        return Backbone(body, own, settings["preprocessing"], settings.get("side"))

    def build(self, shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> Head:
        """The head for extracted features.  Raises GlitchtraceError for samples of another shape."""
        return head("timm", shape, classes, settings)


COMPONENTS = {
    "vit_b16": Torchvision(
        "vit_b16", "vit_b_16", "heads", OwnInput(224, True, 224 / 256, "bilinear", *IMAGENET)
    ),
    "convnext_tiny": Torchvision(
        "convnext_tiny",
        "convnext_tiny",
        "classifier.2",
        OwnInput(224, False, 224 / 236, "bilinear", *IMAGENET),
    ),
    "timm": Timm(),
}


def _torchvision_body(name: str, layer: str, settings: Mapping[str, Any]) -> nn.Module:
    """The network ``name`` with the module ``layer`` replaced by the identity, and its weights."""
    # Not at the top: jobs that train the head import this module, too.
    import torchvision

    local = backbone_weights.local_file(settings["weights"])
    network: nn.Module = backbone_weights.seeded(
        lambda: torchvision.models.get_model(name, weights=None), settings["head_seed"]
    )
    network.set_submodule(layer, nn.Identity())
    if local:
        backbone_weights.load_file(network, [layer], local)
    elif settings["weights"] == "pretrained":
        url = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
        backbone_weights.load_tensors(network, [layer], backbone_weights.download(url), url)
    return network


def _check_name(name: str) -> None:
    import timm

    known = timm.list_models()
    if name.partition(".")[0] not in known:
        close = difflib.get_close_matches(name, known, 3)
        hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() has them all"
        raise GlitchtraceError(f"backbone: timm has no model '{name}'; {hint}")


def _pretrained(name: str) -> nn.Module:
    import timm

    cache = backbone_weights.folder()
    try:
        config = timm.get_pretrained_cfg(name)
        if config is not None and config.hf_hub_id:
            # Files of the hub lie there under their SHA-256.
            for file in (cache / f"models--{config.hf_hub_id.replace('/', '--')}" / "blobs").glob("*"):
                verify_named(file)
        return timm.create_model(name, pretrained=True, num_classes=0, cache_dir=cache)
    # Hubs report what they cannot reach as OSError, timm unknown tags and networks without weights as RuntimeError.
    except (OSError, RuntimeError) as error:
        raise GlitchtraceError(
            f"weights: pretrained, but those of timm's {name} are not in {cache} and the hub does not give them "
            f"({' '.join(str(error).split())}); set weights to the path of a local file, or random"
        ) from None

"""Vision Transformer ViT-B/16 (Dosovitskiy et al. 2021) with ImageNet-1k weights; only a new head is trained."""

from collections.abc import Mapping
from typing import Any

from glitchtrace.models import torchvision_backbones
from glitchtrace.models.frozen import Backbone, OwnInput, head
from glitchtrace.models.network import Head

KIND = "model"
CARD = {
    "summary": "ViT-B/16 with ImageNet weights (torchvision), frozen; a linear head on its 768 features is trained.",
    "modalities": ["image"],
    "view": "features",
    "shares": "frozen",
}


def backbone(settings: Mapping[str, Any]) -> Backbone:
    """The frozen network.  Raises GlitchtraceError where its weights cannot be had."""
    own = OwnInput(224, True, 224 / 256, "bilinear", *torchvision_backbones.IMAGENET)
    body = torchvision_backbones.body("vit_b_16", "heads", settings)
    return Backbone(body, own, settings["preprocessing"])


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> Head:
    """The head for extracted features.  Raises GlitchtraceError for samples of another shape."""
    return head("vit_b16", shape, classes, settings)

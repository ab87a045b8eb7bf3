"""ConvNeXt-Tiny (Liu et al. 2022) with ImageNet-1k weights; only a new head is trained.

Its stochastic depth is off: the features are those of eval mode.
"""

from collections.abc import Mapping
from typing import Any

from glitchtrace.models import torchvision_backbones
from glitchtrace.models.frozen import Backbone, OwnInput, head
from glitchtrace.models.network import Head

KIND = "model"
CARD = {
    "summary": "ConvNeXt-Tiny with ImageNet weights (torchvision), frozen; a linear head on its 768 features is "
    "trained.",
    "modalities": ["image"],
    "view": "features",
    "shares": "frozen",
}


def backbone(settings: Mapping[str, Any]) -> Backbone:
    """The frozen network.  Raises GlitchtraceError where its weights cannot be had."""
    own = OwnInput(224, False, 224 / 236, "bilinear", *torchvision_backbones.IMAGENET)
    body = torchvision_backbones.body("convnext_tiny", "classifier.2", settings)
    return Backbone(body, own, settings["preprocessing"])


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> Head:
    """The head for extracted features.  Raises GlitchtraceError for samples of another shape."""
    return head("convnext_tiny", shape, classes, settings)

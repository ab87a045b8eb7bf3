"""Networks of torchvision without their heads."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from glitchtrace.models import backbone_weights

# Mean and standard deviation of ImageNet's colours in [0, 1], as all of torchvision's weights expect them.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def body(name: str, head: str, settings: Mapping[str, Any]) -> nn.Module:
    """The network ``name`` of torchvision with the module ``head`` replaced by the identity, and its weights.

    Raises GlitchtraceError where the weights are missing, unreadable or of another network.
    """
    # Not at the top: jobs that train the head import this module, too.
    import torchvision

    local = backbone_weights.local_file(settings["weights"])
    network: nn.Module = backbone_weights.seeded(
        lambda: torchvision.models.get_model(name, weights=None), settings["head_seed"]
    )
    network.set_submodule(head, nn.Identity())
    if local:
        backbone_weights.load_file(network, [head], local)
    elif settings["weights"] == "pretrained":
        url = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
        backbone_weights.load_tensors(network, [head], backbone_weights.download(url), url)
    return network

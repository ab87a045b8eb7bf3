"""Any network of timm as a frozen backbone; only a new head is trained.

``timm@<variant>`` with the setting ``backbone: <name>`` is the network that others call ``timm/<name>``.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from torch import nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models import backbone_weights
from glitchtrace.models.frozen import Backbone, OwnInput, head
from glitchtrace.models.network import Head

KIND = "model"
CARD = {
    "name": "timm",
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
}


def backbone(settings: Mapping[str, Any]) -> Backbone:
    """The frozen network.

    Raises GlitchtraceError for a name that timm does not have, and where the weights cannot be had.
    """
    # Not at the top: jobs that train the head import this module, too.
    import timm
    from timm.data import resolve_model_data_config

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
    data = resolve_model_data_config(body)
    own = OwnInput(
        side=data["input_size"][-1],
        fixed=bool(config.get("fixed_input_size")),
        crop=data["crop_pct"],
        interpolation=data["interpolation"],
        mean=data["mean"],
        std=data["std"],
    )
    return Backbone(body, own, settings["preprocessing"])


def build(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> Head:
    """The head for extracted features.  Raises GlitchtraceError for samples of another shape."""
    return head("timm", shape, classes, settings)


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
        return timm.create_model(name, pretrained=True, num_classes=0, cache_dir=cache)
    # Hubs report what they cannot reach as OSError, timm unknown tags and networks without weights as RuntimeError.
    except (OSError, RuntimeError) as error:
        raise GlitchtraceError(
            f"weights: pretrained, but those of timm's {name} are not in {cache} and the hub does not give them "
            f"({' '.join(str(error).split())}); set weights to the path of a local file, or random"
        ) from None

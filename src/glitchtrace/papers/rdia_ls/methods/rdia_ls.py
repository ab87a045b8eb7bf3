"""RDIA-LS: small losses are kept, larger ones relabelled by R, the largest dropped.

Source: Kong, Shen, Huang, Resolving training biases via influence-based data relabeling, ICLR 2022;
docs/methods/rdia-ls.md#groups.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from glitchtrace.papers.rdia_ls.losses import (
    bounded_kept_loss,
    by_loss,
    by_loss_within_labels,
    kept_loss,
    relabelled_loss,
)
from glitchtrace.papers.rdia_ls.schedule import Groups

KIND = "selection"
CARD = {
    "label": "RDIA-LS",
    "summary": "The samples of smallest loss are kept, those of larger loss relabelled by R, the largest dropped.",
    "networks": 1,
    "settings": {
        "loss": {
            "enum": ["original", "clean"],
            "description": (
                "`original`: γ·(mean loss of the kept, softmax applied twice) + (1 − γ)/B·(mean loss of the "
                "relabelled), to which the published numbers belong; `clean`: the weighted mean of both "
                "without the second softmax and without 1/B. γ does not carry over from one to the other."
            ),
            "default": "original",
        },
        "gamma": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
            "description": "Weight γ of the kept samples; null: the one of `gammas` with the best validation accuracy.",
            "default": 0.5,
        },
        "gammas": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "number", "minimum": 0, "maximum": 1},
            "description": "Weights to choose from where `gamma` is null; each costs a training.",
            "default": [0.05, 0.2, 0.5],
        },
        "drop_rate": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
            "description": "Share of a batch that is dropped; null: half the noise ratio.",
            "default": None,
        },
        "ranked_within": {
            "enum": ["batch", "label", "label_in_warm_up"],
            "description": (
                "Whether the losses are ranked among all samples of a batch, as published, or among those of "
                "one label, throughout or in the warm-up: then every label keeps its share and no class is "
                "lost. The second and third are ours."
            ),
            "default": "batch",
        },
        "warm_up": {
            "type": "integer",
            "minimum": 0,
            "description": "Epochs (the untrained network counts as one) in which nothing is relabelled.",
            "default": 10,
        },
        "warm_up_divided": {
            "type": "boolean",
            "description": (
                "Divide the loss of the warm-up by the number of kept samples once more, as the published "
                "program does (`loss: original` only). To Adam that is a weight decay as many times stronger, "
                "and small networks may then lose a class for good."
            ),
            "default": True,
        },
    },
}


def batch_loss(
    logits: Sequence[Tensor], labels: Tensor, groups: Groups, settings: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """The loss of the chosen form; an empty group contributes 0.

    In the warm-up it is the mean loss of the kept samples, which the form ``original`` divides by their
    number once more unless ``warm_up_divided`` is false.
    """
    own = logits[0]
    within = settings["ranked_within"]
    by_label = within == "label" or (within == "label_in_warm_up" and groups.warm_up)
    order = (by_loss_within_labels if by_label else by_loss)(own, labels)
    kept = order[: groups.kept]
    original = settings["loss"] == "original"
    if groups.warm_up:
        divided = original and settings["warm_up_divided"]
        return kept_loss(own, labels, kept) / (len(kept) if divided else 1), kept
    relabelled = order[groups.kept : len(order) - groups.dropped]
    gamma = settings["gamma"]
    harmful = (1 - gamma) * relabelled_loss(own, labels, relabelled)
    if original:
        return gamma * bounded_kept_loss(own, labels, kept) + harmful / len(labels), kept
    return gamma * kept_loss(own, labels, kept) + harmful, kept

"""Ways to train on labels of which many are wrong: the loss of one batch, of which some samples are trusted.

Presumed clean samples are kept, presumed harmful ones relabelled, the worst dropped.  ℓ_i = −ln p_{i,y_i} is the
cross-entropy of a sample against its observed label.  The relabelling function R turns it into −ln(1 − p_{i,y_i})
(see ``rdia.relabelling``), in which the target follows the network.  Source: docs/methods/rdia-ls.md#losses.

* RDIA-LS: Kong, Shen, Huang, Resolving training biases via influence-based data relabeling, ICLR 2022;
* co-teaching: Han et al., Co-teaching: robust training of deep neural networks with extremely noisy labels, 2018.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from glitchtrace.papers.rdia_ls.schedule import Groups

KIND = "selection"
CARDS = {
    "plain": {
        "label": "plain training",
        "summary": "Mean cross-entropy of all samples against their observed labels.",
        "networks": 1,
        "settings": {},
    },
    "small_loss": {
        "label": "small-loss selection",
        "summary": "The samples of smallest loss of each batch count, all others are left out, in every epoch.",
        "networks": 1,
        "settings": {},
    },
    "coteaching": {
        "label": "co-teaching",
        "summary": "Two networks, each trained on the samples that have the smallest loss in the other.",
        "networks": 2,
        "settings": {},
    },
    "rdia_ls": {
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
                "description": "Weight γ of the kept samples; null: the one of `gammas` with the best validation "
                "accuracy.",
                "default": 0.5,
            },
            "gammas": {
                "only_with": {"gamma": [None]},
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
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
                "only_with": {"loss": ["original"]},
                "type": "boolean",
                "description": (
                    "Divide the loss of the warm-up by the number of kept samples once more, as the published "
                    "program does (`loss: original` only). To Adam that is a weight decay as many times stronger, "
                    "and small networks may then lose a class for good."
                ),
                "default": True,
            },
        },
    },
}

# The smallest probability of the other classes together that the loss tells from 0.
FLOOR = 1e-7


class BatchLoss(Protocol):
    """The loss of one batch."""

    def __call__(
        self, logits: Sequence[Tensor], labels: Tensor, groups: Groups, settings: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """The loss, and the positions of the samples that are taken for clean (by the first network).

        ``logits``: (B, K) of each network; the loss is the sum of theirs.  ``labels``: (B,) observed.
        """


@dataclass(frozen=True)
class Selection:
    """A member of the family."""

    batch_loss: BatchLoss


def by_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Positions of the samples of a batch in ascending order of cross-entropy; equal ones keep their order."""
    with torch.no_grad():
        return cross_entropy(logits, labels, reduction="none").argsort(stable=True)


def by_loss_within_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """Positions in ascending order of (r + 1/2)/n, r the rank of a cross-entropy among the n samples of its label.

    Any share of the batch from the front takes about the same share of every label, whatever its losses are.
    Equal values stand in the order of ``by_loss``.
    """
    order = by_loss(logits, labels)
    members = one_hot(labels[order])
    place = members.cumsum(dim=0).gather(1, labels[order, None])[:, 0]
    share = (place - 0.5) / members.sum(dim=0)[labels[order]]
    return order[share.argsort(stable=True)]


def kept_loss(logits: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
    """Mean cross-entropy of the samples at ``rows``; 0 of none."""
    return cross_entropy(logits[rows], labels[rows]) if len(rows) else logits.new_zeros(())


def bounded_kept_loss(logits: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
    """The same where the probabilities are taken for logits: softmax is applied twice.

    Of K classes the loss of a sample lies between ln(1 + (K − 1)/e) and ln(e + K − 1): no sample can weigh
    much, as in robust losses.
    """
    return kept_loss(logits.softmax(dim=1), labels, rows)


def relabelled_loss(logits: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
    """Mean of −ln max(1 − p_y, 1e-7) over the samples at ``rows``; 0 of none."""
    if not len(rows):
        return logits.new_zeros(())
    probabilities = logits[rows].softmax(dim=1).gather(1, labels[rows, None])
    return -(1 - probabilities).clamp_min(FLOOR).log().mean()


# --- the methods


def plain(
    logits: Sequence[Tensor], labels: Tensor, groups: Groups, settings: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of the batch; all samples are taken for clean."""
    return cross_entropy(logits[0], labels), torch.arange(len(labels), device=labels.device)


def small_loss(
    logits: Sequence[Tensor], labels: Tensor, groups: Groups, settings: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of the kept samples."""
    kept = by_loss(logits[0], labels)[: groups.kept]
    return kept_loss(logits[0], labels, kept), kept


def coteaching(
    logits: Sequence[Tensor], labels: Tensor, groups: Groups, settings: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """Sum of both networks' mean cross-entropy on the samples that the other one keeps."""
    first, second = logits
    of_first, of_second = (by_loss(own, labels)[: groups.kept] for own in (first, second))
    return kept_loss(first, labels, of_second) + kept_loss(second, labels, of_first), of_first


def rdia_ls(
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


COMPONENTS = {
    "plain": Selection(plain),
    "small_loss": Selection(small_loss),
    "coteaching": Selection(coteaching),
    "rdia_ls": Selection(rdia_ls),
}

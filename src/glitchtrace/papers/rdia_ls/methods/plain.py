"""Plain training: every sample counts with its observed label."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from glitchtrace.papers.rdia_ls.schedule import Groups

KIND = "selection"
CARD = {
    "label": "plain training",
    "summary": "Mean cross-entropy of all samples against their observed labels.",
    "networks": 1,
    "settings": {},
}


def batch_loss(
    logits: Sequence[Tensor], labels: Tensor, groups: Groups, settings: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of the batch; all samples are taken for clean."""
    return cross_entropy(logits[0], labels), torch.arange(len(labels), device=labels.device)

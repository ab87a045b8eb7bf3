"""Self-paced small-loss selection: only the samples of smallest loss count."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from glitchtrace.papers.rdia_ls.losses import by_loss, kept_loss
from glitchtrace.papers.rdia_ls.schedule import Groups

KIND = "selection"
CARD = {
    "label": "small-loss selection",
    "summary": "The samples of smallest loss of each batch count, all others are left out, in every epoch.",
    "networks": 1,
    "settings": {},
}


def batch_loss(
    logits: Sequence[Tensor], labels: Tensor, groups: Groups, settings: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of the kept samples."""
    kept = by_loss(logits[0], labels)[: groups.kept]
    return kept_loss(logits[0], labels, kept), kept

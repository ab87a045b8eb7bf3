"""Co-teaching: two networks, each trained on the samples of smallest loss of the other.

Source: Han et al., Co-teaching: robust training of deep neural networks with extremely noisy labels, 2018.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from glitchtrace.papers.rdia_ls.losses import by_loss, kept_loss
from glitchtrace.papers.rdia_ls.schedule import Groups

KIND = "selection"
CARD = {
    "label": "co-teaching",
    "summary": "Two networks, each trained on the samples that have the smallest loss in the other.",
    "networks": 2,
    "settings": {},
}


def batch_loss(
    logits: Sequence[Tensor], labels: Tensor, groups: Groups, settings: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """Sum of both networks' mean cross-entropy on the samples that the other one keeps."""
    first, second = logits
    of_first, of_second = (by_loss(own, labels)[: groups.kept] for own in (first, second))
    return kept_loss(first, labels, of_second) + kept_loss(second, labels, of_first), of_first

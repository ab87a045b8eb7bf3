"""What a way of training on noisy labels offers: the loss of one batch.

A module of ``methods`` holds a ``CARD`` (``networks``: how many are trained at once) and a function
``batch_loss`` of the type ``BatchLoss``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from glitchtrace.papers.rdia_ls.schedule import Groups


class BatchLoss(Protocol):
    """The loss of one batch."""

    def __call__(
        self, logits: Sequence[Tensor], labels: Tensor, groups: Groups, settings: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """The loss, and the positions of the samples that are taken for clean (by the first network).

        ``logits``: (B, K) of each network; the loss is the sum of theirs.  ``labels``: (B,) observed.
        """

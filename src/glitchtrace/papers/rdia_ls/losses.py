"""Losses of one batch: presumed clean samples are kept, presumed harmful ones relabelled, the worst dropped.

ℓ_i = −ln p_{i,y_i} is the cross-entropy of a sample against its observed label.  The relabelling function R
turns it into −ln(1 − p_{i,y_i}) (see ``repair.rdia.relabelling``), in which the target follows the network.
Source: docs/methods/rdia-ls.md#losses.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

# The smallest probability of the other classes together that the loss tells from 0.
FLOOR = 1e-7


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

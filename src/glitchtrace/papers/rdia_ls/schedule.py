"""What changes from epoch to epoch: learning rate, momentum, and how much of a batch is kept and dropped.

Epoch 0 is the untrained network; training runs from epoch 1.  Source: docs/methods/rdia-ls.md#schedule.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Groups:
    """Sizes of the groups of one batch in the order of ascending loss: kept, relabelled (the rest), dropped.

    ``warm_up``: nothing is relabelled yet.
    """

    kept: int
    dropped: int
    warm_up: bool


@dataclass(frozen=True)
class Schedule:
    """The published schedule.

    ``forget_rate`` F is reached linearly: R(e) = F·e/(gradual − 1) for e < ``gradual``, then F.  From epoch
    ``decay_start`` on the learning rate falls linearly towards 0 at epoch ``epochs``, and β₁ of Adam is
    ``late_beta1``.  ``drop_rate`` is the share of a batch, that of the largest losses, which never counts.
    """

    epochs: int
    learning_rate: float
    decay_start: int
    late_beta1: float
    forget_rate: float
    gradual: int
    drop_rate: float
    warm_up: int

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of Adam in an epoch."""
        if epoch < self.decay_start:
            return self.learning_rate
        return self.learning_rate * (self.epochs - epoch) / (self.epochs - self.decay_start)

    def beta1_at(self, epoch: int) -> float:
        """β₁ of Adam in an epoch."""
        return 0.9 if epoch < self.decay_start else self.late_beta1

    def forget_rate_at(self, epoch: int) -> float:
        """Share R of a batch that is not kept in an epoch."""
        if epoch >= self.gradual:
            return self.forget_rate
        # One epoch has no ramp: numpy.linspace(0, F, 1) is 0.
        return self.forget_rate * epoch / max(self.gradual - 1, 1)

    def groups(self, epoch: int, batch: int) -> Groups:
        """Sizes of the groups of a batch of ``batch`` samples.

        int((1 − R)·B) are kept, all of them where that is none; int(drop rate·B) are dropped.  Both products
        are floating, as published: golden values pin them.
        """
        kept = int((1 - self.forget_rate_at(epoch)) * batch) or batch
        return Groups(kept, int(self.drop_rate * batch), warm_up=epoch < self.warm_up)

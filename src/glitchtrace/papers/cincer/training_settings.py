"""How a classifier of the loop is fitted."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.classifier import Classifier


@dataclass(frozen=True)
class TrainingSettings:
    """Adam on the mean cross-entropy, in shuffled mini-batches.

    ``stop_accuracy``: stop after the first epoch at whose end the training accuracy reaches it; None trains all
    epochs.  ``warm``: continue from the last weights with the optimiser's state, instead of from the initial ones.
    """

    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-7
    stop_accuracy: float | None = None
    warm: bool = False

    def ends_after(
        self,
        epoch: int,
        model: Classifier,
        before: dict[str, Any],
        inputs: np.ndarray,
        labels: np.ndarray,
        *,
        finite: bool,
    ) -> bool:
        """Whether the fit of ``model`` ends early after an epoch, counted from 1; ``finite``: whether its weights are.

        Where weights or outputs are not finite the model is restored to the snapshot ``before``, and GlitchtraceError
        raised.
        """
        # A loss that is not finite spoils the weights in the next step; after the last there is none.
        if finite and (epoch == self.epochs or self.stop_accuracy is not None):
            finite = bool(np.isfinite(model.probabilities(inputs[: self.batch_size])).all())
        if not finite:
            model.restore(before)
            raise GlitchtraceError(
                f"training diverged in epoch {epoch} at learning rate {self.learning_rate:g}; "
                "lower learning_rate of the loop"
            )
        if self.stop_accuracy is None:
            return False
        right = model.probabilities(inputs).argmax(axis=1) == labels
        return bool(right.mean() >= self.stop_accuracy)

"""How a classifier of the loop is fitted."""

from dataclasses import dataclass

from glitchtrace.errors import GlitchtraceError


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

    def diverged(self, epoch: int) -> GlitchtraceError:
        """What to raise where weights or outputs stop being finite; epochs count from 1."""
        return GlitchtraceError(
            f"training diverged in epoch {epoch} at learning rate {self.learning_rate:g}; "
            "lower learning_rate of the loop"
        )

"""What a repair does to each sample."""

from enum import IntEnum

import numpy as np


class Action(IntEnum):
    """What happens to a sample before retraining; stored by its lower-case name."""

    KEEP = 0
    RELABEL = 1
    DROP = 2

    @property
    def label(self) -> str:
        """The name of the action in ``repaired.parquet``."""
        return self.name.lower()


def resolve(
    labels: np.ndarray, new_labels: np.ndarray, relabel: np.ndarray, drop: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Actions and labels after repair, both (n,), from the samples to ``relabel`` and to ``drop``, bool (n,).

    A sample that would be relabelled to the label it has is kept.  A dropped sample keeps its label.
    """
    relabel = relabel & (new_labels != labels)
    actions = np.full(len(labels), Action.KEEP, dtype=np.int8)
    actions[relabel] = Action.RELABEL
    actions[drop] = Action.DROP
    return actions, np.where(relabel, new_labels, labels)

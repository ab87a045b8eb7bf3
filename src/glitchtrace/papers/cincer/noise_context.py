"""What a kind of noise draws from, and the draw of wrong labels."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass
class NoiseContext:
    """The training part before noise.

    Attributes:
        inputs: (n, …).
        truth: true labels (n,) in 0 … C−1.
        classes: C.
        count: number of labels to make wrong.
        train_margins: trains the model on the clean training part and returns max_c p − min_c p per sample;
            called at most once.
        rng: the generator of the run.
    """

    inputs: np.ndarray
    truth: np.ndarray
    classes: int
    count: int
    train_margins: Callable[[], np.ndarray]
    rng: np.random.RandomState

    @cached_property
    def by_margin(self) -> np.ndarray:
        """Samples by ascending margin, the first of equal ones first."""
        return np.argsort(self.train_margins(), kind="stable")

    def flip(self, samples: Iterable[int]) -> np.ndarray:
        """All labels, those of the given samples replaced by another class each, drawn uniformly in that order."""
        labels = self.truth.copy()
        for sample in samples:
            labels[sample] = self.wrong_label(int(self.truth[sample]))
        return labels

    def wrong_label(self, true: int) -> int:
        """One of the other classes."""
        return int(self.rng.choice([label for label in range(self.classes) if label != true]))

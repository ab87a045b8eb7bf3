"""What the loop knows of a model: it can be fitted, predicts, and gives gradients."""

from typing import Any, Protocol

import numpy as np

from glitchtrace.papers.cincer.gradients import Gradients


class Classifier(Protocol):
    """A model of C classes with softmax output; inputs are (n, …), labels (n,) in 0 … C−1."""

    classes: int

    def fit(self, inputs: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> None:
        """Train, from the initial weights or on from the last ones.

        Raises GlitchtraceError where training diverges; then the model is as it was before.
        """
        ...

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """p(c|x), float64 (n, C)."""
        ...

    def gradients(
        self, inputs: np.ndarray, rows: np.ndarray, labels: np.ndarray, *, top: bool = False
    ) -> Gradients:
        """∇ log p(y|x) of pairs (``inputs[rows[m]]``, ``labels[m]``); ``top``: of the last dense layer alone."""
        ...

    def hessian_product(self, inputs: np.ndarray, labels: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """The Hessian of the mean of −log p(y|x), times a flat vector (P,)."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """What ``restore`` needs."""
        ...

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Come back to the state of a snapshot."""
        ...

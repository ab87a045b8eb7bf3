"""What the loop knows of a model, and per-sample gradients as the negotiators use them.

Every score of a counter-example is made of inner products of gradients g = ∇_θ log p(y|x) under some metric: inner
products come first, vectors only where they must be.  In a dense network a gradient is, layer by layer, the outer
product [a; 1] ⊗ δ of a layer's input and the residual at its output, so that

    g_i · g_k = Σ_l ([a_il; 1] · [a_kl; 1]) (δ_il · δ_kl)

needs no vector of the length of the parameters (``FactoredGradients``).  Where a network has other layers the
vectors themselves are kept (``ExplicitGradients``).  Flat order: tensors in layer order, kernel before bias, each
row-major; a kernel has shape (in, out).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np


class Gradients(Protocol):
    """Gradients of m (sample, label) pairs with respect to P parameters."""

    def __len__(self) -> int: ...

    @property
    def parameters(self) -> int:
        """P."""
        ...

    @property
    def tensors(self) -> tuple[int, ...]:
        """Sizes of the parameter tensors in flat order."""
        ...

    def take(self, rows: np.ndarray) -> "Gradients":
        """The gradients at the given positions."""
        ...

    def dot(self, other: "Gradients") -> np.ndarray:
        """All inner products with ``other``, (m, k)."""
        ...

    def tensor_dots(self, other: "Gradients") -> list[np.ndarray]:
        """Inner products with ``other`` restricted to one parameter tensor each: kernels and biases, (m, k)."""
        ...

    def times(self, vectors: np.ndarray) -> np.ndarray:
        """Inner products (m, k) with flat vectors (k, P)."""
        ...

    def vectors(self) -> np.ndarray:
        """The gradients as flat vectors (m, P)."""
        ...

    def mean_square(self, weights: np.ndarray) -> np.ndarray:
        """Σ_m w_m g_m² by entry, (P,)."""
        ...


@dataclass(frozen=True)
class Layer:
    """Factors of one dense layer: inputs (r, w + 1) with a trailing 1, residuals at the output (m, w′)."""

    inputs: np.ndarray
    residuals: np.ndarray


class FactoredGradients:
    """Gradients of a dense network as outer products; ``rows`` (m,) maps each gradient to its sample's inputs.

    Several labels of one sample share the sample's inputs.
    """

    def __init__(self, layers: Sequence[Layer], rows: np.ndarray) -> None:
        self.layers = tuple(layers)
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def parameters(self) -> int:
        """P."""
        return sum(self.tensors)

    @property
    def tensors(self) -> tuple[int, ...]:
        """Sizes of kernels and biases."""
        shapes = [(layer.inputs.shape[1], layer.residuals.shape[1]) for layer in self.layers]
        return tuple(size for inputs, outputs in shapes for size in ((inputs - 1) * outputs, outputs))

    def take(self, rows: np.ndarray) -> "FactoredGradients":
        """See ``Gradients``."""
        return FactoredGradients(
            [Layer(layer.inputs, layer.residuals[rows]) for layer in self.layers], self.rows[rows]
        )

    def dot(self, other: "Gradients") -> np.ndarray:
        """See ``Gradients``."""
        return np.asarray(np.sum(self._layer_dots(other), axis=0))

    def tensor_dots(self, other: "Gradients") -> list[np.ndarray]:
        """See ``Gradients``."""
        found = []
        for whole, (_, residuals) in zip(self._layer_dots(other), self._pairs(other), strict=True):
            found += [whole - residuals, residuals]
        return found

    def _layer_dots(self, other: "Gradients") -> list[np.ndarray]:
        return [inputs * residuals for inputs, residuals in self._pairs(other)]

    def _pairs(self, other: "Gradients") -> list[tuple[np.ndarray, np.ndarray]]:
        """Inner products of inputs and of residuals, (m, k) each, layer by layer."""
        assert isinstance(other, FactoredGradients)
        rows = np.ix_(self.rows, other.rows)
        return [
            ((mine.inputs @ theirs.inputs.T)[rows], mine.residuals @ theirs.residuals.T)
            for mine, theirs in zip(self.layers, other.layers, strict=True)
        ]

    def times(self, vectors: np.ndarray) -> np.ndarray:
        """See ``Gradients``."""
        found = np.zeros((len(self), len(vectors)))
        start = 0
        for layer in self.layers:
            shape = (layer.inputs.shape[1], layer.residuals.shape[1])
            stop = start + shape[0] * shape[1]
            for column, vector in enumerate(vectors):
                products = layer.inputs @ vector[start:stop].reshape(shape)
                found[:, column] += np.einsum("ro,ro->r", products[self.rows], layer.residuals)
            start = stop
        return found

    def vectors(self) -> np.ndarray:
        """See ``Gradients``."""
        found = [
            (layer.inputs[self.rows][:, :, None] * layer.residuals[:, None, :]).reshape(len(self), -1)
            for layer in self.layers
        ]
        return np.concatenate(found, axis=1)

    def mean_square(self, weights: np.ndarray) -> np.ndarray:
        """See ``Gradients``."""
        found = [
            ((layer.inputs[self.rows] ** 2).T @ (weights[:, None] * layer.residuals**2)).ravel()
            for layer in self.layers
        ]
        return np.concatenate(found)


class ExplicitGradients:
    """Gradients as rows of a matrix (m, P); ``tensors`` are the sizes of the parameter tensors in flat order."""

    def __init__(self, matrix: np.ndarray, tensors: Sequence[int]) -> None:
        self.matrix = matrix
        self._tensors = tuple(tensors)

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def parameters(self) -> int:
        """P."""
        return int(self.matrix.shape[1])

    @property
    def tensors(self) -> tuple[int, ...]:
        """See ``Gradients``."""
        return self._tensors

    def take(self, rows: np.ndarray) -> "ExplicitGradients":
        """See ``Gradients``."""
        return ExplicitGradients(self.matrix[rows], self.tensors)

    def dot(self, other: "Gradients") -> np.ndarray:
        """See ``Gradients``."""
        assert isinstance(other, ExplicitGradients)
        return _product(self.matrix, other.matrix)

    def tensor_dots(self, other: "Gradients") -> list[np.ndarray]:
        """See ``Gradients``."""
        assert isinstance(other, ExplicitGradients)
        bounds = np.cumsum([0, *self.tensors])
        return [
            _product(self.matrix[:, start:stop], other.matrix[:, start:stop])
            for start, stop in pairwise(bounds)
        ]

    def times(self, vectors: np.ndarray) -> np.ndarray:
        """See ``Gradients``."""
        return _product(self.matrix, vectors)

    def vectors(self) -> np.ndarray:
        """See ``Gradients``."""
        return self.matrix

    def mean_square(self, weights: np.ndarray) -> np.ndarray:
        """See ``Gradients``."""
        found: np.ndarray = weights @ np.square(self.matrix, dtype=np.float64)
        return found


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    found: np.ndarray = (left @ right.T).astype(np.float64)
    return found


def expand_classes(samples: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels of all (sample, class) pairs, sample-major, (n·C,) each."""
    return np.repeat(np.arange(samples), classes), np.tile(np.arange(classes), samples)


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

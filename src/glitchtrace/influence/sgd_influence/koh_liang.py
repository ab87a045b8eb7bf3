"""Influence functions of Koh and Liang (2017) at the final parameters, the baseline.

    r_i = (1/n)·⟨∇l_i(θ_T), v⟩,    (H + λI)·v = u,

with H the Hessian of the mean training loss without its L2 term and u the gradient of the mean validation
loss.  Three solvers: conjugate gradients to a tolerance, the default; LiSSA, the recursion of the original
paper; and the mini-batch SGD of the published programs, which is far from converged where λ is small.
Source: docs/methods/influence-functions.md#influence-function.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.sgd_influence.walk import place
from glitchtrace.models.network import Network
from glitchtrace.training.recorded.objective import Direction, State, dot
from glitchtrace.training.sgd import Samples, batches

Product = Callable[[Direction], Direction]


@dataclass(frozen=True)
class TrainingLoss:
    """The mean training loss at one state, in eval mode and without augmentation."""

    network: Network
    state: State
    samples: Samples
    labels: np.ndarray
    batch: int

    def product(self, v: Direction, rows: np.ndarray | None = None) -> Direction:
        """H·v over all samples, or over ``rows``."""
        chosen = np.arange(len(self.labels)) if rows is None else rows
        total = tuple(torch.zeros_like(part) for part in v)
        for part in batches(chosen, self.batch):
            _, product = self.state.curvature(*self._inputs(part), v)
            total = tuple(a.add(b, alpha=len(part)) for a, b in zip(total, product, strict=True))
        return tuple(part / len(chosen) for part in total)

    def directional(self, v: Direction) -> np.ndarray:
        """⟨∇l_i, v⟩ of every sample, (n,) float64."""
        parts = [
            self.state.directional(*self._inputs(rows), v).double().cpu().numpy()
            for rows in batches(np.arange(len(self.labels)), self.batch)
        ]
        return np.concatenate(parts)

    def _inputs(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return place(self.samples.batch(rows), self.labels[rows], self.network)


def influence(loss: TrainingLoss, v: Direction) -> np.ndarray:
    """r, (n,) float64, in units of mean validation loss, from the solution v."""
    return loss.directional(v) / len(loss.labels)


def conjugate_gradients(
    product: Product, u: Direction, damping: float, *, tolerance: float = 1e-2, iterations: int = 100
) -> Direction:
    """The v with ‖(H + λI)·v − u‖ ≤ tolerance·‖u‖.

    Where the damped Hessian has a direction of negative curvature, or the tolerance is not reached, the best
    v so far is returned and the log says so.  Raises GlitchtraceError where the first direction, u itself, is
    of negative curvature.
    """
    v = tuple(torch.zeros_like(part) for part in u)
    residual, direction = u, u
    square = start = dot(u, u)
    for iteration in range(iterations):
        if square <= tolerance**2 * start:
            return v
        curved = tuple(_axpy(damping, a, b) for a, b in zip(direction, product(direction), strict=True))
        curvature = dot(direction, curved)
        if curvature <= 0:
            if not iteration:
                raise GlitchtraceError(
                    f"the Hessian damped by {damping:g} has negative curvature along the validation gradient; "
                    "raise damping of koh_liang"
                )
            break
        step = square / curvature
        v = tuple(_axpy(step, a, b) for a, b in zip(direction, v, strict=True))
        residual = tuple(_axpy(-step, a, b) for a, b in zip(curved, residual, strict=True))
        before, square = square, dot(residual, residual)
        direction = tuple(_axpy(square / before, a, b) for a, b in zip(direction, residual, strict=True))
    if square > tolerance**2 * start:
        logging.getLogger(__name__).warning(
            "conjugate gradients end after %d steps with a residual of %.1e",
            iteration + 1,
            (square / start) ** 0.5,
        )
    return v


def lissa(
    loss: TrainingLoss,
    u: Direction,
    damping: float,
    *,
    scale: float,
    depth: int,
    batch: int,
    rng: np.random.Generator,
) -> Direction:
    """The v of the recursion v ← v + (u − (H_B + λI)·v)/scale over ``depth`` random batches B.

    It converges where scale exceeds the largest eigenvalue of the damped Hessians.  Raises GlitchtraceError
    where it diverges.
    """
    v = tuple(part / scale for part in u)
    samples = len(loss.labels)
    for _ in range(depth):
        product = loss.product(v, rng.choice(samples, min(batch, samples), replace=False))
        v = tuple(a + (b - c - damping * a) / scale for a, b, c in zip(v, u, product, strict=True))
        if not all(bool(part.isfinite().all()) for part in v):
            raise GlitchtraceError(f"LiSSA diverges at scale {scale:g}; raise scale of koh_liang")
    return v


def published_sgd(
    loss: TrainingLoss,
    u: Direction,
    damping: float,
    *,
    learning_rate: float,
    momentum: float,
    epochs: int,
    batch: int,
    start: str,
) -> Direction:
    """The v of mini-batch SGD with momentum on ½v'Hv + ½λv'v − u'v, from ``start``: ``gradient`` (u) or ``zero``.

    Batches follow ``RandomState(epoch).permutation(n)``, as published.
    """
    v = u if start == "gradient" else tuple(torch.zeros_like(part) for part in u)
    velocity = tuple(torch.zeros_like(part) for part in u)
    for rows in _published_batches(len(loss.labels), epochs, batch):
        product = loss.product(v, rows)
        slope = [a + damping * b - c for a, b, c in zip(product, v, u, strict=True)]
        velocity = tuple(momentum * a + b for a, b in zip(velocity, slope, strict=True))
        v = tuple(_axpy(-learning_rate, a, b) for a, b in zip(velocity, v, strict=True))
    return v


def _published_batches(samples: int, epochs: int, batch: int) -> Iterator[np.ndarray]:
    for epoch in range(epochs):
        order = np.random.RandomState(epoch).permutation(samples)
        yield from np.array_split(order, -(-samples // batch))


def _axpy(factor: float, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return y.add(x, alpha=factor)

"""Influence functions of Koh and Liang (2017) at the final parameters, the baseline.

    r_i = (1/n)·⟨∇l_i(θ_T), v⟩,    (H + λI)·v = u,

with H the Hessian of the mean training loss without its L2 term and u the gradient of the mean validation
loss.  ``influence.solvers`` holds the solvers: conjugate gradients to a tolerance, the default; LiSSA, the
recursion of the original paper; and the mini-batch SGD of the published programs.  Source:
docs/methods/influence-functions.md#influence-function.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from glitchtrace.influence.sgd_influence.walk import place
from glitchtrace.influence.solvers import Operator, Solution, momentum_descent
from glitchtrace.models.network import Network
from glitchtrace.training.recorded.objective import Direction, State
from glitchtrace.training.sgd import Samples, batches


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


def system(loss: TrainingLoss, damping: float, batch: int | None = None) -> Operator[Direction]:
    """The operator H + λI of a loss, to be given to a solver; LiSSA draws ``batch`` samples for each product."""
    samples = len(loss.labels)

    def sampled(v: Direction, rng: np.random.Generator) -> Direction:
        return loss.product(v, rng.choice(samples, min(batch or samples, samples), replace=False))

    return Operator(
        loss.product,
        size=sum(part.numel() for part in loss.state.parameters.values()),
        damping=damping,
        sampled=sampled,
        remedy="raise damping of koh_liang",
    )


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
) -> Solution[Direction]:
    """The v of mini-batch SGD with momentum, from ``start``: ``gradient`` (u) or ``zero``.

    Batches follow ``RandomState(epoch).permutation(n)``, as published.
    """
    return momentum_descent(
        system(loss, damping),
        u,
        (partial(loss.product, rows=rows) for rows in _published_batches(len(loss.labels), epochs, batch)),
        learning_rate=learning_rate,
        momentum=momentum,
        start=u if start == "gradient" else None,
    )


def _published_batches(samples: int, epochs: int, batch: int) -> Iterator[np.ndarray]:
    for epoch in range(epochs):
        order = np.random.RandomState(epoch).permutation(samples)
        yield from np.array_split(order, -(-samples // batch))

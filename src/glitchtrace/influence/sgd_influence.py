"""SGD-influence: what a training run would have lost or gained without one of its samples; and its two rivals.

A training by plain SGD is recorded (``training.recorded``), can be repeated without any of its samples, and is walked
backwards to estimate the effect of each removal, all start epochs in one pass:

    u ← ∇L_val(θ_T);   for t = T−1 … t0:   r_i += (η_t/b_t)·⟨u, ∇l_i(θ_t)⟩ for i ∈ S_t;   u −= η_t·H_t·u

r_i estimates how much the mean validation loss changes when sample i is left out of the training: r_i < 0
marks a harmful sample.  With the final parameters in place of θ_t the snapshots are not needed (Suzuki et
al.); without the second line the walk is a gradient product like TracIn's.

Source: Hara, Nitanda, Maehara, NeurIPS 2019; Suzuki, Kobayashi, Narihira 2021;
docs/methods/sgd-influence.md#backward-walk.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.solvers import Operator, Solution, momentum_descent
from glitchtrace.models.network import Network
from glitchtrace.training.recorded.objective import Direction, State, dot
from glitchtrace.training.recorded.recording import TrainingSamples, check_trace
from glitchtrace.training.recorded.trace import Snapshots, Trace
from glitchtrace.training.sgd import Samples, batches


def validation_gradient(
    network: Network, state: np.ndarray, trace: Trace, samples: Samples, labels: np.ndarray, batch: int
) -> Direction:
    """u: the gradient of the mean validation loss at a state, in eval mode, without the L2 term."""
    at = State(network, tensors(state, trace, network), training=False)
    total: Direction | None = None
    for start in range(0, len(labels), batch):
        rows = slice(start, start + batch)
        x, y = place(samples.batch(rows), labels[rows], network)
        part = at.gradient(x, y)
        total = part if total is None else tuple(a + b for a, b in zip(total, part, strict=True))
    if total is None:
        raise GlitchtraceError("SGD-influence needs at least one validation sample")
    return tuple(part / len(labels) for part in total)


def sgd_influence(
    network: Network,
    samples: TrainingSamples,
    trace: Trace,
    u: Direction,
    *,
    snapshots: Snapshots | None = None,
    first_epoch: int = 0,
    hessian: bool = True,
    hvp_scale: str = "mean",
    bn: str = "batch",
    on_step: Callable[[int, Direction, np.ndarray], None] | None = None,
) -> np.ndarray:
    """R, (n, E − first_epoch) float64: column j is the influence over the epochs from first_epoch + j on.

    The first column is that of all epochs walked, the last that of the last epoch alone.  ``snapshots``: the
    states before the steps; None takes the final parameters at every step.  ``hessian``: whether u changes
    on the way.  ``hvp_scale``: ``mean``, or ``legacy``, which divides H·u by b_t once more, as two of the
    published programs do.  ``bn``: ``batch``, where the credits of a batch share its statistics and sum to
    ⟨u, batch gradient⟩; ``eval``, with running statistics; ``single``, as published: credits from each
    sample's own statistics, H from those of the batch.  ``on_step`` is given step, u and credits.

    Raises GlitchtraceError for a trace of another network or number of samples, for snapshots that do not
    reach back far enough or do not fit, for an unknown option, and where a value stops being finite.
    """
    check_trace(network, samples, trace)
    first_step = first_epoch * trace.steps_per_epoch
    if snapshots is not None and snapshots.first > first_step:
        raise GlitchtraceError(
            f"snapshots begin at step {snapshots.first}, the walk needs them from step {first_step} on; "
            "record the training with snapshots: all"
        )
    for key, value, known in (
        ("hvp_scale", hvp_scale, ("mean", "legacy")),
        ("bn", bn, ("batch", "eval", "single")),
    ):
        if value not in known:
            raise GlitchtraceError(f"{key}: unknown value '{value}'; use {', '.join(known)}")
    found = np.zeros((len(samples), trace.epochs - first_epoch))
    influence = np.zeros(len(samples))
    state = State(network, tensors(trace.final, trace, network), training=bn != "eval")
    steps = range(trace.steps - 1, first_step - 1, -1)
    for step in tqdm(steps, desc="walk", unit="step", mininterval=10):
        if snapshots is not None:
            state = State(network, tensors(snapshots[step], trace, network), training=bn != "eval")
        rows, seeds = trace.step(step)
        x, y = samples.batch(rows, seeds)
        rate = float(trace.rates[step])
        if hessian:
            credits, product = state.curvature(x, y, u)
        else:
            credits, product = state.directional(x, y, u), ()
        if bn == "single":
            credits = torch.cat([state.directional(x[i : i + 1], y[i : i + 1], u) for i in range(len(rows))])
        penalty = trace.l2 * dot(u, list(state.parameters.values())) if trace.l2 else 0.0
        credit = rate / len(rows) * (credits.double().cpu().numpy() + penalty)
        influence[rows] += credit
        if on_step:
            on_step(step, u, credit)
        if product:
            # The published division meets the Hessian of the mean a second time.
            scale = rate / (len(rows) if hvp_scale == "legacy" else 1)
            u = tuple(_pull(a, b, scale, trace.l2) for a, b in zip(u, product, strict=True))
        if not (np.isfinite(credit).all() and all(bool(part.isfinite().all()) for part in u)):
            raise GlitchtraceError(
                f"SGD-influence stops being finite in step {step} (epoch {step // trace.steps_per_epoch + 1}); "
                "lower the learning rate, or walk the last epoch only"
            )
        if step % trace.steps_per_epoch == 0:
            found[:, step // trace.steps_per_epoch - first_epoch] = influence
    return found


def _pull(u: Tensor, product: Tensor, scale: float, l2: float) -> Tensor:
    """One tensor of u − scale·(H + α·I)·u."""
    return u.sub(product.add(u, alpha=l2) if l2 else product, alpha=scale)


def tensors(state: np.ndarray, trace: Trace, network: Network) -> dict[str, Tensor]:
    """A state as tensors by name, where the network runs."""
    device = network.head.weight.device
    return {name: torch.from_numpy(part).to(device) for name, part in trace.layout.split(state).items()}


def place(x: Tensor, labels: np.ndarray, network: Network) -> tuple[Tensor, Tensor]:
    """Inputs and labels where the network runs, in its precision."""
    weight = network.head.weight
    y = torch.from_numpy(np.asarray(labels).astype(np.int64))
    return x.to(weight.device, weight.dtype), y.to(weight.device)


# --- Koh and Liang


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


def koh_liang(loss: TrainingLoss, v: Direction) -> np.ndarray:
    """Influence functions of Koh and Liang (2017) at the final parameters, (n,) float64.

    r_i = (1/n)·⟨∇l_i(θ_T), v⟩ with (H + λI)·v = u, H the Hessian of the mean training loss without its L2 term and u
    the gradient of the mean validation loss, in whose units r is.  ``v``: by conjugate gradients, the default, LiSSA,
    the recursion of the original paper, or the mini-batch SGD of the published programs, on ``koh_liang_system``.
    Source: docs/methods/influence-functions.md#influence-function.
    """
    return loss.directional(v) / len(loss.labels)


def koh_liang_system(loss: TrainingLoss, damping: float, batch: int | None = None) -> Operator[Direction]:
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
        koh_liang_system(loss, damping),
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


# --- TracIn


def tracin(
    network: Network,
    trace: Trace,
    train: Samples,
    labels: np.ndarray,
    validation: Samples,
    validation_labels: np.ndarray,
    batch: int,
) -> np.ndarray:
    """TracIn with checkpoints (Pruthi et al. 2020), (n,) float64, in units of the mean validation loss.

    r_i = Σ_e (η_e/b)·⟨∇l_i(θ_e), ∇L(θ_e)⟩ over the parameters θ_e after each epoch, with L the mean validation loss,
    η_e the mean rate of the epoch's steps and b the batch size: every step of the epoch is taken to lie at its end, and
    no step to change the effect of an earlier one.  It is the row mean of the estimator ``tracin`` of all layers, over
    b, in O(P) memory.

    Networks are passed in eval mode, ``batch`` samples at a time, without augmentation and without the L2 term.
    """
    total = np.zeros(len(labels))
    rates = trace.rates.reshape(trace.epochs, -1).mean(axis=1)
    for state, rate in zip(trace.epoch_states, rates, strict=True):
        u = validation_gradient(network, state, trace, validation, validation_labels, batch)
        at = State(network, tensors(state, trace, network), training=False)
        total += rate * TrainingLoss(network, at, train, labels, batch).directional(u)
    result: np.ndarray = total / trace.batches.shape[1]
    return result

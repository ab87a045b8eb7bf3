"""Plain SGD, recorded: the order of the samples, the rates, the augmentation, and the parameters on the way.

θ_{t+1} = θ_t − (η_t/b_t)·Σ_{i ∈ S_t} ∇l_i(θ_t), without momentum.  Each trial has an order of its own.  The
published order of epoch e is that of ``RandomState(e).permutation(n)``, on which golden values depend: it is
the same for every trial, and it is the very permutation by which scikit-learn's splitters draw with seed e, so
that wrong labels drawn by them in trial e stand together in a few batches of epoch e.  Source:
docs/methods/sgd-influence.md#order-of-the-samples.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from tqdm import tqdm

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.heap import kept_heap
from glitchtrace.core.seeding import generator
from glitchtrace.models.network import Network
from glitchtrace.training.recorded.objective import losses
from glitchtrace.training.recorded.trace import Layout, Plan, Trace, checksum, plan_fields
from glitchtrace.training.sgd import exact_convolutions, out_of_memory


class TrainingSamples(Protocol):
    """Training samples as a recorded step takes them."""

    def __len__(self) -> int:
        """Number of samples."""

    def batch(self, rows: np.ndarray, seeds: np.ndarray) -> tuple[Tensor, Tensor]:
        """Inputs, augmented by their seeds, and labels of some samples."""


def make_plan(
    samples: int,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    split: str = "even",
    decay: bool = False,
    l2: float = 0.0,
    order_seed: int | None = None,
) -> Plan:
    """The steps of a training on ``samples`` samples.

    ``split``: ``even`` divides each epoch into ⌈n/B⌉ parts whose sizes differ by one at most, ``slice`` into
    parts of B and a last one with what is left.  ``decay``: η_t = η_0/√(t+1), t counted over the whole run.
    ``order_seed``: seed of the trial; None for the published order.  Augmentation seeds count the samples
    in the order of use.
    """
    parts: list[np.ndarray] = []
    for epoch in range(epochs):
        if order_seed is None:
            order = np.random.RandomState(epoch).permutation(samples)
        else:
            order = generator(order_seed, f"recorded order of epoch {epoch}").permutation(samples)
        if split == "even":
            parts += np.array_split(order, -(-samples // batch_size))
        elif split == "slice":
            parts += np.split(order, range(batch_size, samples, batch_size))
        else:
            raise GlitchtraceError(f"split: unknown value '{split}'; use even or slice")
    sizes = np.array([len(part) for part in parts])
    present = np.arange(sizes.max()) < sizes[:, None]
    batches = np.full(present.shape, -1, dtype=np.int32)
    batches[present] = np.concatenate(parts)
    seeds = np.full(present.shape, -1, dtype=np.int64)
    seeds[present] = np.arange(sizes.sum())
    steps = np.arange(len(parts))
    rates = learning_rate / np.sqrt(steps + 1) if decay else np.full(len(parts), learning_rate)
    return Plan(batches, rates.astype(np.float64), seeds, epochs, l2)


def layout_of(network: Network) -> Layout:
    """The layout of a network's states."""
    checkpoint = network.checkpoint()
    trained = sum(checkpoint[name].size for name in network.trained)
    return Layout({name: tensor.shape for name, tensor in checkpoint.items()}, trained)


def check_trace(network: Network, samples: TrainingSamples, trace: Trace) -> None:
    """Raise GlitchtraceError where a trace is of another network or of another number of samples."""
    if dict(layout_of(network).shapes) != dict(trace.layout.shapes):
        raise GlitchtraceError("the trace is that of another network; record the training again")
    recorded = int(trace.batches.max()) + 1
    if recorded != len(samples):
        raise GlitchtraceError(
            f"the trace is of {recorded} samples, the cell has {len(samples)}; record the training again"
        )


def first_snapshot(plan: Plan, snapshots: str) -> int:
    """The first step that is kept: ``all``, ``last`` (epoch only) or ``none``."""
    first = {"all": 0, "last": plan.steps - plan.steps_per_epoch, "none": plan.steps}
    if snapshots not in first:
        raise GlitchtraceError(f"snapshots: unknown value '{snapshots}'; use {', '.join(first)}")
    return first[snapshots]


def snapshot_bytes(plan: Plan, layout: Layout, snapshots: str, itemsize: int = 4) -> int:
    """What the snapshots of a training take on disk."""
    return (plan.steps - first_snapshot(plan, snapshots)) * layout.width * itemsize


def require_space(folder: str | Path, needed: int, key: str) -> None:
    """Raise GlitchtraceError, naming ``key``, where ``folder`` has less than ``needed`` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise GlitchtraceError(
            f"{folder} has {free / 1e9:.2f} GB left, the snapshots of this training take {needed / 1e9:.2f} GB; "
            f"make room, or set {key} to last or none"
        )


def record(
    network: Network,
    samples: TrainingSamples,
    plan: Plan,
    *,
    keep: np.ndarray | None = None,
    first: int | None = None,
    batch_key: str = "batch_size",
) -> Trace:
    """Train ``network``, in place, by a plan, and return the trace.

    ``keep``: where the states before the steps from ``first`` on are written, (T − first, width), an array or
    a memory-mapped file; None keeps none.  Raises GlitchtraceError, naming step, epoch and rate, where a
    parameter stops being finite, and where memory runs out.
    """
    if any(isinstance(module, _DropoutNd) and module.p for module in network.modules()):
        raise GlitchtraceError(
            "a recorded training repeats itself bit by bit, which dropout prevents; set every rate of dropout of the "
            "model to 0"
        )
    layout = layout_of(network)
    first = plan.steps if keep is None else (first or 0)
    initial = layout.flatten(network.checkpoint())
    checksums = np.zeros(plan.steps, dtype=np.uint32)
    epoch_states = []

    def before(step: int) -> None:
        if keep is not None and step >= first:
            keep[step - first] = layout.flatten(network.checkpoint())
            checksums[step] = checksum(keep[step - first])

    def after(epoch: int) -> None:
        epoch_states.append(layout.flatten(network.checkpoint()))

    with out_of_memory(batch_key, plan.batches.shape[1]):
        run(network, samples, plan, before=before, after_epoch=after)
    return Trace(
        **plan_fields(plan),
        initial=initial,
        epoch_states=np.stack(epoch_states),
        checksums=checksums,
        first_snapshot=first,
        layout=layout,
    )


def run(
    network: Network,
    samples: TrainingSamples,
    plan: Plan,
    *,
    first_epoch: int = 0,
    removed: np.ndarray | None = None,
    before: Callable[[int], None] | None = None,
    after_epoch: Callable[[int], None] | None = None,
) -> None:
    """The steps of a plan from an epoch on, in place; a removed sample, mask (n,), leaves the sum alone.

    The divisor stays b_t: the mean over the samples that remain, the L2 term included, counts by their
    share of the batch.  A step of which no sample remains is passed over.  Training and replay are this one
    function, so that a replay without removals repeats the training bit by bit.
    """
    parameters = network.trained_parameters()
    network.train()
    size = plan.steps_per_epoch
    with (
        exact_convolutions(),
        kept_heap(),
        tqdm(range(first_epoch, plan.epochs), desc="training", unit="epoch", mininterval=0) as progress,
    ):
        for epoch in progress:
            for step in range(epoch * size, (epoch + 1) * size):
                if before:
                    before(step)
                rows, seeds = plan.step(step)
                kept = slice(None) if removed is None else ~removed[rows]
                if len(rows[kept]):
                    share = len(rows[kept]) / len(rows)
                    x, y = samples.batch(rows[kept], seeds[kept])
                    _descend(network, parameters, x, y, plan.rates[step] * share, plan.l2)
                    if not all(bool(parameter.isfinite().all()) for parameter in parameters):
                        raise GlitchtraceError(
                            f"training diverged in step {step} (epoch {epoch + 1}) at learning rate "
                            f"{plan.rates[step]:g}; lower training.<dataset>.learning_rate of the model"
                        )
            if after_epoch:
                after_epoch(epoch)


def _descend(
    network: Network, parameters: Sequence[nn.Parameter], x: Tensor, y: Tensor, rate: float, l2: float
) -> None:
    gradients = torch.autograd.grad(losses(network(x), y).mean(), parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if l2:
                gradient = gradient.add(parameter, alpha=l2)
            parameter.sub_(gradient, alpha=float(rate))


def replay(
    network: Network,
    samples: TrainingSamples,
    trace: Trace,
    removed: np.ndarray | None = None,
    *,
    first_epoch: int = 0,
) -> None:
    """Do a recorded training again, as it would have gone without some of its samples.

    Same initial parameters, batches, rates and augmentation; a removed sample is left out of the sum of its step,
    whose divisor stays.  Brings ``network`` to the parameters after the last step of a replay without ``removed``,
    mask (n,).

    ``first_epoch``: 0 trains all epochs anew, E−1 the last one only, from the parameters before it.  With
    nothing removed the result is that of the recorded training, bit by bit.  Raises GlitchtraceError where
    the trace is of another network or another number of samples.  Source:
    docs/methods/sgd-influence.md#removal-and-replay.
    """
    check_trace(network, samples, trace)
    network.restore(trace.layout.split(trace.start_of(first_epoch)))
    run(network, samples, trace, first_epoch=first_epoch, removed=removed)

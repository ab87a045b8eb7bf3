"""Plain stochastic gradient descent, the training that TracIn assumes.

Mean cross entropy over a batch, constant learning rate, no momentum, no weight decay, no augmentation;
samples are shuffled in each epoch and the last, partial batch is kept.  Source:
docs/methods/training.md#training.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.heap import kept_heap
from glitchtrace.core.seeding import generator


class Samples(Protocol):
    """Rows that are turned into tensors batch by batch, such as ``data.preprocess.Inputs``."""

    def __len__(self) -> int:
        """Number of rows."""

    def batch(self, rows: np.ndarray | slice) -> Tensor:
        """The prepared samples of some rows, float32."""


def train(
    module: nn.Module,
    samples: Samples,
    labels: np.ndarray,
    *,
    learning_rate: float,
    batch_size: int,
    epochs: int,
    seed: int,
    device: torch.device,
    smallest_batch: int = 1,
    on_epoch: Callable[[int], None] | None = None,
) -> None:
    """Train, in place, the parameters of ``module`` that require a gradient; its outputs are logits (B, K).

    ``labels``: (n,) integers in 0 … K−1.  The order of the samples and the units that dropout leaves out depend
    on ``seed`` alone.  A last batch of fewer than ``smallest_batch`` samples joins the one before.  ``on_epoch``
    is called after each epoch with its number, from 1, and may change the module's mode.

    Raises GlitchtraceError where the loss or a parameter stops being finite, and where memory runs out.
    """
    targets = torch.tensor(labels, dtype=torch.int64, device=device)
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with (
        _dropout_seed(generator(seed, "dropout"), device),
        exact_convolutions(),
        kept_heap(),
        tqdm(
            enumerate(orders(seed, len(samples), epochs), start=1),
            desc="training",
            total=epochs,
            unit="epoch",
            mininterval=0,
        ) as progress,
    ):
        for epoch, order in progress:
            module.train()
            total = torch.zeros((), device=device)
            with out_of_memory("batch_size", batch_size):
                for rows in batches(order, batch_size, smallest_batch):
                    loss = cross_entropy(module(samples.batch(rows).to(device)), targets[rows])
                    _step(parameters, torch.autograd.grad(loss, parameters), learning_rate)
                    total += loss.detach() * len(rows)
            loss_of_epoch = total.item() / len(samples)
            if not (math.isfinite(loss_of_epoch) and all(p.isfinite().all() for p in parameters)):
                raise GlitchtraceError(
                    f"training diverged in epoch {epoch} at learning rate {learning_rate:g}; "
                    "lower training.<dataset>.learning_rate of the model"
                )
            progress.set_postfix(loss=f"{loss_of_epoch:.4f}", refresh=False)
            if on_epoch:
                on_epoch(epoch)


@torch.no_grad()
def _step(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor], learning_rate: float) -> None:
    # Not torch.optim.SGD: its constructor imports torch's compiler, 1.5 CPU seconds and 150 MiB for each job.
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.sub_(gradient, alpha=learning_rate)


def orders(seed: int, samples: int, epochs: int, draw: str = "loader") -> Iterator[np.ndarray]:
    """The order (n,) in which a training passes its samples, epoch by epoch; ``draw``: another name, other orders."""
    source = generator(seed, draw)
    for _ in range(epochs):
        yield source.permutation(samples)


def steps(
    seed: int, samples: int, epochs: int, batch_size: int, smallest_batch: int = 1, draw: str = "loader"
) -> list[np.ndarray]:
    """The rows of each step of ``train``, for those who repeat it."""
    return [
        rows
        for order in orders(seed, samples, epochs, draw)
        for rows in batches(order, batch_size, smallest_batch)
    ]


def exact_convolutions() -> AbstractContextManager[None]:
    """A context in which a GPU convolves in full precision, in the same way each time."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        deterministic=True, benchmark=False, allow_tf32=False
    )
    return flags


def batches(rows: np.ndarray, size: int, smallest: int = 1) -> Iterator[np.ndarray]:
    """Successive batches of ``rows``; the last may be smaller, but joins the one before if below ``smallest``."""
    starts = [*range(0, len(rows), size)]
    if len(starts) > 1 and len(rows) - starts[-1] < smallest:
        starts.pop()
    for start, end in itertools.pairwise([*starts, len(rows)]):
        yield rows[start:end]


@contextmanager
def _dropout_seed(source: np.random.Generator, device: torch.device) -> Iterator[None]:
    """Seed torch's own generators, which dropout draws from, and set them back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(source.integers(2**63)))
        yield


@contextmanager
def out_of_memory(key: str, value: int) -> Iterator[None]:
    """Turn a failed allocation inside the block into a GlitchtraceError that names ``key`` and a remedy."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # The GPU has an error of its own; torch's allocator on the CPU raises a bare RuntimeError.
        if type(error) is RuntimeError and "can't allocate memory" not in str(error):
            raise
        raise GlitchtraceError(
            f"out of memory with {key}: {value}; try {key}: {max(1, value // 2)}, or give the job more memory"
        ) from None

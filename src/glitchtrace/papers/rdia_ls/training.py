"""Training with a loss per batch that knows which samples to trust, and its evaluation after every epoch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.heap import kept_heap
from glitchtrace.core.seeding import generator
from glitchtrace.papers.rdia_ls.methods import BatchLoss
from glitchtrace.papers.rdia_ls.schedule import Schedule
from glitchtrace.training.optimisers import Adam
from glitchtrace.training.sgd import exact_convolutions

# Rows per forward pass in evaluation: the activations of the convolutional network take 250 MiB.
EVALUATION_ROWS = 500


@dataclass(frozen=True)
class Part:
    """Samples in the form in which the network takes them but for the scale, and their labels.

    ``inputs``: uint8 pixels, which count as x/255, or float32, (n, …).  ``labels``: (n,) int64.
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Tensor | slice) -> Tensor:
        """Prepared inputs of some rows, float32."""
        found = self.inputs[rows]
        return found.to(torch.float32).div_(255) if found.dtype == torch.uint8 else found


def fit(
    networks: Sequence[nn.Module],
    train: Part,
    clean: np.ndarray,
    held_out: Mapping[str, Part],
    *,
    loss: BatchLoss,
    settings: Mapping[str, Any],
    schedule: Schedule,
    batch_size: int,
    weight_decay: float,
    seed: int,
    on_epoch: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Train ``networks`` in place and return one row per epoch, from 0, the untrained networks.

    ``clean``: (n,) bool, whether the label of a training sample is right; it is reported, never learned from.
    ``held_out``: name -> samples.  The order of the samples depends on ``seed`` alone, and the last,
    incomplete batch of an epoch is left out.  Columns: ``epoch``, ``learning_rate``, ``forget_rate``,
    ``loss`` (mean over the batches), ``pure_ratio`` (share of right labels among the samples taken for
    clean, mean over the batches; these three are NaN in epoch 0 where they have no meaning), and
    ``<part>_accuracy`` and ``<part>_worst_class_accuracy`` of every part, the means over the networks; NaN of an
    empty part.

    Raises GlitchtraceError where there are fewer samples than a batch takes, and where the loss or a parameter
    stops being finite.
    """
    if len(train) < batch_size:
        raise GlitchtraceError(
            f"{len(train)} training samples are fewer than one batch of {batch_size}; lower batch_size"
        )
    optimiser = Adam(networks, weight_decay)
    right = torch.from_numpy(clean.astype(np.float32)).to(train.labels.device)
    order = generator(seed, "loader")
    rows = [_row(0, np.nan, np.nan, np.nan, np.nan, networks, held_out)]
    with (
        exact_convolutions(),
        kept_heap(),
        tqdm(range(1, schedule.epochs), desc="training", unit="epoch", mininterval=10) as progress,
    ):
        for epoch in progress:
            rate, beta1 = schedule.learning_rate_at(epoch), schedule.beta1_at(epoch)
            groups = schedule.groups(epoch, batch_size)
            losses, pure, count = 0.0, 0.0, 0
            for network in networks:
                network.train()
            for chosen in _batches(order, len(train), batch_size, train.labels.device):
                inputs, labels = train.batch(chosen), train.labels[chosen]
                value, kept = loss([network(inputs) for network in networks], labels, groups, settings)
                optimiser.step(torch.autograd.grad(value, optimiser.parameters), rate, beta1)
                losses += value.item()
                pure += right[chosen[kept]].mean().item()
                count += 1
            if not (np.isfinite(losses) and optimiser.finite()):
                raise GlitchtraceError(
                    f"training diverged in epoch {epoch} at learning rate {rate:g}; lower learning_rate"
                )
            forget = schedule.forget_rate_at(epoch)
            rows.append(_row(epoch, rate, forget, losses / count, pure / count, networks, held_out))
            if on_epoch:
                on_epoch(epoch)
    return pd.DataFrame(rows)


def _batches(order: np.random.Generator, samples: int, size: int, device: torch.device) -> Iterator[Tensor]:
    """The whole batches of one epoch, as positions."""
    permutation = torch.from_numpy(order.permutation(samples)).to(device)
    for first in range(0, samples - size + 1, size):
        yield permutation[first : first + size]


def _row(
    epoch: int,
    rate: float,
    forget: float,
    loss: float,
    pure: float,
    networks: Sequence[nn.Module],
    held_out: Mapping[str, Part],
) -> dict[str, float]:
    found = {"epoch": epoch, "learning_rate": rate, "forget_rate": forget, "loss": loss, "pure_ratio": pure}
    for name, part in held_out.items():
        overall, worst = np.mean([accuracies(network, part) for network in networks], axis=0)
        found |= {f"{name}_accuracy": float(overall), f"{name}_worst_class_accuracy": float(worst)}
    return found


@torch.inference_mode()
def accuracies(network: nn.Module, part: Part) -> tuple[float, float]:
    """Share of samples whose label is the most probable class, and the least such share within one class.

    A class without samples does not count; both are NaN of no sample.  Leaves the network in eval mode.
    """
    network.eval()
    if not len(part):
        return float("nan"), float("nan")
    starts = range(0, len(part), EVALUATION_ROWS)
    blocks = [slice(first, first + EVALUATION_ROWS) for first in starts]
    right = torch.cat([network(part.batch(rows)).argmax(dim=1) == part.labels[rows] for rows in blocks])
    counts, hits = part.labels.bincount(), part.labels[right].bincount(minlength=int(part.labels.max()) + 1)
    present = counts > 0
    return int(hits.sum()) / len(part), float((hits[present] / counts[present]).min())

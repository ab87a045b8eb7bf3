"""Captum's TracIn classes behind the estimator protocol.

Captum computes the (m, n) influence of all training batches of a data loader; here one block of training rows
and one checkpoint make one call, so that blocks of J come out in order, for each checkpoint alone.  Captum's
own reader of checkpoints knows neither our files nor their learning rates, hence ``Checkpoint.restore``,
which returns the weight that captum multiplies with.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from captum.influence import TracInCPBase
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from glitchtrace.influence.blocks import rows_in, slices
from glitchtrace.influence.estimator import Checkpoint, Estimator, EstimatorInputs, checkpoints
from glitchtrace.influence.per_sample import Samples

if TYPE_CHECKING:
    from glitchtrace.models.network import Network

Construct = Callable[..., TracInCPBase]


class CaptumInfluence(Estimator):
    """Influence by a captum class; ``construct(network, loader, checkpoints, restore)`` makes an instance.

    ``validation_in_batches``: whether that class takes a data loader of validation batches, or a single batch.
    """

    def __init__(
        self,
        cell: EstimatorInputs,
        settings: Mapping[str, Any],
        construct: Construct,
        *,
        validation_in_batches: bool,
    ) -> None:
        self._network, self._construct = cell.problem.network, construct
        self._checkpoints = checkpoints(cell, settings)
        self._train = Samples(cell.problem.train, cell.factors.train.labels)
        self._validation = Samples(cell.problem.validation, cell.factors.validation.labels)
        self._validation_in_batches = validation_in_batches
        self._batch: int = settings["batch"]
        self._memory_mib: float = settings["memory_mib"]

    def blocks(
        self, labels: np.ndarray | None = None, epochs: Sequence[int] | None = None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows and their block of J, (b, m) float32; see ``Estimator.blocks``."""
        train = self._train if labels is None else Samples(self._train.inputs, labels)
        chosen = self._checkpoints if epochs is None else [self._checkpoints[epoch] for epoch in epochs]
        for rows in self._row_blocks():
            yield rows, self._influence(chosen, train, rows)

    def epoch_blocks(self) -> Iterator[tuple[slice, int, np.ndarray]]:
        """Rows, position of the checkpoint and J_t alone; see ``Estimator.epoch_blocks``."""
        for rows in self._row_blocks():
            for epoch, checkpoint in enumerate(self._checkpoints):
                yield rows, epoch, self._influence([checkpoint], self._train, rows)

    def self_influence_per_epoch(self) -> np.ndarray:
        """Self influence at each checkpoint alone, (T, n) float64."""
        train = self._loader(self._train, slice(0, len(self._train)))
        with _without_gradient_warning():
            influences = [
                self._instance([checkpoint], train).self_influence() for checkpoint in self._checkpoints
            ]
        return torch.stack(influences).detach().double().numpy()

    def _influence(self, chosen: Sequence[Checkpoint], train: Samples, rows: slice) -> np.ndarray:
        everything = slice(0, len(self._validation))
        validation = (
            self._loader(self._validation, everything)
            if self._validation_in_batches
            else _Batches(self._validation)[everything]
        )
        with _without_gradient_warning():
            influence = self._instance(chosen, self._loader(train, rows)).influence(validation)
        return np.ascontiguousarray(influence.detach().numpy().T)

    def _instance(self, chosen: Sequence[Checkpoint], train: "DataLoader[Any]") -> TracInCPBase:
        return self._construct(self._network, train, list(chosen), _restore)

    def _loader(self, samples: Samples, rows: slice) -> "DataLoader[Any]":
        batches = list(slices(rows.start, rows.stop, self._batch))
        return DataLoader(_Batches(samples), batch_size=None, sampler=batches)

    def _row_blocks(self) -> Iterator[slice]:
        return slices(0, len(self._train), rows_in(self._memory_mib, 4 * len(self._validation)))


class _Batches(Dataset[tuple[Tensor, Tensor]]):
    """Whole batches of inputs and labels, by slice."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __getitem__(self, rows: slice) -> tuple[Tensor, Tensor]:
        labels = torch.as_tensor(self._samples.labels[rows], dtype=torch.int64)
        return self._samples.inputs.batch(rows), labels


def _restore(network: "Network", checkpoint: Checkpoint) -> float:
    return checkpoint.restore(network)


def _without_gradient_warning() -> warnings.catch_warnings:
    """Captum warns that it makes the inputs require gradients, which is its own doing."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)

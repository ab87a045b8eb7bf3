"""Captum's TracIn classes as estimators of their own names, an independent implementation.

Captum computes the (m, n) influence of all training batches of a data loader; here one block of training rows
and one checkpoint make one call, so that blocks of J come out in order, for each checkpoint alone.  Captum's
own reader of checkpoints knows neither our files nor their learning rates, hence ``Checkpoint.restore``,
which returns the weight that captum multiplies with.

Source: Pruthi et al. 2020, TracInCP and, of the fast form, appendix F; docs/methods/captum.md.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from captum.influence import TracInCP, TracInCPBase, TracInCPFast
from torch import Tensor
from torch.nn import CrossEntropyLoss
from torch.utils.data import DataLoader, Dataset

from glitchtrace.influence.closed_form import rows_in, slices
from glitchtrace.influence.estimator import (
    Checkpoint,
    Estimator,
    EstimatorInputs,
    checkpoints,
    complete_settings,
)
from glitchtrace.influence.factors import check_labels, check_positions
from glitchtrace.influence.per_sample import Samples

if TYPE_CHECKING:
    from glitchtrace.models.network import Network

KIND = "estimator"
CARDS = {
    "captum_tracincp": {
        "summary": "Captum's TracInCP on the head, with its bias: an independent implementation, slow.",
        "settings": {
            "batch": {
                "description": "Samples per pass through the network.",
                "default": 128,
                "type": "integer",
                "minimum": 1,
            },
            "memory_mib": {
                "description": "Memory of one block of rows of the influence matrix, MiB.",
                "default": 64,
                "type": "number",
                "exclusiveMinimum": 0,
            },
        },
    },
    "captum_tracincp_fast": {
        "summary": "Captum's TracInCPFast on the head, without its bias: an independent implementation.",
        "settings": {
            "batch": {
                "description": "Samples per pass through the network.",
                "default": 128,
                "type": "integer",
                "minimum": 1,
            },
            "memory_mib": {
                "description": "Memory of one block of rows of the influence matrix, MiB.",
                "default": 64,
                "type": "number",
                "exclusiveMinimum": 0,
            },
        },
    },
}

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
        if epochs is not None:
            check_positions(epochs, len(self._checkpoints))
        if labels is not None:
            check_labels(labels, len(self._train), self._network.head.out_features)
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


@dataclass(frozen=True)
class CaptumEstimator:
    """A member of the family: its name, what makes captum's class, and how that takes validation samples."""

    name: str
    construct: Construct
    validation_in_batches: bool

    def open_cell(self, cell: EstimatorInputs, settings: Mapping[str, Any]) -> Estimator:
        """The estimator of one cell."""
        complete = complete_settings(self.name, settings)
        return CaptumInfluence(
            cell, complete, self.construct, validation_in_batches=self.validation_in_batches
        )


def head_with_bias(network: Any, train: Any, checkpoints: Any, restore: Any) -> TracInCP:
    """TracInCP on the head, weight and bias."""
    return TracInCP(
        model=network,
        train_dataset=train,
        checkpoints=checkpoints,
        checkpoints_load_func=restore,
        layers=["head"],
        loss_fn=CrossEntropyLoss(reduction="sum"),
        sample_wise_grads_per_batch=True,
    )


def head_without_bias(network: Any, train: Any, checkpoints: Any, restore: Any) -> TracInCPFast:
    """TracInCPFast on the head: the weight only."""
    return TracInCPFast(
        model=network,
        final_fc_layer=network.head,
        train_dataset=train,
        checkpoints=checkpoints,
        checkpoints_load_func=restore,
        loss_fn=CrossEntropyLoss(reduction="sum"),
    )


COMPONENTS = {
    "captum_tracincp": CaptumEstimator("captum_tracincp", head_with_bias, True),
    "captum_tracincp_fast": CaptumEstimator("captum_tracincp_fast", head_without_bias, False),
}

"""Captum's TracIn classes and its Arnoldi form of Koh and Liang as estimators of their own names.

They are implementations independent of ours.

Captum computes the (m, n) influence of all training batches of a data loader; here one block of training rows
and one checkpoint make one call, so that blocks of J come out in order, for each checkpoint alone.  Captum's
own reader of checkpoints knows neither our files nor their learning rates, hence ``Checkpoint.restore``,
which returns the weight that captum multiplies with.

Arnoldi: J_ij = ⟨R ∇ℓ_i, R ∇L_j⟩ at the last checkpoint, RᵀR the inverse of the Hessian of the *summed* training loss on
its top eigenvectors within a Krylov space: n times less than of the mean loss, so that nothing is left to divide.

Source: Pruthi et al. 2020, TracInCP and, of the fast form, appendix F; Schioppa et al. 2022; docs/methods/captum.md.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from captum.influence import TracInCP, TracInCPBase, TracInCPFast
from captum.influence._core.arnoldi_influence_function import ArnoldiInfluenceFunction
from torch import Tensor
from torch.nn import CrossEntropyLoss
from torch.utils.data import DataLoader, Dataset

from glitchtrace.influence.closed_form import rows_in, slices
from glitchtrace.influence.estimator import (
    Checkpoint,
    Estimator,
    EstimatorInputs,
    OneCheckpoint,
    checkpoints,
    complete_settings,
)
from glitchtrace.influence.factors import check_labels, check_positions
from glitchtrace.influence.per_sample import Samples, parameters_of

if TYPE_CHECKING:
    from glitchtrace.models.network import Network

KIND = "estimator"
CARDS = {
    "captum_tracincp": {
        "summary": "Captum's TracInCP on the head, with its bias: an independent implementation, slow.",
        "shares": ["passes", "blocks"],
    },
    "captum_tracincp_fast": {
        "summary": "Captum's TracInCPFast on the head, without its bias: an independent implementation.",
        "shares": ["passes", "blocks"],
    },
    "captum_arnoldi": {
        "label": "Arnoldi (captum)",
        "summary": "Captum's ArnoldiInfluenceFunction: Koh and Liang on the top eigenvectors of the Hessian.",
        "shares": ["passes", "blocks"],
        "without": {"divide_by_batch_size": "there is no learning rate to divide"},
        "settings": {
            "layers": {
                "description": "`head`, or a list of module names whose parameters all count.",
                "default": "head",
                "anyOf": [
                    {"const": "head"},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
                ],
            },
            "projection": {
                "description": "Eigenvectors kept.",
                "default": 50,
                "type": "integer",
                "minimum": 1,
            },
            "krylov": {
                "description": "Products that span their space.",
                "default": 200,
                "type": "integer",
                "minimum": 1,
            },
            "damping": {
                "description": "Added to the eigenvalues.",
                "default": 0.001,
                "type": "number",
                "exclusiveMinimum": 0,
            },
        },
    },
}

# Length of a direction that ends a Krylov space.  Captum's own, 0.1, ends that of a small Hessian early.
_NOTHING_LEFT = 1e-9

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
        train = _loader(self._train, slice(0, len(self._train)), self._batch)
        with _without_gradient_warning():
            influences = [
                self._instance([checkpoint], train).self_influence() for checkpoint in self._checkpoints
            ]
        return torch.stack(influences).detach().double().numpy()

    def _influence(self, chosen: Sequence[Checkpoint], train: Samples, rows: slice) -> np.ndarray:
        everything = slice(0, len(self._validation))
        validation = (
            _loader(self._validation, everything, self._batch)
            if self._validation_in_batches
            else _Batches(self._validation)[everything]
        )
        with _without_gradient_warning():
            influence = self._instance(chosen, _loader(train, rows, self._batch)).influence(validation)
        return np.ascontiguousarray(influence.detach().numpy().T)

    def _instance(self, chosen: Sequence[Checkpoint], train: "DataLoader[Any]") -> TracInCPBase:
        return self._construct(self._network, train, list(chosen), _restore)

    def _row_blocks(self) -> Iterator[slice]:
        return slices(0, len(self._train), rows_in(self._memory_mib, 4 * len(self._validation)))


class CaptumArnoldi(OneCheckpoint):
    """Koh and Liang by captum's Arnoldi iteration at the last checkpoint; that is the one checkpoint there is."""

    def __init__(self, cell: EstimatorInputs, settings: Mapping[str, Any]) -> None:
        self._network, self._settings = cell.problem.network, settings
        self._checkpoint = checkpoints(cell, settings)[-1]
        self._train = Samples(cell.problem.train, cell.factors.train.labels)
        self._validation = Samples(cell.problem.validation, cell.factors.validation.labels)

    def blocks(
        self, labels: np.ndarray | None = None, epochs: Sequence[int] | None = None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows and their block of J, (b, m) float32; see ``Estimator.blocks``."""
        if epochs is not None:
            check_positions(epochs, 1)
        if labels is not None:
            check_labels(labels, len(self._train), self._network.head.out_features)
        train = self._train if labels is None else Samples(self._train.inputs, labels)
        others = self._embedded(self._validation, slice(0, len(self._validation)))
        for rows in slices(
            0, len(train), rows_in(self._settings["memory_mib"], 4 * (len(others) + others.shape[1]))
        ):
            yield rows, self._embedded(train, rows) @ others.T

    def self_influence_per_epoch(self) -> np.ndarray:
        """‖R ∇ℓ_i‖², (1, n) float64."""
        own = self._embedded(self._train, slice(0, len(self._train))).astype(np.float64)
        return np.asarray(np.vecdot(own, own)[None])

    @cached_property
    def _function(self) -> ArnoldiInfluenceFunction:
        layers = self._settings["layers"]
        with torch.random.fork_rng(devices=[]), _without_gradient_warning():
            return ArnoldiInfluenceFunction(
                model=self._network,
                train_dataset=_loader(self._train, slice(0, len(self._train)), self._settings["batch"]),
                checkpoint=self._checkpoint,
                checkpoints_load_func=_restore,
                layers=["head"] if layers == "head" else list(layers),
                loss_fn=CrossEntropyLoss(reduction="sum"),
                sample_wise_grads_per_batch=True,
                projection_dim=self._settings["projection"],
                arnoldi_dim=self._settings["krylov"],
                arnoldi_tol=_NOTHING_LEFT,
                hessian_reg=self._settings["damping"],
            )

    def _embedded(self, samples: Samples, rows: slice) -> np.ndarray:
        """R ∇ℓ_i of some samples, (b, directions) float32."""
        function = self._function
        self._checkpoint.restore(self._network)
        with _without_gradient_warning():
            found = function.compute_intermediate_quantities(_loader(samples, rows, self._settings["batch"]))
        return np.asarray(found.detach().numpy())


@dataclass(frozen=True)
class ArnoldiEstimator:
    """The component of ``CaptumArnoldi``."""

    def open_cell(self, cell: EstimatorInputs, settings: Mapping[str, Any]) -> Estimator:
        """The estimator of one cell."""
        complete = complete_settings("captum_arnoldi", settings)
        if complete["layers"] != "head":
            parameters_of(cell.problem.network, complete["layers"])
        return CaptumArnoldi(cell, complete)


class _Batches(Dataset[tuple[Tensor, Tensor]]):
    """Whole batches of inputs and labels, by slice."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __getitem__(self, rows: slice) -> tuple[Tensor, Tensor]:
        labels = torch.as_tensor(self._samples.labels[rows], dtype=torch.int64)
        return self._samples.inputs.batch(rows), labels


def _loader(samples: Samples, rows: slice, batch: int) -> "DataLoader[Any]":
    return DataLoader(_Batches(samples), batch_size=None, sampler=list(slices(rows.start, rows.stop, batch)))


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
    "captum_arnoldi": ArnoldiEstimator(),
}

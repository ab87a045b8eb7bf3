"""What every influence estimator offers, and what it is given.

An estimator module holds a ``CARD`` and ``open_cell(cell, settings) -> Estimator``.  The influence matrix
leaves an estimator in blocks of rows only; whatever is made from it is reduced from blocks in one place
(``profile``).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence.closed_form import JointBlock, step_sizes
from glitchtrace.influence.factors import Factors

if TYPE_CHECKING:
    from glitchtrace.data.preprocess import Inputs
    from glitchtrace.models.network import Network


class Estimator(ABC):
    """Influence of n training samples on m validation samples, from T checkpoints."""

    @abstractmethod
    def blocks(
        self, labels: np.ndarray | None = None, epochs: Sequence[int] | None = None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows and their block of J, (b, m), in order, summed over ``epochs`` (positions 0 … T−1; None: all).

        ``labels`` (n,) stand in for the observed training labels; the counterfactual settings apply then.
        A block is the caller's to change.
        """

    @abstractmethod
    def epoch_blocks(self) -> Iterator[tuple[slice, int, np.ndarray]]:
        """Rows, position of the checkpoint and J_t alone, (b, m).

        All checkpoints of one block of rows come before the next block.
        """

    def joint_blocks(self) -> Iterator[JointBlock] | None:
        """Blocks whose influence under other labels, at the last checkpoint, costs little while they are at hand.

        None where it costs as much as later, by ``blocks``.
        """
        return None

    @abstractmethod
    def self_influence_per_epoch(self) -> np.ndarray:
        """Self influence at each checkpoint alone, (T, n) float64."""

    def self_influence(self) -> np.ndarray:
        """Self influence, (n,) float64: the sum over the checkpoints."""
        result: np.ndarray = self.self_influence_per_epoch().sum(axis=0)
        return result


class OneCheckpoint(Estimator):
    """An estimator of one checkpoint, such as the last, or of a training as a whole: T = 1."""

    def epoch_blocks(self) -> Iterator[tuple[slice, int, np.ndarray]]:
        """The same as the one checkpoint that there is."""
        for rows, block in self.blocks():
            yield rows, 0, block


@dataclass(frozen=True)
class Problem:
    """A training problem in torch: the network, its checkpoints by epoch, and the inputs of both parts."""

    network: "Network"
    checkpoints: Sequence[Mapping[str, np.ndarray]]
    train: "Inputs"
    validation: "Inputs"


@dataclass(frozen=True)
class EstimatorInputs:
    """One cell as estimators see it.

    Each half is read when it is first asked for, so that the closed form never imports torch.
    """

    read_factors: Callable[[], Factors]
    read_problem: Callable[[], Problem]
    # How the cell was trained: ``seed`` of the order of samples, ``batch_size``; None where nobody says.
    training: Mapping[str, Any] | None = None

    @cached_property
    def factors(self) -> Factors:
        """Features, probabilities, labels and learning rates."""
        return self.read_factors()

    @cached_property
    def problem(self) -> Problem:
        """Network, checkpoints and inputs.

        Raises GlitchtraceError if checkpoints and factors are not of the same number of epochs.
        """
        problem = self.read_problem()
        if len(problem.checkpoints) != self.factors.epochs:
            raise GlitchtraceError(
                f"checkpoints.safetensors holds {len(problem.checkpoints)} epochs, factors.safetensors "
                f"{self.factors.epochs}; train the cell again"
            )
        return problem

    @property
    def head_alone(self) -> bool:
        """Whether the head alone was trained, on features that stay.

        One array of features for several checkpoints says so; of a single checkpoint only the network can.
        """
        if self.factors.epochs > 1:
            return self.factors.frozen
        return self.problem.network.frozen_features


@dataclass(frozen=True)
class Checkpoint:
    """Tensors of one checkpoint and its weight in the influence, η_t or η_t / |B|."""

    tensors: Mapping[str, np.ndarray]
    weight: float

    def restore(self, network: "Network") -> float:
        """Set the network to this checkpoint, in eval mode, and return the weight."""
        network.restore(self.tensors)
        network.eval()
        return self.weight


def checkpoints(cell: EstimatorInputs, settings: Mapping[str, Any]) -> list[Checkpoint]:
    """The checkpoints that the settings ``epochs`` and ``divide_by_batch_size`` ask for."""
    factors = cell.factors.select(settings["epochs"])
    weights = step_sizes(factors, settings["divide_by_batch_size"])
    return [
        Checkpoint(cell.problem.checkpoints[number - 1], float(weight))
        for number, weight in zip(counted_epochs(cell, settings), weights, strict=True)
    ]


def counted_epochs(cell: EstimatorInputs, settings: Mapping[str, Any]) -> list[int]:
    """The epochs whose checkpoints count by the setting ``epochs``, from 1, ascending."""
    return sorted(settings["epochs"] or range(1, cell.factors.epochs + 1))


def complete_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an estimator with the defaults of its card and the common ones filled in.

    Raises GlitchtraceError for a key that the estimator does not have, or has no use for (``without`` of its card).
    """
    known, unused = registry.settings("estimator", name), registry.card("estimator", name).get("without", {})
    for key in settings:
        if key not in known:
            raise GlitchtraceError(
                f"estimators.{name}.{key}: unknown setting; known: {', '.join(sorted(known))}"
            )
        if settings[key] and key in unused:
            raise GlitchtraceError(f"estimators.{name}.{key}: {unused[key]}; leave it out")
    return {key: schema["default"] for key, schema in known.items()} | dict(settings)

"""What a method is given, and what it proposes to train on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from glitchtrace.papers.rdia.regression import Regression
from glitchtrace.repair.actions import Action, resolve

if TYPE_CHECKING:
    from glitchtrace.papers.rdia.regression import Matrix


@dataclass(frozen=True)
class Problem:
    """A fitted cell as methods see it.

    ``X`` (n, d) with observed ``labels`` (n,); ``validation`` with its labels; the first model's ``parameters``
    θ̂ (d, q) and ``probabilities`` (n, K) of the training samples; ``influence`` Φ (n,), positive where harmful.
    ``mislabelled`` is the number of wrong labels, for methods at the known ratio; which they are is not in here.
    """

    regression: Regression
    X: "Matrix"
    labels: np.ndarray
    validation: "Matrix"
    validation_labels: np.ndarray
    parameters: np.ndarray
    probabilities: np.ndarray
    influence: np.ndarray
    mislabelled: int

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Proposal:
    """What to train on.

    ``actions`` (n,) of ``Action`` and ``labels`` (n,) say it in words.  ``targets`` (n, K) are what is fitted;
    samples ``moving`` (n,) bool have R's loss instead, whose target follows the model.
    """

    actions: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    moving: np.ndarray

    @property
    def changes_nothing(self) -> bool:
        """Whether the first model is the answer already."""
        return bool((self.actions == Action.KEEP).all())


class Method(Protocol):
    """The function ``propose`` of a method's module."""

    def __call__(
        self, problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
    ) -> Proposal:
        """The proposal at a threshold ``alpha`` of Φ, which a method without one ignores."""


def hard(problem: Problem, new_labels: np.ndarray, relabel: np.ndarray, drop: np.ndarray) -> Proposal:
    """New labels for the samples ``relabel``, none of the samples ``drop``; both (n,) bool."""
    actions, labels = resolve(problem.labels, new_labels, relabel, drop)
    targets = problem.regression.one_hot(labels) * (actions != Action.DROP)[:, None]
    return Proposal(actions, labels, targets, moving=np.zeros(len(problem), dtype=bool))


def subset(problem: Problem, weights: np.ndarray) -> Proposal:
    """The observed labels with weights (n,) ≥ 0; a sample of weight 0 is dropped."""
    actions = np.where(weights > 0, Action.KEEP, Action.DROP).astype(np.int8)
    targets = problem.regression.one_hot(problem.labels) * weights[:, None]
    return Proposal(actions, problem.labels, targets, moving=np.zeros(len(problem), dtype=bool))


def nobody(problem: Problem) -> np.ndarray:
    """No sample, bool (n,)."""
    return np.zeros(len(problem), dtype=bool)


def harmful(problem: Problem, alpha: float) -> np.ndarray:
    """D₋ = {i: Φ_i > α}, strictly, bool (n,)."""
    return problem.influence > alpha

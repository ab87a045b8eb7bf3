"""CNCI on the same model: the most suspicious samples take the label of the class that they hurt most.

Source: specification glitch-detection, 6.3.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.influence.class_tables import ClassReducer
from glitchtrace.influence.closed_form import influence_blocks
from glitchtrace.influence.factors import Factors, Part
from glitchtrace.influence.profile import negative_labels
from glitchtrace.repair.rdia.proposal import Problem, Proposal, hard, nobody
from glitchtrace.repair.rdia.regression import dense
from glitchtrace.signals.ranks import flag_top

CARD = {
    "label": "CNCI",
    "summary": "Relabel the samples that CNCI finds most suspicious, as many as are known to be wrong.",
    "settings": {},
}


def propose(
    problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
) -> Proposal:
    """Relabel the k highest CNCI to y⁻, where k is the number of wrong labels; the influence is TracIn's.

    The one checkpoint is the first model, at learning rate 1; it has no bias.
    """
    factors = _factors(problem)
    classes = np.union1d(problem.labels, problem.validation_labels)
    reducer = ClassReducer(problem.validation_labels, classes)
    profile = reducer.reduce(influence_blocks(factors, include_bias=False))
    negative = negative_labels(profile, classes, problem.labels)
    counterfactual = reducer.reduce(influence_blocks(factors, labels=negative, include_bias=False))
    own = np.searchsorted(classes, problem.labels)
    scores = counterfactual.negative[np.arange(len(problem)), own]
    return hard(problem, negative, flag_top(scores, problem.mislabelled), drop=nobody(problem))


def _factors(problem: Problem) -> Factors:
    """The factors of the one checkpoint, in single precision as in the rest of the project."""

    def part(X: Any, probabilities: np.ndarray, labels: np.ndarray) -> Part:
        return Part((dense(X).astype(np.float32),), (probabilities.astype(np.float32),), labels)

    held_out = problem.regression.probabilities(problem.parameters, problem.validation)
    return Factors(
        learning_rates=np.ones(1),
        batch_size=1,
        train=part(problem.X, problem.probabilities, problem.labels),
        validation=part(problem.validation, held_out, problem.validation_labels),
    )

"""cleanlab: confident learning on out-of-sample probabilities, with its suggested labels.

Source: Northcutt, Jiang, Chuang, Confident learning: estimating uncertainty in dataset labels, 2021.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.rdia.proposal import Problem, Proposal, hard, nobody

KIND = "relabelling"
CARD = {
    "label": "cleanlab",
    "summary": "Relabel what cleanlab finds mislabelled to the most probable class out of sample.",
    "settings": {
        "folds": {
            "type": "integer",
            "minimum": 2,
            "description": "Folds of the cross-validation that gives the out-of-sample probabilities.",
            "default": 5,
        },
    },
}


def propose(
    problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
) -> Proposal:
    """Relabel the label issues that ``cleanlab.filter.find_label_issues`` names under its default settings.

    Probabilities come from the same learner in stratified folds.  The clean validation set is not used.
    """
    from cleanlab.filter import find_label_issues

    folds = _folds(problem.labels, settings["folds"], rng)
    targets = problem.regression.one_hot(problem.labels)
    probabilities = np.empty_like(problem.probabilities)
    for fold in range(settings["folds"]):
        held_out = folds == fold
        fitted = problem.regression.fit(problem.X[~held_out], targets[~held_out])
        probabilities[held_out] = problem.regression.probabilities(fitted, problem.X[held_out])
    issues = find_label_issues(problem.labels, probabilities, n_jobs=1)
    return hard(problem, probabilities.argmax(axis=1), issues, drop=nobody(problem))


def _folds(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The fold of every sample, (n,), each class spread evenly."""
    folds = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        folds[members] = np.arange(len(members)) % count
    return folds

"""TracIn with the parameters after each epoch."""

from collections.abc import Mapping
from typing import Any

from glitchtrace.influence.sgd_influence import tracin
from glitchtrace.papers.cleansing.problem import Problem, Scored

KIND = "cleansing_method"
CARD = {
    "label": "TracIn",
    "summary": "Gradient products of sample and validation loss at the parameters after each epoch.",
}


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """−r of each sample."""
    cell = problem.setting.cell
    return Scored(
        -tracin.influence(
            problem.network,
            problem.trace,
            cell.train,
            problem.labels,
            cell.validation,
            cell.validation_labels,
            problem.evaluation_batch,
        )
    )

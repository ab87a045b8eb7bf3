"""RDIA: harmful samples are relabelled by R.

Source: Kong, Shen, Huang, Resolving training biases via influence-based data relabeling, ICLR 2022;
docs/methods/rdia.md#harmful-samples.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from glitchtrace.papers.rdia.proposal import Problem, Proposal, harmful
from glitchtrace.papers.rdia.relabelling import relabelled_targets
from glitchtrace.repair.actions import Action

KIND = "relabelling"
CARD = {
    "label": "RDIA",
    "summary": "Relabel the samples of harmful influence by the relabelling function R, and train on all.",
    "shares": "threshold",
    "settings": {
        "target": {
            "enum": ["moving", "frozen"],
            "description": (
                "Whether the target of a relabelled sample of more than two classes follows the model in "
                "training, as the theorem demands, or stays as it is at the first model."
            ),
            "default": "moving",
        },
    },
}


def propose(
    problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
) -> Proposal:
    """Relabel D₋.

    With two classes that is the other label.  With more, the label in ``labels`` is the most probable of the
    other classes, whose target is the largest, and what is trained on is R's loss or its frozen targets.
    """
    chosen = harmful(problem, alpha)
    others = problem.probabilities.copy()
    others[np.arange(len(problem)), problem.labels] = -1.0
    labels = np.where(chosen, others.argmax(axis=1), problem.labels)
    actions = np.where(chosen, Action.RELABEL, Action.KEEP).astype(np.int8)
    if settings["target"] == "moving":
        return Proposal(actions, labels, problem.regression.one_hot(problem.labels), moving=chosen)
    targets = problem.regression.one_hot(problem.labels)
    targets[chosen] = relabelled_targets(problem.probabilities[chosen], problem.labels[chosen])
    return Proposal(actions, labels, targets, moving=np.zeros(len(problem), dtype=bool))

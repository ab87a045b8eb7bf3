"""Class negative counterfactual influence of the head over the recorded epochs, the project's own signal CNCI."""

from collections.abc import Mapping
from typing import Any

from glitchtrace.papers.cleansing.problem import Problem, Scored
from glitchtrace.papers.cleansing.signals import signal

KIND = "cleansing_method"
CARD = {
    "label": "CNCI",
    "summary": "The signal CNCI, from the states after each epoch of the recorded training.",
    "reads": "epochs",
}


def score(problem: Problem, settings: Mapping[str, Any]) -> Scored:
    """The signal, higher = more suspicious."""
    return Scored(signal(problem, "CNCI"))

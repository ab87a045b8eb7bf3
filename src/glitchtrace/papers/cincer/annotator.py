"""Annotators: who answers the questions of a loop."""

from typing import Protocol

import numpy as np

from glitchtrace.papers.cincer.loop import Loop, Question


class Annotator(Protocol):
    """Answers questions."""

    def labels(self, question: Question) -> dict[int, int]:
        """Labels of the samples asked about; a sample left out keeps its label."""
        ...


class PerfectAnnotator:
    """The simulated annotator of the published experiments, who knows every true label."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = truth

    def labels(self, question: Question) -> dict[int, int]:
        """The true labels of the samples asked about."""
        return {sample: int(self.truth[sample]) for sample in question.pool}


def run(loop: Loop, annotator: Annotator, *, questions: int | None = None) -> None:
    """Drive a loop to the end of its stream, or until ``questions`` have been answered."""
    while (question := loop.advance()) is not None:
        loop.answer(annotator.labels(question))
        if questions is not None and question.number >= questions:
            return

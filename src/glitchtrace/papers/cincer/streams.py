"""Start states of the repeats of a run: annotated labels, known samples, and the stream of arriving ones.

All draws come from one legacy ``RandomState``, in the published order, so that the published states are met exactly;
the loops draw from it after the last start state.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.noise_context import NoiseContext
from glitchtrace.papers.cincer.problem import Problem
from glitchtrace.papers.cincer.sizes import known_count, outlier_count

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """Annotated labels of all training samples, known samples ascending, stream in order of arrival."""

    labels: np.ndarray
    known: np.ndarray
    stream: np.ndarray


def outlier_subset(problem: Problem, *, known: float, iterations: int, rng: np.random.RandomState) -> Problem:
    """The training samples that a run with outlier noise keeps."""
    samples = len(problem.truth)
    return problem.subset(rng.permutation(samples)[: outlier_count(known, iterations, samples)])


def start_states(
    problem: Problem,
    *,
    annotate: Callable[[NoiseContext], np.ndarray],
    ratio: float,
    known: float,
    iterations: int,
    repeats: int,
    precision: bool,
    rng: np.random.RandomState,
    train_margins: Callable[[], np.ndarray],
    tolerance: float = 10,
    needs_wrong: bool = False,
) -> list[Start]:
    """The start states of ``repeats`` repeats.

    ``annotate``: a kind of noise, see ``noises``; ``ratio`` of the training labels becomes wrong.  With ``precision``
    the arriving samples have their true labels.  A number of wrong labels among known and arriving samples that is
    more than ``tolerance`` away from the expected one is logged.  ``needs_wrong``: raise GlitchtraceError where
    there is none in a repeat.
    """
    samples = len(problem.truth)
    count = known_count(known, samples)
    found = []
    for repeat in range(repeats):
        context = NoiseContext(
            problem.inputs, problem.truth, problem.classes, round(samples * ratio), train_margins, rng
        )
        labels = annotate(context)
        chosen = np.sort(rng.permutation(samples)[:count])
        rest = np.setdiff1d(np.arange(samples), chosen)
        stream = rng.permutation(rest)[:iterations]
        if precision:
            labels[stream] = problem.truth[stream]
        used = chosen if precision else np.concatenate([chosen, stream])
        wrong = int((labels[used] != problem.truth[used]).sum())
        if needs_wrong and not wrong:
            raise GlitchtraceError(
                f"ratio: none of the {len(used)} {'known' if precision else 'known and arriving'} samples of repeat "
                f"{repeat} has a wrong label ({int((labels != problem.truth).sum())} of {samples} training labels are "
                "wrong); raise the ratio, or take the noise random"
            )
        if abs(wrong - ratio * len(used)) > tolerance:
            _log.warning(
                "repeat %d: %d wrong labels among %d samples, %.0f expected",
                repeat,
                wrong,
                len(used),
                ratio * len(used),
            )
        found.append(Start(labels, chosen, stream))
    return found

"""Which experts sit on the jury: by the representations that there are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glitchtrace.detectors.jury.ballots import Ballots, Expert, collect
from glitchtrace.detectors.jury.heads import Forest, SoftmaxFolds
from glitchtrace.detectors.jury.kernel import KernelRidge
from glitchtrace.detectors.jury.neighbours import SPARE, VOTERS, Neighbours, Vote, find_neighbours
from glitchtrace.detectors.jury.rows import Rows

NARROW = 60  # a representation of so many columns is taken for a table, and trees are grown on it
BOTH = "all"
_NO_REFIT_ROWS = 200_000


@dataclass(frozen=True)
class Panel:
    """The fitted experts by name, with what a refit or the evidence can reuse of them.

    ``kernels``, ``neighbours``: by representation, "all" for all of them side by side.
    """

    experts: dict[str, Expert]
    kernels: dict[str, KernelRidge]
    neighbours: dict[str, Neighbours]
    ballots: Ballots


def seat(
    rows: Rows, fold: np.ndarray, seed: int, trees: Sequence[str] | None = None, landmarks: int | None = None
) -> Panel:
    """Fit every expert on all rows; no score of a row has seen a label of its unit.

    Kernel ridge on each representation and on all, a vote of neighbours on each, softmax regression in folds on all,
    and a forest on each of ``trees`` (default: the representations of at most 60 columns).
    """
    everything = rows.joined()
    views = dict(rows.views)
    if len(views) > 1:
        views[BOTH] = everything
    kernels = {name: KernelRidge.fit(view, rows, seed, name, landmarks) for name, view in views.items()}
    count = VOTERS + (SPARE if len(rows) <= _NO_REFIT_ROWS else 0)
    neighbours = {name: find_neighbours(view, rows, count, seed) for name, view in rows.views.items()}
    experts: dict[str, Expert] = {f"kernel {name}": kernel for name, kernel in kernels.items()}
    experts |= {f"vote {name}": Vote(near, rows.labels, rows.classes) for name, near in neighbours.items()}
    experts["softmax"] = SoftmaxFolds(everything, rows, fold, seed)
    chosen = [name for name, width in rows.widths.items() if width <= NARROW] if trees is None else trees
    for name in chosen:
        experts[f"forest {name}"] = Forest(rows.views[name], rows, seed)
    return Panel(experts, kernels, neighbours, collect(experts, rows))

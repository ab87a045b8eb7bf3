"""The known samples that a Fisher matrix is made of."""

from collections.abc import Sequence

import numpy as np

from glitchtrace.papers.cincer.query import Query


def fisher_sample(query: Query, size: int | None, rng: np.random.RandomState) -> Sequence[int]:
    """The first ``size`` of one permutation of the known samples, as published; all of them for None.

    Where fewer are known than asked for, the Fisher matrix is their mean; published was a division by the size
    asked for, which only scales all scores.
    """
    if size is None:
        return query.known
    return [int(sample) for sample in rng.permutation(query.known)[:size]]

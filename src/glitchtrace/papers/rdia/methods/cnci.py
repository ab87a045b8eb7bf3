"""CNCI on the same model: the most suspicious samples take the label of the class that they hurt most.

Source: docs/methods/signals.md#cnci.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from glitchtrace.detectors.ranks import flag_top
from glitchtrace.influence.class_tables import ClassReducer
from glitchtrace.influence.closed_form import MEMORY_MIB, influence_blocks, residuals, row_blocks
from glitchtrace.influence.factors import Factors, Part
from glitchtrace.influence.profile import negative_labels
from glitchtrace.papers.rdia.proposal import Problem, Proposal, hard, nobody
from glitchtrace.papers.rdia.regression import dense

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Blocks: TypeAlias = Iterator[tuple[slice, np.ndarray]]

KIND = "relabelling"
CARD = {
    "label": "CNCI",
    "summary": "Relabel the samples that CNCI finds most suspicious, as many as are known to be wrong.",
    "settings": {},
}

# Sparse rows are made dense where both parts then take at most this: on MNIST that is four times as fast.
DENSE_MIB = 256


def propose(
    problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
) -> Proposal:
    """Relabel the k highest CNCI to y⁻, where k is the number of wrong labels; the influence is TracIn's.

    The one checkpoint is the first model, at learning rate 1; it has no bias.
    """
    influence = _influence(problem)
    classes = np.union1d(problem.labels, problem.validation_labels)
    reducer = ClassReducer(problem.validation_labels, classes)
    profile = reducer.reduce(influence(labels=problem.labels))
    negative = negative_labels(profile, classes, problem.labels)
    counterfactual = reducer.reduce(influence(labels=negative))
    own = np.searchsorted(classes, problem.labels)
    scores = counterfactual.negative[np.arange(len(problem)), own]
    return hard(problem, negative, flag_top(scores, problem.mislabelled), drop=nobody(problem))


def _influence(problem: Problem) -> Callable[..., Blocks]:
    """A function of the training ``labels`` (n,): blocks of J, in single precision as in the rest of the project."""
    X, validation = problem.X.astype(np.float32), problem.validation.astype(np.float32)
    probabilities = problem.probabilities.astype(np.float32)
    held_out = problem.regression.probabilities(problem.parameters, problem.validation).astype(np.float32)
    entries = (X.shape[0] + validation.shape[0]) * X.shape[1]
    if not isinstance(X, np.ndarray) and X.dtype.itemsize * entries > DENSE_MIB * 2**20:
        gradients = residuals(held_out, problem.validation_labels)
        return partial(sparse_blocks, X, probabilities, validation, gradients)
    factors = Factors(
        learning_rates=np.ones(1),
        batch_size=1,
        train=Part((dense(X),), (probabilities,), problem.labels),
        validation=Part((dense(validation),), (held_out,), problem.validation_labels),
    )
    return partial(influence_blocks, factors, include_bias=False)


def sparse_blocks(
    X: "csr_matrix",
    probabilities: np.ndarray,
    validation: "csr_matrix",
    gradients: np.ndarray,
    *,
    labels: np.ndarray,
    memory_mib: float = MEMORY_MIB,
) -> Blocks:
    """Blocks of J_ij = (e_i · e_j)(x_i · x_j) as of ``influence_blocks``, from rows that stay sparse.

    ``X`` (n, d) with ``probabilities`` (n, K) and ``labels`` (n,); ``validation`` (m, d) with its ``gradients``
    e_j (m, K).  Beside the rows and their transpose no memory depends on n or d.
    """
    columns = validation.T.tocsr()
    # The product of sparse rows, a value and an index per entry, is held beside the arrays of a dense block.
    for rows in row_blocks(len(labels), len(gradients), 2 * X.dtype.itemsize, memory_mib):
        block = (X[rows] @ columns).toarray()
        block *= residuals(probabilities[rows], labels[rows]) @ gradients.T
        yield rows, block

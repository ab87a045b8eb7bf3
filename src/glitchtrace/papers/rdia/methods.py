"""The methods that RDIA is compared with, and RDIA itself: what each proposes to train on.

A method is a function of the type ``proposal.Method``: problem, threshold α, settings and generator give a
``Proposal``.  Source: docs/methods/rdia.md.  The published methods:

* RDIA: Kong, Shen, Huang, Resolving training biases via influence-based data relabeling, ICLR 2022;
* dropping: Wang, Huan, Li, Data dropout: optimizing training data for convolutional neural networks, 2018;
* OptLR: Ting, Brochu, Optimal subsampling with influence functions, 2018; with the cheap norm Wang, Zhu, Ma, Optimal
  subsampling for large sample logistic regression, 2018;
* UIDS: Wang, Zhu, Dong, He, Huang, Less is better: unweighted data subsampling via influence function, AAAI 2020;
* cleanlab: Northcutt, Jiang, Chuang, Confident learning: estimating uncertainty in dataset labels, 2021.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.portion import portion
from glitchtrace.detectors.ranks import flag_top
from glitchtrace.influence.closed_form import MEMORY_MIB, influence_blocks, residuals, row_blocks
from glitchtrace.influence.factors import Factors, Part
from glitchtrace.influence.profile import ClassReducer, negative_labels
from glitchtrace.influence.solvers import DIRECT_LIMIT
from glitchtrace.papers.rdia.proposal import Method, Problem, Proposal, hard, harmful, nobody, subset
from glitchtrace.papers.rdia.regression import dense, squares
from glitchtrace.papers.rdia.relabelling import relabelled_targets
from glitchtrace.repair.actions import Action

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Blocks: TypeAlias = Iterator[tuple[slice, np.ndarray]]

KIND = "relabelling"
CARDS = {
    "erm": {
        "label": "ERM",
        "summary": "Train on the observed labels as they are.",
        "settings": {},
    },
    "rdia": {
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
    },
    "dropout": {
        "label": "dropping",
        "summary": "Delete the samples of harmful influence.",
        "shares": "threshold",
        "settings": {},
    },
    "random_flip": {
        "label": "random relabelling",
        "summary": "Give a random other label to as many samples, drawn uniformly, as have harmful influence.",
        "shares": "threshold",
        "settings": {},
    },
    "random_subset": {
        "label": "random subset",
        "summary": "Keep a random share of the samples.",
        "shares": "subsample",
        "settings": {},
    },
    "uids": {
        "label": "UIDS",
        "summary": "Keep samples with a probability that falls with their influence, without weights.",
        "shares": "subsample",
        "settings": {
            "steepness": {
                "type": "number",
                "minimum": 0,
                "description": "k of π = 1/(1 + exp(k·Φ/(max Φ − min Φ))).",
                "default": 10,
            },
        },
    },
    "optlr": {
        "label": "OptLR",
        "summary": "Draw samples in proportion to the norm of their influence on the parameters, with inverse weights.",
        "shares": "subsample",
        "settings": {
            "norm": {
                "enum": ["hessian", "gradient"],
                "description": "Probabilities in proportion to ‖H⁻¹∇ℓ_i‖, or to ‖∇ℓ_i‖, which needs no Hessian.",
                "default": "hessian",
            },
        },
    },
    "cleanlab_suggestion": {
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
    },
    "cnci": {
        "label": "CNCI",
        "summary": "Relabel the samples that CNCI finds most suspicious, as many as are known to be wrong.",
        "settings": {},
    },
}

BLOCK = 1024  # rows whose gradients OptLR holds at a time
PASSES = 100  # of UIDS over the samples of a class
# Sparse rows are made dense where both parts then take at most this: on MNIST that is four times as fast.
DENSE_MIB = 256


@dataclass(frozen=True)
class Relabelling:
    """A member of the family."""

    propose: Method


# --- everything, nothing, at random ---------------------------------------------------------------------------------


def erm(problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator) -> Proposal:
    """Keep every sample."""
    return hard(problem, problem.labels, relabel=nobody(problem), drop=nobody(problem))


def dropout(
    problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
) -> Proposal:
    """Drop D₋.  Where all samples are harmful nothing is left, and the fit to nothing is θ = 0."""
    return hard(problem, problem.labels, relabel=nobody(problem), drop=harmful(problem, alpha))


def random_flip(
    problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
) -> Proposal:
    """Relabel |D₋| samples, drawn without replacement; the new label is uniform among the others.

    What choosing by influence is worth.
    """
    relabel = nobody(problem)
    relabel[rng.choice(len(problem), int(harmful(problem, alpha).sum()), replace=False)] = True
    shifts = rng.integers(1, problem.regression.classes, size=len(problem))
    labels = (problem.labels + shifts) % problem.regression.classes
    return hard(problem, labels, relabel, drop=nobody(problem))


def random_subset(
    problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator
) -> Proposal:
    """Keep floor(ratio·n) samples, drawn without replacement: the control of the subsampling methods."""
    weights = np.zeros(len(problem))
    weights[rng.choice(len(problem), portion(settings["ratio"], len(problem)), replace=False)] = 1.0
    return subset(problem, weights)


# --- RDIA -----------------------------------------------------------------------------------------------------------


def rdia(problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator) -> Proposal:
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


# --- subsampling by influence ---------------------------------------------------------------------------------------


def uids(problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator) -> Proposal:
    """Per class, collect floor(ratio·n_class) samples from passes of Bernoulli draws with probability π_i.

    What the last pass has too many is left out at random; what is missing after 100 passes is filled at random.
    """
    probabilities = keep_probabilities(problem.influence, settings["steepness"])
    weights = np.zeros(len(problem))
    for label in np.unique(problem.labels):
        members = np.flatnonzero(problem.labels == label)
        chosen = _collect(probabilities[members], portion(settings["ratio"], len(members)), rng)
        weights[members[chosen]] = 1.0
    return subset(problem, weights)


def keep_probabilities(influence: np.ndarray, steepness: float) -> np.ndarray:
    """π (n,): 1/(1 + exp(k·Φ/(max Φ − min Φ))), ½ everywhere where all influences are equal."""
    spread = np.ptp(influence)
    if not spread:
        return np.full(len(influence), 0.5)
    # ln(1 + eˣ) does not overflow where eˣ does.
    result: np.ndarray = np.exp(-np.logaddexp(0, steepness * influence / spread))
    return result


def _collect(probabilities: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` positions, by passes over those not collected yet."""
    collected = np.zeros(len(probabilities), dtype=bool)
    for _ in range(PASSES):
        drawn = np.flatnonzero(~collected & (rng.random(len(probabilities)) < probabilities))
        missing = count - int(collected.sum())
        collected[drawn if len(drawn) <= missing else rng.choice(drawn, missing, replace=False)] = True
        if collected.sum() == count:
            break
    missing = count - int(collected.sum())
    collected[rng.choice(np.flatnonzero(~collected), missing, replace=False)] = True
    return np.flatnonzero(collected)


def optlr(problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator) -> Proposal:
    """Draw r = floor(ratio·n) times with replacement with probability π_i; a draw weighs 1/(r·π_i).

    The weighted sum of losses then has the expectation of the sum over all samples.  Raises GlitchtraceError
    where the Hessian is too large for ``norm: hessian``.
    """
    own = problem.regression.residuals(problem.probabilities, problem.regression.one_hot(problem.labels))
    norms = _norms(problem, own, settings["norm"])
    total = norms.sum()
    shares = norms / total if total else np.full(len(problem), 1 / len(problem))
    draws = portion(settings["ratio"], len(problem))
    counts = rng.multinomial(draws, shares)
    weights = np.divide(counts, draws * shares, out=np.zeros(len(problem)), where=counts > 0)
    return subset(problem, weights)


def _norms(problem: Problem, own: np.ndarray, norm: str) -> np.ndarray:
    """‖∇ℓ_i‖ or ‖H⁻¹∇ℓ_i‖, (n,), from the residuals ``own`` (n, q)."""
    if norm == "gradient":
        lengths = np.sqrt(np.asarray(squares(problem.X).sum(axis=1)).ravel())
        result: np.ndarray = np.linalg.norm(own, axis=1) * lengths
        return result
    from scipy.linalg import cho_factor, cho_solve

    hessian = problem.regression.hessian(problem.parameters, problem.X)
    if hessian.size > DIRECT_LIMIT:
        raise GlitchtraceError(
            f"OptLR: a Hessian of {hessian.size} rows is too large (at most {DIRECT_LIMIT}); "
            "set relabellings.<name>.norm: gradient"
        )
    factor = cho_factor(hessian.matrix(), lower=True, overwrite_a=True)
    norms = np.empty(len(problem))
    for first in range(0, len(problem), BLOCK):
        rows = slice(first, first + BLOCK)
        X = dense(problem.X[rows])
        gradients = (X[:, :, None] * own[rows, None, :]).reshape(len(X), -1)
        norms[rows] = np.linalg.norm(cho_solve(factor, gradients.T), axis=0)
    return norms


# --- cleanlab and CNCI ----------------------------------------------------------------------------------------------


def cleanlab_suggestion(
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


def cnci(problem: Problem, alpha: float, settings: Mapping[str, Any], rng: np.random.Generator) -> Proposal:
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


COMPONENTS = {
    "erm": Relabelling(erm),
    "rdia": Relabelling(rdia),
    "dropout": Relabelling(dropout),
    "random_flip": Relabelling(random_flip),
    "random_subset": Relabelling(random_subset),
    "uids": Relabelling(uids),
    "optlr": Relabelling(optlr),
    "cleanlab_suggestion": Relabelling(cleanlab_suggestion),
    "cnci": Relabelling(cnci),
}

"""Folds that respect groups and time, and what learners say of every row without having seen its fold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from glitchtrace.audit.learners import Learner, floored, learners, loss, predict
from glitchtrace.audit.representation import Representation
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator

_CHOICE_ROWS = 1500  # on so many rows the learners are compared, where there are more
_KEPT = 2  # learners that judge all rows
_LEAST_PAST = 0.5  # of the rows before a stretch of time that are to be of other groups


@dataclass(frozen=True)
class CrossFit:
    """``experts``: learner → (n, K) probabilities, or (n,) numbers, each of rows not seen.  ``losses``: held-out
    loss of every candidate.  ``best``: the candidate with the least.
    """

    experts: dict[str, np.ndarray]
    losses: dict[str, float]
    best: str


def grouped_folds(
    strata: np.ndarray,
    folds: int,
    seed: int,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
) -> np.ndarray:
    """The fold (n,) of each row, of which ``may_train`` says who may judge it.

    Groups are never divided, and folds are stratified by ``strata``.  With times, folds are stretches of time, in
    their order, which never divide rows of one time; a stretch whose groups hold most of its past is divided by
    groups once more.  Raises GlitchtraceError where there are fewer than two groups.
    """
    n = len(strata)
    groups = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    size = np.bincount(groups)
    if len(size) < 2:
        raise GlitchtraceError(
            "all rows are equal or of one group, so none can judge another; give other columns or another group"
        )
    if times is not None:
        when, count = np.unique(times, return_inverse=True, return_counts=True)[1:]
        # A time lies in the stretch that holds the middle of its rows.
        stretch = ((2 * (np.cumsum(count) - count) + count - 1) * folds // (2 * n))[when]
        found = stretch * folds
        for number in np.unique(found):
            inside = found == number
            if may_train(found, number, times, groups).sum() < _LEAST_PAST * (found < number).sum():
                found[inside] += np.unique(groups[inside], return_inverse=True)[1] % folds
        fold: np.ndarray = np.unique(found, return_inverse=True)[1]
        return fold
    folds = min(folds, len(size))
    first = np.full(len(size), n)
    np.minimum.at(first, groups, np.arange(n))
    order = generator(seed, "audit folds").permutation(len(size))
    order = order[np.lexsort((-size[order], strata[first[order]]))]
    fold_of_group = np.empty(len(size), dtype=np.int64)
    fold_of_group[order] = np.arange(len(size)) % folds
    return fold_of_group[groups]


def strata_of(y: np.ndarray, count: int) -> np.ndarray:
    """Numbers (n,) as codes of ``count`` strata of as many rows each, by rank."""
    strata: np.ndarray = np.argsort(np.argsort(y, kind="stable"), kind="stable") * count // len(y)
    return strata


def may_train(
    fold: np.ndarray, number: int, times: np.ndarray | None = None, groups: np.ndarray | None = None
) -> np.ndarray:
    """Rows (n,) from which fold ``number`` may be judged: those of other folds.

    With times, the rows before all of the fold, but for ``groups`` that stand in it: time divides them.
    """
    inside = fold == number
    if times is None:
        other: np.ndarray = ~inside
        return other
    earlier: np.ndarray = times < times[inside].min()
    if groups is not None:
        earlier &= ~np.isin(groups, groups[inside])
    return earlier


def compare_learners(
    views: Representation,
    y: np.ndarray,
    classes: int,
    fold: np.ndarray,
    *,
    seed: int,
    judging: bool = True,
    times: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    tick: Callable[[float], None] = lambda share: None,
) -> CrossFit:
    """Compare the learners on held-out rows, then let the best ones judge all rows out of fold, if they are to.

    ``y``: (n,) codes or numbers of the rows.  Without ``judging`` there are no experts, only losses.  With
    ``times``, the past and other ``groups`` alone judge; rows before which nothing lies get the shares of the classes,
    those before which a single class lies the same probability for each.
    """
    candidates = learners(views, classes)
    chosen = np.arange(len(y))
    if len(y) > _CHOICE_ROWS:
        chosen = np.sort(generator(seed, "audit choice").choice(len(y), _CHOICE_ROWS, replace=False))
    whole = judging and len(chosen) == len(y)
    losses: dict[str, float] = {}
    experts: dict[str, np.ndarray] = {}
    for number, learner in enumerate(candidates.values()):
        found = out_of_fold(
            learner, views, y, classes, fold, chosen, seed, None if whole else 2, times, groups
        )
        seen = np.isfinite(found).reshape(len(found), -1).all(axis=1)
        losses[learner.name] = loss(y[chosen][seen], found[seen], classes)
        if whole:
            experts[learner.name] = found
        tick(0.5 * (number + 1) / len(candidates))
    order = sorted(losses, key=lambda name: (losses[name], name))
    kept = _different(order)
    if not judging:
        return CrossFit({}, losses, order[0])
    if not whole:
        for number, name in enumerate(kept):
            experts[name] = out_of_fold(
                candidates[name], views, y, classes, fold, np.arange(len(y)), seed, None, times, groups
            )
            tick(0.5 + 0.5 * (number + 1) / len(kept))
    return CrossFit({name: experts[name] for name in kept}, losses, order[0])


def _different(order: Sequence[str]) -> list[str]:
    """The best learners, one of each kind."""
    kept: list[str] = []
    for name in order:
        if name.partition("_")[0] not in {each.partition("_")[0] for each in kept}:
            kept.append(name)
    return kept[:_KEPT]


def out_of_fold(
    learner: Learner,
    views: Representation,
    y: np.ndarray,
    classes: int,
    fold: np.ndarray,
    rows: np.ndarray,
    seed: int,
    folds: int | None = None,
    times: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    taught: np.ndarray | None = None,
) -> np.ndarray:
    """What a learner says of ``rows`` (b,), out of fold: (b, K) probabilities or (b,) numbers.

    NaN beyond the first ``folds``, which None does not limit; only rows that are ``taught`` (n,) train, by default
    all.
    """
    found = np.full((len(rows), classes) if classes else len(rows), np.nan)
    numbers = np.unique(fold) if times is None else np.unique(fold)[::-1]  # the last have the longest past
    for number in numbers[:folds]:
        inside = fold[rows] == number
        may = may_train(fold, int(number), times, groups)
        train = rows[(may if taught is None else may & taught)[rows]]
        if not len(train):
            found[inside] = np.bincount(y, minlength=classes) / len(y) if classes else np.median(y)
            continue
        if not inside.any() or (classes and len(np.unique(y[train])) < 2):
            found[inside] = 1 / classes if classes else np.median(y)
            continue
        found[inside] = predict(learner, views, y, train, rows[inside], classes, seed)
    return found


def predict_again(
    names: Sequence[str],
    views: Representation,
    y: np.ndarray,
    fold: np.ndarray,
    taught: np.ndarray,
    *,
    seed: int,
    times: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """The mean prediction (n,) out of fold of some learners of numbers, taught by some rows (n,) only."""
    known = learners(views, 0)
    rows = np.arange(len(y))
    found = [
        out_of_fold(known[name], views, y, 0, fold, rows, seed, None, times, groups, taught) for name in names
    ]
    result: np.ndarray = np.mean(found, axis=0)
    return result


def neighbour_vote(
    neighbours: np.ndarray,
    distances: np.ndarray,
    y: np.ndarray,
    classes: int,
    fold: np.ndarray,
    times: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Probabilities (n, K) from the labels of neighbours in other folds, each weighing exp(−d²/mean d²).

    With ``times``, of earlier neighbours of other ``groups``.
    """
    scale = max(float((distances**2).mean()), 1e-12)
    heard = fold[neighbours] != fold[:, None]
    if times is not None:
        heard = times[neighbours] < times[:, None]
        if groups is not None:
            heard &= groups[neighbours] != groups[:, None]
    weights = np.exp(-(distances**2) / scale) * heard
    votes = np.zeros((len(y), classes))
    for column in range(neighbours.shape[1]):
        np.add.at(votes, (np.arange(len(y)), y[neighbours[:, column]]), weights[:, column])
    total = votes.sum(axis=1, keepdims=True)
    votes = (votes + 0.02 * (total + 1e-12)) / (total * (1 + 0.02 * classes) + 0.02 * classes * 1e-12)
    return floored(votes)

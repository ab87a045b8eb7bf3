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


@dataclass(frozen=True)
class CrossFit:
    """``experts``: learner → (n, K) probabilities, or (n,) numbers, each of rows not seen.  ``losses``: held-out
    loss of every candidate.  ``best``: the candidate with the least.
    """

    experts: dict[str, np.ndarray]
    losses: dict[str, float]
    best: str
    fold: np.ndarray


def folds_of(
    strata: np.ndarray,
    folds: int,
    seed: int,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
) -> np.ndarray:
    """The fold (n,) of each row.

    Groups are never divided.  With times, folds are stretches of time; else they are stratified by ``strata``.
    Raises GlitchtraceError where there are fewer than two groups.
    """
    n = len(strata)
    groups = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    size = np.bincount(groups)
    if len(size) < 2:
        raise GlitchtraceError(
            "group: all rows are of one group, and folds never divide one; choose another column"
        )
    folds = min(folds, len(size))
    first = np.full(len(size), n)
    np.minimum.at(first, groups, np.arange(n))
    if times is not None:
        known = np.where(np.isnan(times), np.nanmedian(times) if not np.isnan(times).all() else 0.0, times)
        middle = np.bincount(groups, weights=known) / size
        order = np.argsort(middle, kind="stable")
        before = np.concatenate([[0], np.cumsum(size[order])[:-1]])
        fold_of_group = np.empty(len(size), dtype=np.int64)
        fold_of_group[order] = np.minimum(before * folds // n, folds - 1)
        fold_of_group = np.unique(fold_of_group, return_inverse=True)[1]
        if fold_of_group.max() == 0:
            fold_of_group[order[len(order) // 2 :]] = 1
        return fold_of_group[groups]
    order = generator(seed, "audit folds").permutation(len(size))
    order = order[np.lexsort((-size[order], strata[first[order]]))]
    fold_of_group = np.empty(len(size), dtype=np.int64)
    fold_of_group[order] = np.arange(len(size)) % folds
    return fold_of_group[groups]


def cross_fit(
    views: Representation,
    y: np.ndarray,
    classes: int,
    fold: np.ndarray,
    *,
    table: bool,
    seed: int,
    judging: bool = True,
    past: bool = False,
    tick: Callable[[float], None] = lambda share: None,
) -> CrossFit:
    """Compare the learners on held-out rows, then let the best ones judge all rows out of fold, if they are to.

    ``y``: (n,) codes or numbers of the rows.  Without ``judging`` there are no experts, only losses.  ``past``: a
    row is judged by earlier folds alone; the first fold has none, and its rows get the shares of the classes.
    """
    candidates = learners(len(y), views.lines.shape[1], classes, table)
    chosen = np.arange(len(y))
    if len(y) > _CHOICE_ROWS:
        chosen = np.sort(generator(seed, "audit choice").choice(len(y), _CHOICE_ROWS, replace=False))
    whole = judging and len(chosen) == len(y)
    losses: dict[str, float] = {}
    experts: dict[str, np.ndarray] = {}
    for number, learner in enumerate(candidates):
        found = _out_of_fold(learner, views, y, classes, fold, chosen, seed, None if whole else 2, past)
        seen = np.isfinite(found).reshape(len(found), -1).all(axis=1)
        losses[learner.name] = loss(y[chosen][seen], found[seen], classes)
        if whole:
            experts[learner.name] = found
        tick(0.5 * (number + 1) / len(candidates))
    order = sorted(losses, key=lambda name: (losses[name], name))
    kept = _different(order)
    if not judging:
        return CrossFit({}, losses, order[0], fold)
    if not whole:
        for number, name in enumerate(kept):
            learner = next(each for each in candidates if each.name == name)
            experts[name] = _out_of_fold(
                learner, views, y, classes, fold, np.arange(len(y)), seed, None, past
            )
            tick(0.5 + 0.5 * (number + 1) / len(kept))
    return CrossFit({name: experts[name] for name in kept}, losses, order[0], fold)


def _different(order: Sequence[str]) -> list[str]:
    """The best learners, one of each kind."""
    kept: list[str] = []
    for name in order:
        if name.partition("_")[0] not in {each.partition("_")[0] for each in kept}:
            kept.append(name)
    return kept[:_KEPT]


def _out_of_fold(
    learner: Learner,
    views: Representation,
    y: np.ndarray,
    classes: int,
    fold: np.ndarray,
    rows: np.ndarray,
    seed: int,
    folds: int | None,
    past: bool,
) -> np.ndarray:
    found = np.full((len(rows), classes) if classes else len(rows), np.nan)
    numbers = np.unique(fold)[::-1] if past else np.unique(fold)  # the last have the longest past
    for number in numbers[:folds]:
        inside = fold[rows] == number
        train = rows[fold[rows] < number] if past else rows[~inside]
        if not len(train):
            found[inside] = np.bincount(y, minlength=classes) / len(y) if classes else np.median(y)
            continue
        if not inside.any() or (classes and len(np.unique(y[train])) < 2):
            found[inside] = 1 / classes if classes else np.median(y)
            continue
        found[inside] = predict(learner, views, y, train, rows[inside], classes, seed)
    return found


def neighbour_vote(
    neighbours: np.ndarray,
    distances: np.ndarray,
    y: np.ndarray,
    classes: int,
    fold: np.ndarray,
    past: bool = False,
) -> np.ndarray:
    """Probabilities (n, K) from the labels of neighbours in other folds, each weighing exp(−d²/mean d²).

    ``past``: in earlier folds alone.
    """
    scale = max(float((distances**2).mean()), 1e-12)
    theirs, own = fold[neighbours], fold[:, None]
    weights = np.exp(-(distances**2) / scale) * (theirs < own if past else theirs != own)
    votes = np.zeros((len(y), classes))
    for column in range(neighbours.shape[1]):
        np.add.at(votes, (np.arange(len(y)), y[neighbours[:, column]]), weights[:, column])
    total = votes.sum(axis=1, keepdims=True)
    votes = (votes + 0.02 * (total + 1e-12)) / (total * (1 + 0.02 * classes) + 0.02 * classes * 1e-12)
    return floored(votes)

"""Nearest neighbours that may vouch for a row: never of its own unit; exact, or approximate above a size."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from glitchtrace.core.seeding import generator
from glitchtrace.detectors.jury.rows import Rows

VOTERS = 15
SPARE = 25  # further neighbours, for votes from which folds are left out
_BLOCKED_ROWS = 20_000  # up to here by blocks of the distance matrix
_FLAT_ROWS = 150_000  # up to here by faiss, exact; above, by its inverted lists
_WIDEST_UNIT = 64  # approximate search looks so far past a row's own unit


@dataclass(frozen=True)
class Neighbours:
    """The nearest rows of other units.

    ``index`` (N, M) int64, nearest first, -1 where there are fewer; ``weight`` (N, M) float32: exp(-d² / mean d²).
    """

    index: np.ndarray
    weight: np.ndarray


def find_neighbours(view: np.ndarray, rows: Rows, count: int = VOTERS + SPARE, seed: int = 0) -> Neighbours:
    """The ``count`` nearest rows of other units for each row of ``view`` (N, d)."""
    count = min(count, len(view) - 1)
    if len(view) <= _BLOCKED_ROWS:
        index, distances = _by_blocks(view, rows.units, count)
    else:
        index, distances = _by_faiss(view, rows.units, count, seed)
    voters = distances[:, :VOTERS]
    known = np.isfinite(voters)
    mean = float(voters[known].mean()) if known.any() else 1.0
    weight = np.exp(-distances / mean) if mean > 0 else np.ones_like(distances)
    weight[~np.isfinite(distances)] = 0
    return Neighbours(index, weight.astype(np.float32))


def _by_blocks(view: np.ndarray, units: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    norms = np.square(view).sum(axis=1)
    shared = np.bincount(units)[units] > 1
    index = np.empty((len(view), count), dtype=np.int64)
    nearest = np.empty((len(view), count), dtype=np.float32)
    step = max(1, 2_000_000 // len(view))
    for start in range(0, len(view), step):
        part = slice(start, start + step)
        # The norm of the row itself, which moves no order, is added to those kept.
        distances = (-2 * view[part]) @ view.T
        distances += norms
        distances[np.arange(len(distances)), np.arange(start, start + len(distances))] = np.inf
        several = np.flatnonzero(shared[part])
        if len(several):
            near = distances[several]
            near[units[start + several, None] == units] = np.inf
            distances[several] = near
        some = np.argpartition(distances, count - 1, axis=1)[:, :count]
        value = np.maximum(np.take_along_axis(distances, some, axis=1) + norms[part, None], 0)
        order = np.lexsort((some, value), axis=1)
        index[part] = np.take_along_axis(some, order, axis=1)
        nearest[part] = np.take_along_axis(value, order, axis=1)
    index[~np.isfinite(nearest)] = -1
    return index, nearest


def _by_faiss(view: np.ndarray, units: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    import faiss

    N, width = view.shape
    data = np.ascontiguousarray(view, dtype=np.float32)
    largest = min(int(np.bincount(units).max()), _WIDEST_UNIT)
    wanted = min(count + largest, N)
    if N <= _FLAT_ROWS:
        search: Any = faiss.IndexFlatL2(width)
    else:
        lists = int(2 * np.sqrt(N))
        search = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, lists)
        search.cp.seed = seed + 1234
        search.cp.niter = 10
        search.nprobe = 12
        some = generator(seed, "jury lists").choice(N, min(N, 40 * lists), replace=False)
        search.train(data[some])
    search.add(data)
    index = np.full((N, count), -1, dtype=np.int64)
    nearest = np.full((N, count), np.inf, dtype=np.float32)
    step = 16_384
    for start in range(0, N, step):
        distances, found = search.search(data[start : start + step], wanted)
        mine = units[start : start + step, None]
        allowed = (found >= 0) & (units[found] != mine)
        # Allowed ones first, in their order.
        order = np.argsort(~allowed, axis=1, kind="stable")[:, :count]
        kept = np.take_along_axis(allowed, order, axis=1)
        index[start : start + step] = np.where(kept, np.take_along_axis(found, order, axis=1), -1)
        nearest[start : start + step] = np.where(kept, np.take_along_axis(distances, order, axis=1), np.inf)
    return index, np.maximum(nearest, 0)


def vote(neighbours: Neighbours, block: np.ndarray, targets: np.ndarray, classes: int) -> np.ndarray:
    """log(share + 0.02) of each class among the nearest ``VOTERS`` (len(block), K).

    ``targets``: labels (N,) or, soft, (N, K).
    """
    return vote_of(neighbours.index[block, :VOTERS], neighbours.weight[block, :VOTERS], targets, classes)


def vote_of(index: np.ndarray, weight: np.ndarray, targets: np.ndarray, classes: int) -> np.ndarray:
    """The vote of given neighbours (rows, M); those with index -1 or weight 0 do not count."""
    weight = np.where(index >= 0, weight, 0).astype(np.float64)
    if targets.ndim == 1:
        cell = np.arange(len(index))[:, None] * classes + targets[index]
        share: np.ndarray = np.bincount(cell.ravel(), weights=weight.ravel(), minlength=len(index) * classes)
        share = share.astype(np.float64).reshape(len(index), classes)
    else:
        share = np.zeros((len(index), classes))
        for place in range(index.shape[1]):
            share += weight[:, place, None] * targets[index[:, place]]
    total = share.sum(axis=1, keepdims=True)
    share /= np.where(total > 0, total, 1)
    result: np.ndarray = np.log(share + 0.02)
    return result


def without_folds(
    neighbours: Neighbours, block: np.ndarray, fold: np.ndarray, left_out: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Index and weight of the nearest ``VOTERS`` outside of some folds (len(block), VOTERS)."""
    index = neighbours.index[block]
    allowed = (index >= 0) & ~np.isin(fold[index], left_out)
    order = np.argsort(~allowed, axis=1, kind="stable")[:, :VOTERS]
    kept = np.take_along_axis(allowed, order, axis=1)
    weight = np.where(kept, np.take_along_axis(neighbours.weight[block], order, axis=1), 0)
    return np.take_along_axis(index, order, axis=1), weight


@dataclass(frozen=True)
class Vote:
    """The nearest rows of other units vote with their observed labels."""

    neighbours: Neighbours
    labels: np.ndarray
    classes: int

    def scores(self, block: np.ndarray) -> np.ndarray:
        """log(share + 0.02) (len(block), K)."""
        return vote(self.neighbours, block, self.labels, self.classes)

"""Neighbours, duplicates, leaks and rows that belong to no class: everything that distances say."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glitchtrace.core.seeding import generator
from glitchtrace.detectors.jury.rows import CHANCE

NEIGHBOURS = 15
_EXACT_ROWS = 30_000  # beyond, neighbours are looked for in the nearest cells of an inverted file
# So many rows share a cell on average at most, and beyond their square a row is compared with so many at most: the cost
# of a row does not grow with their number, nor where thousands of rows are equal and lie in one cell.
_CELL_ROWS, _COMPARED = 320, 10_000
_PROBED = 8  # cells
_CENTRED_ROWS = 2**16  # decide the centres of the cells
_BLOCK = 2**16  # rows that are held in double precision at once
_FINE = 1e-3  # of a standard deviation: numeric rows of which no cell is farther apart are near duplicates
_NEAR = 0.03  # of the usual distance to a neighbour: pictures within it are near duplicates
# Of the contrast: neighbours whose small grey pictures differ by less are one picture saved twice.  Copies as JPEG of
# quality 75 differ by .02 to .06, different digits or garments by .08 at least (3,000 of each).
_ALIKE = 0.05
_PARTNERS = 5  # nearest trusted rows that are looked at
_WIDER = 10  # times the tolerance: how near rows come by chance shows there
_BY_CHANCE = 0.05  # of the rows found nearly equal, at most so many may be expected by chance
_OFTEN = 10  # times that rows stand on average where no copying explains it
_CROWDED = 3  # columns: in arrays of more, hardly one of 10,000 independent rows is that near to another


@dataclass(frozen=True)
class Duplicates:
    """``cluster``: (n,) the first row of the cluster of each row, itself where it has no twin.  ``equal``: (n,) the
    first row that equals it in everything but id and label.  ``by_chance``: equal rows are the rule here.
    """

    cluster: np.ndarray
    equal: np.ndarray
    by_chance: bool

    @property
    def twin(self) -> np.ndarray:
        """Rows (n,) that repeat an earlier one."""
        twin: np.ndarray = self.cluster != np.arange(len(self.cluster))
        return twin


def nearest(
    matrix: np.ndarray, count: int, seed: int, others: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices and distances (n, count) of the nearest other rows, or of the nearest rows of ``others``, ascending."""
    rows = np.ascontiguousarray(matrix if others is None else others, dtype=np.float32)
    asked = None if others is None else np.ascontiguousarray(matrix, dtype=np.float32)
    n = len(rows)
    count = min(count, n - (others is None))
    squared, found = _searched(rows, asked, count + (others is None), seed)
    if others is not None:
        squared[found < 0], found[found < 0] = np.inf, 0
        return found.astype(np.int64), np.sqrt(np.maximum(squared, 0))
    # A row may stand anywhere among its exact twins: take it out by name, else the last.
    own = found == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True
    found, squared = found[~own].reshape(n, count), squared[~own].reshape(n, count)
    lost = found < 0
    found[lost] = np.broadcast_to(np.arange(n)[:, None], found.shape)[lost]
    squared[lost] = squared[~lost].max() if (~lost).any() else 0
    return found.astype(np.int64), np.sqrt(np.maximum(squared, 0))


def _searched(
    rows: np.ndarray, asked: np.ndarray | None, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances and indices (m, count) of the rows nearest to those asked, or to each other; −1: none."""
    import faiss

    faiss.omp_set_num_threads(1)
    n, width = rows.shape
    if n <= _EXACT_ROWS:
        flat: Any = faiss.IndexFlatL2(width)
        flat.add(rows)
        found: tuple[np.ndarray, np.ndarray] = flat.search(rows if asked is None else asked, count)
        return found
    cells = max(int(np.sqrt(n)), n // _CELL_ROWS)
    centres: Any = faiss.IndexFlatL2(width)
    index: Any = faiss.IndexIVFFlat(centres, width, cells)
    chosen = generator(seed, "audit cells").choice(n, min(n, 40 * cells, _CENTRED_ROWS), replace=False)
    index.cp.niter, index.cp.min_points_per_centroid = 8, 1
    index.train(rows[np.sort(chosen)])
    away, near = centres.search(rows, _PROBED)
    own = np.ascontiguousarray(near[:, 0])  # named: its memory is read by its address
    index.add_core(n, faiss.swig_ptr(rows), None, faiss.swig_ptr(own))
    if asked is None:
        asked = rows
    else:
        away, near = centres.search(asked, _PROBED)
    index.nprobe, index.max_codes = _PROBED, _COMPARED if n > _CELL_ROWS**2 else 0
    squared = np.empty((len(asked), count), dtype=np.float32)
    places = np.empty((len(asked), count), dtype=np.int64)
    # Rows of one cell in turn: what they compare with is at hand.
    order = np.argsort(near[:, 0], kind="stable")
    faiss.omp_set_num_threads(threads())  # each row is asked for alone: the number changes no result
    for some in np.array_split(order, len(order) // _BLOCK + 1):
        squared[some], places[some] = index.search_preassigned(asked[some], count, near[some], away[some])
    faiss.omp_set_num_threads(1)
    return squared, places


def threads() -> int:
    """The processors that this process may use: ``OMP_NUM_THREADS``, else all."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(int(given), 1) if given.isdigit() else len(os.sched_getaffinity(0))


def duplicates(
    hashes: np.ndarray,
    matrix: np.ndarray | None,
    neighbours: np.ndarray,
    distances: np.ndarray,
    *,
    table: bool,
    seed: int = 0,
    small: np.ndarray | None = None,
) -> Duplicates:
    """Clusters of equal and nearly equal rows.

    Equal: the same digest of content.  Near: neighbours that are ``close``.
    """
    n = len(hashes)
    known = np.asarray(hashes, dtype=str) if hashes.dtype == object else hashes
    _, first, codes = np.unique(known, return_index=True, return_inverse=True)
    twins = n - len(first)
    by_chance = twins > CHANCE * n and (table or (matrix is not None and repeated_by_chance(matrix, codes)))
    edges = [np.stack([np.arange(n), first[codes]], axis=1)]
    if matrix is not None and distances.size and not by_chance:
        pairs = close(
            matrix,
            matrix,
            neighbours,
            distances,
            distances,
            table=table,
            seed=seed,
            small=small,
            others_small=small,
        )
        if table:
            pairs = _told_apart(pairs, matrix, matrix, codes[pairs[:, 0]] == codes[pairs[:, 1]])
        edges.append(pairs)
    cluster = connected(n, np.concatenate(edges))
    return Duplicates(cluster, first[codes], by_chance)


def repeated_by_chance(matrix: np.ndarray, codes: np.ndarray) -> bool:
    """Whether more than a tenth of the rows of an array (n, d) repeat another one, of the same code (n,), by chance.

    Values that meet by chance meet in all columns but one as well, and none of them is theirs alone; the columns of one
    category as 0 and 1 count as one.  Copies of numbers that scatter have cells of their own, and copies of long rows
    of few values differ from others in many.  Of a single column, and where rows stand ``_OFTEN`` times on average,
    equality is the rule.
    """
    _, first, repeats = np.unique(codes, return_index=True, return_counts=True)
    if len(first) > 1 and (matrix.shape[1] == 1 or len(matrix) >= _OFTEN * len(first)):
        return True
    distinct, repeats = matrix[first], repeats - 1
    common = np.ones(len(distinct), dtype=bool)
    # Each value of a column has a random number, and a sum of them names a row or a part of it.
    rng = generator(0, "audit cells of equal rows")
    whole, columns = np.zeros(len(distinct), dtype=np.uint64), []
    for column in distinct.T:
        _, value, count = np.unique(column, return_inverse=True, return_counts=True)
        common &= (count > 1)[value]
        if repeats[common].sum() <= CHANCE * len(matrix):
            return False
        number = rng.integers(2**63, size=len(count), dtype=np.uint64)
        whole += number[value]
        columns.append((number, value.astype(np.min_scalar_type(len(count)))))
    beside, start = np.zeros(len(distinct), dtype=bool), 0
    while start < len(columns):
        end = start + _one_category(columns[start:])
        others = whole.copy()
        for number, value in columns[start:end]:
            others -= number[value]
        _, rest, count = np.unique(others, return_inverse=True, return_counts=True)
        beside |= (count > 1)[rest]
        start = end
    return bool(repeats[common & beside].sum() > CHANCE * len(matrix))


def _one_category(columns: Sequence[tuple[np.ndarray, np.ndarray]]) -> int:
    """How many of the first columns are one category as 0 and 1, each row having exactly one of them; else 1.

    ``columns``: of each its values, in order, and the place among them of that of each row (n,).
    """
    taken = np.zeros(len(columns[0][1]), dtype=bool)
    for width, (values, place) in enumerate(columns, start=1):
        if len(values) != 2 or (taken & (place == 1)).any():
            return 1
        taken |= place == 1
        if taken.all():
            return width
    return 1


def close(
    matrix: np.ndarray,
    others: np.ndarray,
    neighbours: np.ndarray,
    distances: np.ndarray,
    usual: np.ndarray,
    *,
    table: bool,
    seed: int,
    small: np.ndarray | None = None,
    others_small: np.ndarray | None = None,
) -> np.ndarray:
    """Pairs (m, 2) of a row of ``matrix`` (n, d) and a neighbour of it in ``others`` that nearly equals it.

    ``neighbours``, ``distances``: (n, k) as of ``nearest``; ``usual``: distances of rows to their neighbours among
    themselves.  Tables: no cell differs by more than 0.001 standard deviations.  Pictures and arrays: the distance
    is less than 3 % of the median distance to the nearest neighbour, or the small grey pictures (n, 256) differ by
    less than 5 % of their contrast (root mean square).  In tables, and in arrays of three columns or fewer, only
    where independent rows would hardly be so near: see ``_reach``.
    """
    bound = _FINE if table else _NEAR * float(np.median(usual[:, 0]))
    if table or (bound > 0 and matrix.shape[1] <= _CROWDED):
        apart = _apart(matrix, others, neighbours, distances, bound, table)
        between = ((apart > bound) & np.isfinite(apart)).sum(axis=1)
        # A row whose neighbours are all that near does not show how many more are: look further.
        crowded = _within(apart[:, -1]) & (neighbours.shape[1] < len(others) - (others is matrix))
        wider = min(_WIDER * neighbours.shape[1], len(others))
        if 0 < crowded.sum() <= CHANCE * len(matrix):
            near, away = nearest(matrix[crowded], wider, seed, others)
            more = _apart(matrix[crowded], others, near, away, bound, table)
            between[crowded] = ((more > bound) & np.isfinite(more)).sum(axis=1)
            crowded[crowded] = _within(more[:, -1]) & (wider < len(others))
        apart[crowded], between[crowded] = np.inf, 0
        alike = apart <= _reach(apart, int(between.sum()), bound)
    else:
        alike = distances < bound
    if not table and small is not None and others_small is not None:
        spread, others_spread = small.std(axis=1), others_small.std(axis=1)
        for column in range(neighbours.shape[1]):
            there = neighbours[:, column]
            contrast = np.sqrt(((small - others_small[there]) ** 2).mean(axis=1))
            alike[:, column] |= contrast < _ALIKE * np.minimum(spread, others_spread[there])
    rows, columns = np.nonzero(alike)
    return np.stack([rows, neighbours[rows, columns]], axis=1)


def _told_apart(pairs: np.ndarray, matrix: np.ndarray, others: np.ndarray, equal: np.ndarray) -> np.ndarray:
    """The pairs (m, 2) without those of unequal content and equal numbers, where these are the rule.

    Rare words and categories are in no number.  Where more than a tenth of the rows differ from a neighbour in such
    alone, as short texts of common words do, this is chance, as it is with equal rows.
    """
    blurred = ~equal & (matrix[pairs[:, 0]] == others[pairs[:, 1]]).all(axis=1)
    return pairs[~blurred] if len(np.unique(pairs[blurred, 0])) > CHANCE * len(matrix) else pairs


def _within(apart: np.ndarray) -> np.ndarray:
    found: np.ndarray = (apart > 0) & np.isfinite(apart)
    return found


def _apart(
    matrix: np.ndarray,
    others: np.ndarray,
    neighbours: np.ndarray,
    distances: np.ndarray,
    bound: float,
    table: bool,
) -> np.ndarray:
    """How far neighbours (n, k) are apart, in a table by their furthest cell; infinite beyond ten bounds."""
    if not table:
        return np.where(distances <= _WIDER * bound, distances, np.inf)
    # Twice: distances are rounded.
    rows, columns = np.nonzero(distances <= 2 * _WIDER * bound * matrix.shape[1] ** 0.5)
    apart = np.full(neighbours.shape, np.inf, dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        here, place = rows[start : start + _BLOCK], columns[start : start + _BLOCK]
        apart[here, place] = np.abs(matrix[here] - others[neighbours[here, place]]).max(axis=1)
    apart[apart > _WIDER * bound] = np.inf
    return apart


def _reach(apart: np.ndarray, between: int, bound: float) -> float:
    """The largest distance within ``bound`` at which neighbours (n, k) ``apart`` are evidence of a copy; 0: none is.

    Independent rows that differ in one number are within a distance as often as it is long, and those that differ in
    more numbers fall off faster.  So the neighbours ``between`` one and ten bounds, by nine, are at least as many as
    chance puts within one, however many columns there are and however they depend on each other.  At the distance
    returned chance explains at most 5 % of the rows that have a neighbour so near: Benjamini and Hochberg (1995), the
    null counted in the data.  Distance 0 is left to the rule for equal rows.
    """
    nearest_one = np.sort(np.where(apart > 0, apart, np.inf).min(axis=1, initial=np.inf))
    steps = nearest_one[: np.searchsorted(nearest_one, bound, side="right")]
    found = np.searchsorted(steps, steps, side="right")
    expected = between / (_WIDER - 1) * steps / bound
    return float(steps[expected <= _BY_CHANCE * found].max(initial=0))


def connected(n: int, edges: np.ndarray) -> np.ndarray:
    """The first row (n,) of the connected part that each row lies in, by edges (m, 2)."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(edges), dtype=np.int8), (edges[:, 0], edges[:, 1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    first = np.full(component.max() + 1, n)
    np.minimum.at(first, component, np.arange(n))
    found: np.ndarray = first[component]
    return found


def leaks(
    hashes: np.ndarray,
    trusted: np.ndarray,
    matrix: np.ndarray | None,
    others: np.ndarray | None,
    usual: np.ndarray,
    *,
    table: bool,
    seed: int,
    small: np.ndarray | None = None,
    others_small: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The row (n,) of the trusted data that a row equals, or nearly equals; −1 where there is none.

    ``matrix`` (n, d), ``others`` (m, d): both in one representation, or None where only equal content is looked
    for.  ``usual``: as of ``close``.  Also returns (n,) whether the content is equal.
    """
    place: dict[str, int] = {}
    for row, value in enumerate(trusted):
        place.setdefault(str(value), row)
    found = np.array([place.get(str(value), -1) for value in hashes], dtype=np.int64)
    exact = found >= 0
    if matrix is not None and others is not None and len(others) and usual.size:
        near, distances = nearest(matrix, _PARTNERS, seed, others)
        pairs = close(
            matrix,
            others,
            near,
            distances,
            usual,
            table=table,
            seed=seed,
            small=small,
            others_small=others_small,
        )
        pairs = pairs[~exact[pairs[:, 0]]]
        if table:
            pairs = _told_apart(pairs, matrix, others, np.zeros(len(pairs), dtype=bool))
        fresh = pairs[::-1]  # the nearest is written last
        found[fresh[:, 0]] = fresh[:, 1]
    return found, exact


def far_rows(
    matrix: np.ndarray, labels: np.ndarray | None, distances: np.ndarray, max_false: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How little each row belongs to any class: score, probability, and the rows that stand out.

    The score is the distance to the nearest class centre in the metric of the scatter within classes, and the
    distance to the 15th neighbour, each as a robust standard score of its logarithm; their mean decides.  The upper
    tail of the score under a normal law fitted to the lower half gives the probability.
    """
    from scipy.stats import norm

    n = len(matrix)
    centres = _class_distance(matrix, labels)
    parts = [_robust(np.log(centres + 1e-6))]
    if distances.size:
        parts.append(_robust(np.log(distances[:, -1] + 1e-6)))
    score = _robust(np.mean(parts, axis=0))
    # Tails of real data are longer than normal ones: a tail fitted to the upper quarter, never shorter than normal.
    upper = np.quantile(score, [0.75, 0.9, 0.97])
    wanted = norm.ppf([0.75, 0.9, 0.97])
    stretch = max(1.0, float(np.median(upper / wanted)), float(upper[-1] / wanted[-1]) if n >= 200 else 1.0)
    null = norm.sf(score / stretch)
    order = np.argsort(-score, kind="stable")
    expected = n * null[order]
    rate = expected / np.arange(1, n + 1)
    rate = np.minimum.accumulate(rate[::-1])[::-1]
    probability = np.empty(n)
    probability[order] = 1 - np.minimum(rate, 1)
    return score, probability, probability >= 1 - max_false / 2


def _class_distance(matrix: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    codes = np.zeros(len(matrix), dtype=np.int64) if labels is None else labels
    known = codes >= 0
    count = int(codes.max()) + 1
    sizes = np.bincount(codes[known], minlength=count)
    kept = np.flatnonzero(sizes >= 5)
    if not len(kept):
        kept, codes, sizes = np.array([0]), np.zeros(len(matrix), dtype=np.int64), np.array([len(matrix)])
    means = np.stack([_medians(matrix[codes == code]) for code in kept])
    place = np.full(max(count, 1), -1)
    place[kept] = np.arange(len(kept))
    inside = place[np.maximum(codes, 0)]
    covariance = np.zeros((matrix.shape[1],) * 2)
    for start in range(0, len(matrix), _BLOCK):
        there = inside[start : start + _BLOCK]
        own = there >= 0
        used = matrix[start : start + _BLOCK][own].astype(np.float64) - means[there[own]]
        covariance += used.T @ used
    covariance /= (inside >= 0).sum()
    covariance += np.eye(len(covariance)) * (0.05 * np.trace(covariance) / len(covariance) + 1e-9)
    factor = np.linalg.cholesky(np.linalg.inv(covariance))
    centres = means @ factor
    found = np.full(len(matrix), np.inf)
    for start in range(0, len(matrix), _BLOCK):
        part = slice(start, start + _BLOCK)
        projected = matrix[part].astype(np.float64) @ factor
        for centre in centres:
            found[part] = np.minimum(found[part], ((projected - centre) ** 2).sum(axis=1))
    distance: np.ndarray = np.sqrt(found)
    return distance


def _medians(rows: np.ndarray) -> np.ndarray:
    """The median of each column, one by one in double precision."""
    return np.array([np.median(column.astype(np.float64)) for column in rows.T])


def _robust(values: np.ndarray) -> np.ndarray:
    """(v − median)/scale, the scale from the lower half, where nothing strange lies."""
    middle = np.median(values)
    low = np.quantile(values, 0.16)
    scale = middle - low
    if scale <= 1e-12:
        scale = float(np.std(values)) or 1.0
    result: np.ndarray = (values - middle) / scale
    return result


def influence(
    features: np.ndarray,
    probabilities: np.ndarray,
    y: np.ndarray,
    rows: Sequence[int],
    fold: np.ndarray,
    count: int,
) -> list[tuple[list[int], list[int]]]:
    """For each of ``rows`` the rows of other folds that its label helps and hurts most.

    J_ij = (e_i·e_j)(h_i·h_j + 1) with e = p − onehot(y) out of fold: what a step on row i changes at row j.
    """
    residual = probabilities.astype(np.float32).copy()
    residual[np.arange(len(y)), y] -= 1
    scaled = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    found = []
    for row in rows:
        effect = (residual @ residual[row]) * (scaled @ scaled[row] + 1)
        effect[fold == fold[row]] = 0
        count = min(count, len(effect) - 1)
        best = np.argpartition(-effect, count - 1)[:count]
        worst = np.argpartition(effect, count - 1)[:count]
        helps = [int(j) for j in best[np.argsort(-effect[best], kind="stable")] if effect[j] > 1e-4]
        hurts = [int(j) for j in worst[np.argsort(effect[worst], kind="stable")] if effect[j] < -1e-4]
        found.append((helps, hurts))
    return found

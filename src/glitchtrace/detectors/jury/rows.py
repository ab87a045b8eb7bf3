"""What the jury knows of its rows before any label: scaled representations, units that go together, folds."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.data import doors

WIDTH = 128  # columns kept of a wider representation
_PCA_ROWS = 20_000  # rows that decide the principal axes
CHANCE = 0.1  # where more rows repeat an earlier one, the data are made of few different rows, each of them many times


@dataclass(frozen=True)
class Rows:
    """Training rows first, validation rows after them; N = n + m in all.

    ``views``: name -> (N, d) float32, centred, mean squared column 1.  ``widths``: columns before the reduction.
    ``units`` (N,) int64: rows of one unit (a group, or rare exact duplicates) never vouch for each other.
    ``labels`` (N,) int64 observed labels; ``training``: n; ``classes``: K.
    """

    views: dict[str, np.ndarray]
    widths: dict[str, int]
    units: np.ndarray
    labels: np.ndarray
    training: int
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def joined(self) -> np.ndarray:
        """All views side by side (N, sum of d)."""
        views = list(self.views.values())
        return views[0] if len(views) == 1 else np.concatenate(views, axis=1)

    def blocks(self, size: int = 8192) -> Iterator[np.ndarray]:
        """Index arrays that together hold every row once and never part a unit; about ``size`` rows each."""
        order = np.argsort(self.units, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(self.units[order]) > 0])
        # No cut lies within the last unit, however large it is; what is left of a block joins the one before.
        places = np.searchsorted(starts, np.arange(size, len(order), size)[:-1])
        cuts = np.unique([0, *starts[places[places < len(starts)]], len(order)])
        for begin, end in itertools.pairwise(cuts.tolist()):
            yield order[begin:end]


def prepare_view(features: np.ndarray, seed: int, width: int = WIDTH) -> np.ndarray:
    """Centred float32 columns whose mean square is 1; wider than ``width``: the leading principal components."""
    features = np.asarray(features, dtype=np.float32)
    centred = features - features.mean(axis=0)
    if centred.shape[1] > width:
        some = centred
        if len(some) > _PCA_ROWS:
            some = some[generator(seed, "jury axes").choice(len(some), _PCA_ROWS, replace=False)]
        columns = some.shape[1]
        _, axes = eigh(
            (some.T @ some).astype(np.float64),
            subset_by_index=[columns - width, columns - 1],
            check_finite=False,
            overwrite_a=True,
        )
        axes = axes[:, ::-1]
        # The sign of an axis is arbitrary: its largest entry is made positive.
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
        centred = centred @ axes.astype(np.float32)
    scale = float(np.sqrt(np.mean(np.square(centred, dtype=np.float64))))
    result: np.ndarray = centred / np.float32(scale) if scale > 0 else centred
    return result


def find_units(views: Mapping[str, np.ndarray], groups: np.ndarray | None) -> np.ndarray:
    """The unit of each row (N,) int64, numbered by first appearance.

    Two rows are of one unit if they have one group, or equal values in every representation; and so on through
    chains.  Where more than a share of ``CHANCE`` of the rows repeat an earlier one, equal values come by chance and
    make no unit: a row would be judged by what differs from it alone.  ``groups`` (N,) integers; a negative one
    belongs to no group.
    """
    arrays = [np.ascontiguousarray(np.asarray(view, dtype=np.float32)) for view in views.values()]
    together = (
        np.concatenate([a.reshape(len(a), -1) for a in arrays], axis=1) if len(arrays) > 1 else arrays[0]
    )
    together = np.ascontiguousarray(together + np.float32(0))  # -0 and 0 are one value
    N = len(together)
    keys = together.view(np.dtype((np.void, together.dtype.itemsize * together.shape[1]))).reshape(N)
    distinct, same = np.unique(keys, return_inverse=True)
    if len(distinct) > 1 and N - len(distinct) > CHANCE * N:
        same = np.arange(N)
    if groups is not None:
        member = np.flatnonzero(groups >= 0)
        _, group = np.unique(groups[member], return_inverse=True)
        left = np.r_[np.arange(N), member]
        right = np.r_[N + same, N + same.max() + 1 + group]
        size = int(right.max()) + 1
        graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(size, size))
        same = connected_components(graph, directed=False)[1][:N]
    _, first, inverse = np.unique(same, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def deal_folds(units: np.ndarray, labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold (N,) of each row: units whole, classes spread evenly, sizes as even as whole units allow."""
    _, first, sizes = np.unique(units, return_index=True, return_counts=True)
    if len(first) < 2:
        raise GlitchtraceError(
            "all rows are equal or of one group, so none can vouch for another; give others"
        )
    shuffled = generator(seed, "jury folds").permutation(len(first))
    order = shuffled[np.lexsort((labels[first[shuffled]], -sizes[shuffled]))]
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(first)) % count
    result: np.ndarray = fold[units]
    return result


def gather_rows(
    representations: Mapping[str, np.ndarray],
    labels: np.ndarray,
    validation: tuple[Mapping[str, np.ndarray], np.ndarray] | None,
    groups: np.ndarray | None,
    seed: int,
) -> Rows:
    """Check what the user gives and put training and validation rows under each other.

    Raises GlitchtraceError where shapes, types or names do not fit together.
    """
    labels = _labels(labels, "labels")
    if not representations:
        raise GlitchtraceError("representations: none; give a mapping of names to arrays (rows, columns)")
    others, seen = validation if validation is not None else ({}, np.empty(0, dtype=np.int64))
    seen = _labels(seen, "validation labels") if validation is not None else seen
    raw, widths = {}, {}
    for name, view in representations.items():
        parts = [_view(view, name, len(labels))]
        if validation is not None:
            if name not in others:
                raise GlitchtraceError(
                    f"validation: no representation {name!r}; give the same names as for training"
                )
            parts.append(_view(others[name], f"{name} of validation", len(seen)))
            if parts[0].shape[1] != parts[1].shape[1]:
                raise GlitchtraceError(
                    f"{name}: {parts[0].shape[1]} columns in training, {parts[1].shape[1]} in validation; "
                    "give the same columns"
                )
        raw[name] = np.concatenate(parts) if len(parts) > 1 else parts[0]
        widths[name] = raw[name].shape[1]
    every = np.concatenate([labels, seen])
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != labels.shape:
            raise GlitchtraceError(
                f"groups: shape {groups.shape}, labels {labels.shape}; give one per training row"
            )
        groups = np.unique(groups, return_inverse=True)[1]
        groups = np.r_[groups, np.full(len(seen), -1)]
    units = find_units(raw, groups)
    classes = int(every.max()) + 1
    if len(np.unique(labels)) < 2:
        raise GlitchtraceError("labels: one class only; a jury needs at least two")
    views = {name: prepare_view(view, seed) for name, view in raw.items()}
    return Rows(views, widths, units, every, len(labels), classes)


def _labels(labels: np.ndarray, name: str) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels) or labels.dtype.kind not in "iu":
        raise GlitchtraceError(
            f"{name}: {labels.dtype} of shape {labels.shape}; give one integer 0 … K-1 per row"
        )
    if labels.min() < 0:
        raise GlitchtraceError(f"{name}: {labels.min()} is negative; number the classes 0 … K-1")
    return labels.astype(np.int64)


def _view(view: np.ndarray, name: str, rows: int) -> np.ndarray:
    view = np.asarray(view)
    if view.dtype.kind not in "fiub" or view.ndim < 2 or len(view) != rows:
        raise GlitchtraceError(
            f"{name}: {view.dtype} of shape {view.shape}; give numbers, {rows} rows as the labels"
        )
    return doors.single(view.reshape(rows, -1), name)

"""Samples as matrices: one for trees, one standardised for lines, networks and neighbours.

Nothing here has seen a label, so nothing can leak one: means, deviations, words and their directions are those of all
rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glitchtrace.data.table_files import Column

_MOST_CATEGORIES = 50  # of a column as 0 or 1; what is rarer is one category, "other"
_TEXT_SIZE = 64
_WORDS = 20000


@dataclass(frozen=True)
class Representation:
    """``lines``: float32 (n, d), standardised.  ``trees``: float32 (n, q) with NaN, or None where no trees grow.

    ``said``: what it is, for the report.  ``cuts``: name -> columns of ``lines``, where it has several parts.
    ``trusted``: (m, d) the rows of the trusted data in the same representation, where there are some.  ``small``,
    ``trusted_small``: grey levels (n, 256), (m, 256) of pictures at 16 × 16 pixels.
    """

    lines: np.ndarray
    trees: np.ndarray | None
    said: str
    cuts: tuple[tuple[str, int, int], ...] = ()
    trusted: np.ndarray | None = None
    small: np.ndarray | None = None
    trusted_small: np.ndarray | None = None

    def parts(self) -> dict[str, np.ndarray]:
        """The parts by name."""
        if not self.cuts:
            return {"columns": self.lines}
        return {name: self.lines[:, first:last] for name, first, last in self.cuts}

    def of(self, rows: np.ndarray) -> "Representation":
        """The same for some rows; nothing is copied where they are all."""
        if len(rows) == len(self.lines) and (rows == np.arange(len(rows))).all():
            return Representation(self.lines, self.trees, self.said, self.cuts)
        trees = None if self.trees is None else self.trees[rows]
        return Representation(self.lines[rows], trees, self.said, self.cuts)


def of_columns(columns: Sequence[Column], seed: int, trusted: Sequence[Column] = ()) -> Representation:
    """The representation of typed columns.

    Numbers and dates: (x − median)/scale, compressed beyond ±3; missing values: the median, of an embedding the mean,
    and a column that says so.  Categories: 0 or 1.  Text: TF-IDF, then 64 directions of a truncated singular value
    decomposition.
    ``trusted``: the same columns of other rows, represented by what was learnt from the first.
    """
    lines: list[np.ndarray] = []
    trees: list[np.ndarray] = []
    counts = {"numeric": 0, "categorical": 0, "date": 0, "boolean": 0, "text": 0, "embedding": 0}
    n = len(columns[0].values)
    for place, column in enumerate(columns):
        counts[column.role] += 1
        values = column.values
        if trusted:
            values = np.concatenate([values, _as_first(trusted[place], column)])
        if column.role in ("numeric", "boolean", "date"):
            parts = [values]
            if column.role == "date":
                parts += _of_dates(values, n)
            for each in parts:
                trees.append(np.clip(each, -3e38, 3e38).astype(np.float32))
                lines.append(_scaled(each, n))
            gone = np.isnan(values)
            if gone[:n].any():
                lines.append(_scaled(gone.astype(np.float64), n))
        elif column.role == "categorical":
            codes = values.astype(np.int64)
            trees.append(_ordered(codes, n).astype(np.float32))
            lines.extend(_indicators(codes, n))
        elif column.role == "text":
            found = _of_text(values, n, seed)
            trees.append(found)
            lines.append(found)
        else:
            gone = np.isnan(values[:, 0])
            if gone.any():  # the mean, which is 0 in the end
                values = np.where(gone[:, None], values[:n][~gone[:n]].mean(axis=0), values)
            scaled = standardised(values, n)
            trees.append(scaled)
            lines.append(scaled)
            if gone[:n].any():
                lines.append(_scaled(gone.astype(np.float64), n))
    said = ", ".join(f"{count} {role}" for role, count in counts.items() if count)
    whole = _stack(lines)
    return Representation(
        whole[:n],
        _stack([each[:n] for each in trees]),
        f"columns: {said}",
        trusted=whole[n:] if trusted else None,
    )


def _as_first(column: Column, first: Column) -> np.ndarray:
    """The values of a trusted column in the terms of the audited one: its categories, a value for every row."""
    if first.role != "categorical":
        return column.values
    place = {name: code for code, name in enumerate(first.categories)}
    # A category that the audited data lack is none of theirs and not missing either.
    known = np.array([*(place.get(name, len(place)) for name in column.categories), -1], dtype=np.int64)
    found: np.ndarray = known[column.values]
    return found


def standardised(values: np.ndarray, fit: int | None = None) -> np.ndarray:
    """Columns (n, d) with mean 0 and variance 1, compressed beyond ±3, float32; a constant column is 0.

    ``fit``: mean and variance are those of so many first rows; of all by default.
    """
    exact = np.asarray(values, dtype=np.float64)
    first = exact[:fit]
    mean = first.mean(axis=0)
    centred = exact - mean
    deviation = np.sqrt((centred[:fit] ** 2).mean(axis=0))
    varies = deviation > 1e-9 * (1 + np.abs(first).max(axis=0))
    return _compressed(np.where(varies, centred / np.maximum(deviation, 1e-300), 0))


def _compressed(score: np.ndarray) -> np.ndarray:
    """Standard scores whose size beyond 3 grows as its logarithm, so that one far value does not drown the rest."""
    size = np.abs(score)
    return np.where(size > 3, np.sign(score) * (3 + np.log1p(np.maximum(size, 3) - 3)), score).astype(
        np.float32
    )


def _stack(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1, dtype=np.float32)


def _scaled(values: np.ndarray, fit: int) -> np.ndarray:
    first = values[:fit]
    present = first[~np.isnan(first)]
    middle = float(np.median(present)) if len(present) else 0.0
    filled = np.where(np.isnan(values), middle, values)
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = np.quantile(present, [0.05, 0.95]) if len(present) else (0.0, 0.0)
        scale = (high - low) / 3.3 or float(np.std(filled[:fit])) or 1.0
        if not np.isfinite(scale):
            filled, middle, scale = filled / 1e200, middle / 1e200, (high / 1e200 - low / 1e200) / 3.3 or 1.0
        score = np.nan_to_num((filled - middle) / scale, nan=0.0, posinf=1e300, neginf=-1e300)
    return _compressed(score)


def _of_dates(days: np.ndarray, fit: int) -> list[np.ndarray]:
    """Place in the year and in the week, each as a point on a circle."""
    found = []
    for period in (365.2425, 7.0):
        angle = 2 * np.pi * (days % period) / period
        if np.nanmax(days[:fit]) - np.nanmin(days[:fit]) > period / 4:
            found += [np.sin(angle), np.cos(angle)]
    return found


def _ordered(codes: np.ndarray, fit: int) -> np.ndarray:
    """Codes by falling frequency, missing as NaN: similar frequencies lie side by side for a tree."""
    codes = codes[:fit]
    counts = np.bincount(codes[codes >= 0], minlength=1)
    place = np.empty(len(counts))
    place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    found: np.ndarray = np.where(codes >= 0, place[np.maximum(codes, 0)], np.nan)
    return found


def _indicators(codes: np.ndarray, fit: int) -> list[np.ndarray]:
    first = codes[:fit]
    counts = np.bincount(first[first >= 0], minlength=1)
    common = np.argsort(-counts, kind="stable")[:_MOST_CATEGORIES]
    found = [_unit(codes == code, fit) for code in common if counts[code]]
    rest = ~np.isin(codes, common)
    if rest[:fit].any():
        found.append(_unit(rest, fit))
    return found


def _unit(mask: np.ndarray, fit: int) -> np.ndarray:
    share = mask[:fit].mean()
    spread = max(float(np.sqrt(share * (1 - share))), 0.05)
    unit: np.ndarray = ((mask - share) / spread).astype(np.float32)
    return unit


def _of_text(texts: np.ndarray, fit: int, seed: int) -> np.ndarray:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    first, rest = texts[:fit], texts[fit:]
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=0.5, max_features=_WORDS, dtype=np.float32)
    try:
        matrix = words.fit_transform(first)
    except ValueError:  # no word is left
        words = TfidfVectorizer(max_features=_WORDS, dtype=np.float32, analyzer="char")
        try:
            matrix = words.fit_transform(first)
        except ValueError:
            return np.zeros((len(texts), 1), dtype=np.float32)
    other = words.transform(rest) if len(rest) else None
    size = min(_TEXT_SIZE, matrix.shape[1] - 1, len(first) - 1)
    if size < 1:
        dense = matrix.toarray()
        return standardised(dense if other is None else np.concatenate([dense, other.toarray()]), len(first))
    directions = TruncatedSVD(size, random_state=seed)
    found = directions.fit_transform(matrix)
    scale = max(float(np.sqrt((found**2).mean())), 1e-9)
    if other is not None:
        found = np.concatenate([found, directions.transform(other)])
    scaled: np.ndarray = found / scale
    return np.nan_to_num(scaled.astype(np.float32))

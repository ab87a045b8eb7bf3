"""The data of one run: training and test part with clean labels, scaled as published."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.data.description import category_counts, read_description
from glitchtrace.data.tables import MISSING
from glitchtrace.papers.cincer.sizes import part_sizes

# Seed of the published split where rows are divided here.
SPLIT_SEED = 1


@dataclass(frozen=True)
class Problem:
    """Inputs (n, …) and true labels (n,) int64 in 0 … C−1 of both parts.

    ``rows`` are the places of the training samples in their source.
    """

    inputs: np.ndarray
    truth: np.ndarray
    test_inputs: np.ndarray
    test_truth: np.ndarray
    classes: int
    rows: np.ndarray

    def subset(self, chosen: np.ndarray) -> "Problem":
        """The same with the given training samples only, in that order."""
        return Problem(
            self.inputs[chosen],
            self.truth[chosen],
            self.test_inputs,
            self.test_truth,
            self.classes,
            self.rows[chosen],
        )


def load_problem(features: str | Path, *, bits: int = 64, split: str = "official") -> Problem:
    """The problem of a source, given its ``features.npy``; ``labels.npy`` and ``source.json`` lie beside.

    ``bits``: 32 or 64, those of the inputs of pictures.

    Official parts are kept by ``split`` "official"; where there are none, and by "pooled", 20 % of all rows are the
    test part, by scikit-learn's splitter with seed 1, not stratified.  Categories of tables are one-hot, see
    ``one_hot``.
    """
    folder = Path(features).parent
    description = read_description(folder / "source.json")
    stored = one_hot(np.load(features, mmap_mode="r"), category_counts(description), _missing(description))
    labels = np.load(folder / "labels.npy")
    train, test = _parts(description["parts"], split)
    dtype = np.float64 if bits == 64 else np.float32
    return make_problem(stored, labels, train, test, classes=len(description["classes"]), dtype=dtype)


def one_hot(stored: np.ndarray, counts: tuple[int, ...], missing: tuple[int | None, ...]) -> np.ndarray:
    """Numbers in their order, then each column of categories as 0 or 1 per category; two categories are one column.

    ``counts``: categories per column, 0 for numbers; empty where all columns are numbers.  ``missing``: the code of a
    missing value per column, None where there is none; it becomes the most frequent category.
    """
    if not counts:
        return stored
    numbers = [stored[:, [place]] for place, count in enumerate(counts) if not count]
    codes = []
    for place, count in enumerate(counts):
        if not count:
            continue
        column = stored[:, place].astype(np.int64)
        known = np.arange(count)
        if missing[place] is not None:
            known = known[known != missing[place]]
            frequent = np.bincount(column[column != missing[place]], minlength=count).argmax()
            column = np.where(column == missing[place], frequent, column)
        if len(known) == 2:
            codes.append((column == known[1])[:, None])
        else:
            codes.append(column[:, None] == known)
    return np.concatenate([*numbers, *codes], axis=1).astype(np.float64)


def _missing(description: dict[str, Any]) -> tuple[int | None, ...]:
    """The code of a missing category per column."""
    categories = description.get("categories") or {}
    names = [tuple(categories.get(column, ())) for column in description["columns"] or ()]
    return tuple(known.index(MISSING) if MISSING in known else None for known in names)


def make_problem(
    stored: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    *,
    classes: int,
    dtype: Any = np.float64,
) -> Problem:
    """Scale and divide: pictures (uint8) to x/255 − 0.5, tables min–max to [0, 1] on the training rows.

    A column that is constant in training becomes its difference from that constant.
    """
    picture = stored.dtype == np.uint8
    # In place: one copy of the inputs is most of the memory of a run.
    inputs, tested = (stored[rows].astype(dtype if picture else np.float64) for rows in (train, test))
    if picture:
        for part in (inputs, tested):
            part /= 255
            part -= 0.5
    else:
        low = inputs.min(axis=0)
        width = inputs.max(axis=0) - low
        width[width == 0] = 1
        # As scikit-learn's MinMaxScaler computes it, so that published streams are met to the last bit.
        scale = 1 / width
        for part in (inputs, tested):
            part *= scale
            part -= low * scale
    return Problem(inputs, labels[train], tested, labels[test], classes, train)


def _parts(parts: dict[str, list[int]], split: str) -> tuple[np.ndarray, np.ndarray]:
    if split == "official" and "test" in parts:
        return np.arange(*parts["train"]), np.arange(*parts["test"])
    known, tested = part_sizes({name: stop - start for name, (start, stop) in parts.items()}, split)
    # As scikit-learn's train_test_split with random_state, without the second that its import takes.
    order = np.random.RandomState(SPLIT_SEED).permutation(known + tested)
    return order[tested:], order[:tested]

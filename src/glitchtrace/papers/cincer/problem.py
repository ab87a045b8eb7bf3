"""The data of one run: both parts with clean labels, scaled as published, and the start states of its repeats.

A start state holds annotated labels, known samples, and the stream of arriving ones.  All its draws come from one
legacy ``RandomState``, in the published order, so that the published states are met exactly; the loops draw from it
after the last start state.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data import doors
from glitchtrace.data.description import category_counts, read_description
from glitchtrace.data.tables import MISSING
from glitchtrace.papers.cincer.cells import known_count, outlier_count, part_sizes
from glitchtrace.papers.cincer.noises import NoiseContext

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
    ``one_hot``.  Raises GlitchtraceError for files that are not whole or do not belong together.
    """
    folder = Path(features).parent
    description = read_description(folder / "source.json")
    raw = files.read_npy(features, memory_mapped=True)
    _check_source(features, raw, description)
    stored_labels, classes = files.read_npy(folder / "labels.npy"), len(description["classes"])
    labels = doors.codes(stored_labels, classes, str(folder / "labels.npy"), rows=len(raw))
    stored = one_hot(raw, category_counts(description), _missing(description))
    train, test = _parts(description["parts"], split)
    dtype = np.float64 if bits == 64 else np.float32
    return make_problem(stored, labels, train, test, classes=classes, dtype=dtype)


def _check_source(features: str | Path, stored: np.ndarray, description: dict[str, Any]) -> None:
    """Refuse features that do not fit their description or hold a value that is none, naming the file."""
    file, remedy = Path(features).with_name("source.json"), "delete the folder and run the same command again"
    lacking = {"classes", "parts", "columns"} - description.keys()
    if lacking:
        raise GlitchtraceError(f"{file}: there is no {min(lacking)}; {remedy}")
    for name, (start, stop) in description["parts"].items():
        if not 0 <= start <= stop <= len(stored):
            raise GlitchtraceError(
                f"{file}: part {name} is rows {start} to {stop} of {len(stored)}; {remedy}"
            )
    if stored.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(stored).all(axis=tuple(range(1, stored.ndim))))
        if len(wrong):
            raise GlitchtraceError(f"{features}, row {wrong[0]}: a value is not finite; {remedy}")


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


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """Annotated labels of all training samples, known samples ascending, stream in order of arrival."""

    labels: np.ndarray
    known: np.ndarray
    stream: np.ndarray


def outlier_subset(problem: Problem, *, known: float, iterations: int, rng: np.random.RandomState) -> Problem:
    """The training samples that a run with outlier noise keeps."""
    samples = len(problem.truth)
    return problem.subset(rng.permutation(samples)[: outlier_count(known, iterations, samples)])


def start_states(
    problem: Problem,
    *,
    annotate: Callable[[NoiseContext], np.ndarray],
    ratio: float,
    known: float,
    iterations: int,
    repeats: int,
    precision: bool,
    rng: np.random.RandomState,
    train_margins: Callable[[], np.ndarray],
    tolerance: float = 10,
    needs_wrong: bool = False,
) -> list[Start]:
    """The start states of ``repeats`` repeats.

    ``annotate``: a kind of noise, see ``noises``; ``ratio`` of the training labels becomes wrong.  With ``precision``
    the arriving samples have their true labels.  A number of wrong labels among known and arriving samples that is
    more than ``tolerance`` away from the expected one is logged.  ``needs_wrong``: raise GlitchtraceError where
    there is none in a repeat.
    """
    samples = len(problem.truth)
    count = known_count(known, samples)
    found = []
    for repeat in range(repeats):
        context = NoiseContext(
            problem.inputs, problem.truth, problem.classes, round(samples * ratio), train_margins, rng
        )
        labels = annotate(context)
        chosen = np.sort(rng.permutation(samples)[:count])
        rest = np.setdiff1d(np.arange(samples), chosen)
        stream = rng.permutation(rest)[:iterations]
        if precision:
            labels[stream] = problem.truth[stream]
        used = chosen if precision else np.concatenate([chosen, stream])
        wrong = int((labels[used] != problem.truth[used]).sum())
        if needs_wrong and not wrong:
            raise GlitchtraceError(
                f"ratio: none of the {len(used)} {'known' if precision else 'known and arriving'} samples of repeat "
                f"{repeat} has a wrong label ({int((labels != problem.truth).sum())} of {samples} training labels are "
                "wrong); raise the ratio, or take the noise random"
            )
        if abs(wrong - ratio * len(used)) > tolerance:
            _log.warning(
                "repeat %d: %d wrong labels among %d samples, %.0f expected",
                repeat,
                wrong,
                len(used),
                ratio * len(used),
            )
        found.append(Start(labels, chosen, stream))
    return found

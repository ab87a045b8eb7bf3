"""Training, validation and test rows of a dataset: disjoint, stratified, drawn with the run seed."""

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.portion import portion
from glitchtrace.core.seeding import generator

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# Share of the official test part that serves as validation where no subset of the training part is drawn.
DEFAULT_SHARE = Fraction(1, 2)


def make_split(
    labels: np.ndarray,
    parts: Mapping[str, tuple[int, int]],
    *,
    seed: int,
    subset_ratio: float | None = None,
    subset_size: int | None = None,
    validation_source: str | None = None,
    validation_ratio: float | None = None,
    holdout_ratio: float = 0.2,
    holdout_order: str = "random",
    test_ratio: float = 0.2,
    test_size: int | None = None,
) -> pd.DataFrame:
    """The rows of the three parts: columns ``row`` (int64, index into the source) and ``part``.

    ``labels``: (N,) int in 0 … K−1; ``parts``: part of the source -> (first row, row after the last).

    ``validation_source``

    * ``test_split`` (default where the source has a part ``test``): the training rows are a subset of the
      part ``train``, the validation rows a subset of the part ``test`` by ``validation_ratio`` (default: the
      subset's ratio, or 0.5 where there is no subset), the test rows are all other rows of that part;
    * ``holdout`` (default elsewhere): the test rows are the part ``test``, or ``test_ratio`` of all rows
      where there is none; a subset of the other rows is divided into training rows and ``holdout_ratio`` of
      validation rows: by a draw, or with ``holdout_order`` ``tail`` in the order of the source, where the
      validation rows are those after the first floor((1 − holdout_ratio)·n), as in RDIA's program;
    * ``none``: the training rows are a subset of the part ``train``, the test rows are the part ``test``, and
      there are no validation rows, for methods that do without.

    ``test_size`` gives the number of test rows instead, a stratified choice of those described.

    Every draw is scikit-learn's stratified ``train_test_split`` of row numbers with ``random_state=seed``, in
    the splitter's order, as in the published code; a ratio r of N rows is floor(r·N) of them.  Without a
    subset all rows are used, shuffled with the seed, so that ties by position do not favour a class.  Source:
    docs/methods/training.md#parts.  Raises GlitchtraceError, naming the key, where a part would be
    empty, a class would be absent from the training rows, or a number exceeds the rows there are.
    """
    source = validation_source or ("test_split" if "test" in parts else "holdout")
    draw = _Draw(labels, seed)
    if source == "test_split":
        if "test" not in parts:
            raise GlitchtraceError(
                "validation_source: test_split needs a dataset with an official test part; use holdout"
            )
        pool, official = np.arange(*parts["train"]), np.arange(*parts["test"])
        train = draw.subset(pool, subset_ratio, subset_size)
        ratio = validation_ratio or _share(subset_ratio, subset_size, len(pool))
        validation, test = draw.divide(official, portion(ratio, len(official)), "validation_ratio")
        test = draw.at_most(test, test_size)
    elif source == "holdout":
        if "test" in parts:
            pool, test = np.arange(*parts["train"]), draw.at_most(np.arange(*parts["test"]), test_size)
        elif test_size is not None:
            test, pool = draw.divide(np.arange(len(labels)), test_size, "test_size")
        else:
            test, pool = draw.divide(np.arange(len(labels)), portion(test_ratio, len(labels)), "test_ratio")
        chosen = draw.subset(pool, subset_ratio, subset_size)
        if holdout_order == "tail":
            train, validation = _tail(np.sort(chosen), holdout_ratio)
        else:
            validation, train = draw.divide(chosen, portion(holdout_ratio, len(chosen)), "holdout_ratio")
    elif source == "none":
        if "test" not in parts:
            raise GlitchtraceError(
                "validation_source: none needs a dataset with an official test part; use holdout"
            )
        train = draw.subset(np.arange(*parts["train"]), subset_ratio, subset_size)
        validation, test = np.arange(0), draw.at_most(np.arange(*parts["test"]), test_size)
    else:
        raise GlitchtraceError(
            f"validation_source: unknown value '{source}'; use test_split, holdout or none"
        )
    missing = np.setdiff1d(labels, labels[train])
    if len(missing):
        raise GlitchtraceError(
            f"subset_ratio, subset_size: class {missing[0]} has no sample among {len(train)} training rows; "
            "use a larger subset or more samples of that class"
        )
    return pd.DataFrame(
        {
            "row": np.concatenate([train, validation, test]).astype(np.int64),
            "part": [TRAIN] * len(train) + [VALIDATION] * len(validation) + [TEST] * len(test),
        }
    )


def rows_of(split: pd.DataFrame, part: str) -> np.ndarray:
    """Source rows (n,) int64 of one part of a split, in its order."""
    return split.loc[split["part"] == part, "row"].to_numpy(np.int64)


def _tail(rows: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """The first floor((1 − ratio)·n) rows and the others.  Raises GlitchtraceError where one part is empty."""
    count = portion(1 - Fraction(str(ratio)), len(rows))
    if not 0 < count < len(rows):
        raise GlitchtraceError(
            f"holdout_ratio: the tail of {len(rows)} rows has {len(rows) - count}, and both parts need some; "
            "use another value"
        )
    return rows[:count], rows[count:]


def _share(subset_ratio: float | None, subset_size: int | None, available: int) -> Fraction:
    """Share of the official test part that is validation by default: that of the subset, if there is one."""
    subset = Fraction(str(subset_ratio or 1)) if subset_size is None else Fraction(subset_size, available)
    return subset if subset < 1 else DEFAULT_SHARE


class _Draw:
    """Stratified draws with one seed."""

    def __init__(self, labels: np.ndarray, seed: int) -> None:
        self.labels = labels
        self.seed = seed

    def subset(self, rows: np.ndarray, ratio: float | None, size: int | None) -> np.ndarray:
        """The chosen rows; all of them, shuffled, where neither ratio nor size asks for fewer."""
        if ratio is not None and size is not None:
            raise GlitchtraceError("subset_ratio, subset_size: both are given; keep one")
        key, count = ("subset_size", size) if ratio is None else ("subset_ratio", portion(ratio, len(rows)))
        if count is None or count == len(rows):
            return generator(self.seed, "split order").permutation(rows)
        return self.divide(rows, count, key)[0]

    def at_most(self, rows: np.ndarray, size: int | None) -> np.ndarray:
        """``size`` of the test rows, or all of them."""
        if size is None or size == len(rows):
            return rows
        return self.divide(rows, size, "test_size")[0]

    def divide(self, rows: np.ndarray, count: int, key: str) -> tuple[np.ndarray, np.ndarray]:
        """``count`` of the rows, stratified by class, and the others, both in the splitter's order.

        The splitter refuses parts of fewer rows than classes, so neither is empty.
        """
        from sklearn.model_selection import train_test_split

        values, sizes = np.unique(self.labels[rows], return_counts=True)
        classes = len(values)
        if min(count, len(rows) - count) < max(classes, 1) or sizes.min() < 2:
            raise GlitchtraceError(
                f"{key}: cannot divide {len(rows)} rows of {classes} classes into {count} and "
                f"{len(rows) - count}; both need {classes} rows at least, each class 2: use another value"
            )
        # What else the splitter may refuse is a defect of ours, and keeps its traceback.
        chosen, others = train_test_split(
            rows, train_size=int(count), random_state=self.seed, stratify=self.labels[rows]
        )
        return chosen, others

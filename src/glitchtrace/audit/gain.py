"""What the repairs bring: models trained with and without them, compared on rows that were never repaired.

In every repeat a third of the rows is set aside, with times the last rows, fewer in each repeat; the rest is judged
anew without them, so that neither the flags nor the proposals have seen a label that measures.  The labels that measure
are the observed ones, errors included: a gain looks smaller than it is, and no way of repairing is favoured.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glitchtrace.audit.cross_fit import (
    grouped_folds,
    may_train,
    neighbour_vote,
    out_of_fold,
    predict_again,
    strata_of,
)
from glitchtrace.audit.judgement import judge, judge_by_jury, jury_sits
from glitchtrace.audit.learners import Learner, floored, learners, predict
from glitchtrace.audit.neighbourhood import NEIGHBOURS, nearest
from glitchtrace.audit.numbers import coarse, judge_numbers, on_even_scale, set_apart
from glitchtrace.audit.representation import Representation
from glitchtrace.core.seeding import generator

ARMS = ("nothing", "repairs", "random", "drop", "random_drop")
_MOST_ROWS = 3000
_LEAST_ROWS = 60
_LEAST_OUTSIDE = 10
_INNER = 3
_ROUNDED = 1e-9  # differences of shares that are equal differ by less


def unmeasured(why: str) -> dict[str, Any]:
    """The record where nothing can be measured."""
    return {"measured": False, "sentence": f"The gain was not measured: {why}."}


def measure(
    views: Representation,
    y: np.ndarray,
    classes: int,
    losses: Mapping[str, float],
    groups: np.ndarray | None,
    times: np.ndarray | None,
    *,
    max_false: float,
    repeats: int,
    seed: int,
    tick: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """Accuracy and loss on rows set aside, with nothing done, with the repairs, and with what they must beat.

    ``y``: codes below ``classes``, or numbers where ``classes`` is 0; ``losses``: held-out loss of the learners.
    Arms: nothing; repairs: flagged rows get their proposals; random: as many other rows get theirs; drop: flagged
    rows are left out; random_drop: as many others.
    """
    if repeats == 0:
        return unmeasured("it was not asked for")
    if len(y) < _LEAST_ROWS:
        return unmeasured(f"fewer than {_LEAST_ROWS} rows can be divided")
    learner = _learner(losses, views, classes)
    scores: dict[str, list[tuple[float, float]]] = {arm: [] for arm in ARMS}
    counts: list[int] = []
    sizes: list[tuple[int, int]] = []
    for repeat in range(repeats):
        rng = generator(seed, f"audit gain {repeat}")
        part = grouped_folds(y if classes else strata_of(y, 5), 3, seed + 7919 * (repeat + 1), groups, None)
        # The third that measures is another one in each repeat; of much data a part is enough.
        inside, outside = np.flatnonzero(part != 0), np.flatnonzero(part == 0)
        if times is not None:
            cut = np.nanquantile(times, 0.5 + 0.4 * (repeat + 1) / (repeats + 1))
            inside, outside = np.flatnonzero(times <= cut), np.flatnonzero(times > cut)
            if groups is not None:
                outside = outside[~np.isin(groups[outside], groups[inside])]
        inside, outside = (
            np.sort(rng.choice(rows, min(len(rows), most), replace=False))
            for rows, most in ((inside, _MOST_ROWS), (outside, _MOST_ROWS))
        )
        if len(outside) < _LEAST_OUTSIDE:
            return unmeasured(f"fewer than {_LEAST_OUTSIDE} rows are left to measure on")
        if classes and len(np.unique(y[inside])) < 2:
            return unmeasured("the rows that would train are of a single class")
        sizes.append((len(inside), len(outside)))
        flags, proposals = _judged(learner, views, y, classes, inside, groups, max_false, seed)
        counts.append(int(flags.sum()))
        chosen = rng.permutation(np.flatnonzero(~flags))[: int(flags.sum())]
        other = np.zeros_like(flags)
        other[chosen] = True
        for arm in ARMS:
            labels, kept = y.copy(), np.ones(len(inside), dtype=bool)
            touched = other if "random" in arm else flags
            if arm in ("repairs", "random"):
                labels[inside[touched]] = proposals[touched]
            elif arm != "nothing":
                kept = ~touched
            if counts[-1] == 0 and arm != "nothing":
                scores[arm].append(scores["nothing"][-1])
                continue
            train = inside[kept]
            if classes and len(np.unique(labels[train])) < 2:
                scores[arm].append(scores["nothing"][-1])
                continue
            found = predict(learner, views, labels, train, outside, classes, seed)
            scores[arm].append(_scored(y[outside], found, classes))
        tick((repeat + 1) / repeats)
    return _record(scores, counts, sizes, learner, classes)


def _learner(losses: Mapping[str, float], views: Representation, classes: int) -> Learner:
    candidates = learners(views, classes)
    usable = [name for name in candidates if classes <= 3 or name != "boosted_trees"]
    return candidates[min(usable, key=lambda name: (losses.get(name, np.inf), name))]


def _judged(
    learner: Learner,
    views: Representation,
    y: np.ndarray,
    classes: int,
    rows: np.ndarray,
    groups: np.ndarray | None,
    max_false: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Flags and proposals for ``rows``, found from these rows alone."""
    units = None if groups is None else groups[rows]
    part = views.of(rows)
    if not classes:
        return _judged_numbers(learner, part, y[rows], units, max_false, seed)
    used, codes = np.unique(y[rows], return_inverse=True)
    if jury_sits(len(rows), len(used)):
        judged = judge_by_jury(part, codes, len(used), units, max_false, seed)
        return judged.flags, used[judged.proposed]
    fold = grouped_folds(codes, _INNER, seed, units)
    found = out_of_fold(learner, part, codes, len(used), fold, np.arange(len(rows)), seed)
    near, distances = nearest(part.lines, NEIGHBOURS, seed)
    experts = {
        learner.name: floored(found),
        "neighbours": neighbour_vote(near, distances, codes, len(used), fold),
    }
    judged = judge(experts, codes, len(used), max_false, seed)
    return judged.flags, used[judged.proposed]


def _judged_numbers(
    learner: Learner,
    part: Representation,
    y: np.ndarray,
    units: np.ndarray | None,
    max_false: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Flags and proposals for numbers y (n,), found from these rows alone."""
    flags, proposals = np.zeros(len(y), dtype=bool), y.copy()
    shared, far = set_apart(y, units)
    rows = np.flatnonzero(~shared | far)
    part, y, shared, far = part.of(rows), y[rows], shared[rows], far[rows]
    units = None if units is None else units[rows]
    if len(y) < _INNER or coarse(y[~far]):
        return flags, proposals
    even, z, lesson = on_even_scale(y, far, seed)
    fold = grouped_folds(np.zeros(len(y), dtype=np.int64), _INNER, seed, units)

    def predictions(taught: np.ndarray) -> np.ndarray:
        return predict_again([learner.name], part, lesson, fold, taught, seed=seed)

    found = judge_numbers(
        z, part, predictions, lambda number: may_train(fold, number), fold, max_false, seed, shared, far
    )
    flags[rows], proposals[rows] = found.flags, even.back(found.predictions, y[~far])
    return flags, proposals


def _scored(y: np.ndarray, found: np.ndarray, classes: int) -> tuple[float, float]:
    """Accuracy and log loss; for numbers the share of variance explained and the mean absolute error."""
    if classes:
        return float((found.argmax(axis=1) == y).mean()), float(-np.log(found[np.arange(len(y)), y]).mean())
    return float(1 - ((y - found) ** 2).sum() / max(((y - y.mean()) ** 2).sum(), 1e-12)), float(
        np.abs(y - found).mean()
    )


def _record(
    scores: Mapping[str, Sequence[tuple[float, float]]],
    counts: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    learner: Learner,
    classes: int,
) -> dict[str, Any]:
    repeats = len(counts)
    training, measuring = np.array(sizes, dtype=float).T
    share = 1 / repeats + float((measuring / training).mean())
    arms: dict[str, Any] = {}
    base = np.array(scores["nothing"])
    for arm in ARMS:
        values = np.array(scores[arm])
        arms[arm] = {
            "accuracy": round(float(values[:, 0].mean()), 5),
            "loss": round(float(values[:, 1].mean()), 5),
        }
        if arm == "nothing":
            continue
        for column, name in enumerate(("accuracy", "loss")):
            difference = values[:, column] - base[:, column]
            arms[arm][f"{name}_difference"] = _estimate(difference, share)
    return {
        "measured": True,
        "repeats": repeats,
        "rows_training": round(float(training.mean())),
        "rows_measuring": round(float(measuring.mean())),
        "rows_repaired": round(float(np.mean(counts)), 1),
        "learner": learner.said,
        "measures": {
            "accuracy": "share of right predictions" if classes else "share of variance explained",
            "loss": "mean negative log likelihood"
            if classes
            else "mean absolute error, in standard deviations",
        },
        "arms": arms,
        "sentence": _sentence(arms, float(np.mean(counts)), bool(classes)),
    }


def _estimate(differences: np.ndarray, share: float) -> dict[str, float | None]:
    """The mean of R differences and its 95 % interval: None of one repeat, and of repeats that agree by chance.

    Repeats share rows: ``share``, 1/R + the mean ratio of rows that measure to rows that train, corrects their variance
    as Nadeau and Bengio (2003) do.
    """
    from scipy.stats import t as student

    mean = float(differences.mean())
    found: dict[str, float | None] = {"mean": round(mean, 5), "low": None, "high": None}
    if len(differences) > 1 and (np.ptp(differences) > _ROUNDED or abs(mean) <= _ROUNDED):
        spread = float(differences.var(ddof=1))
        half = float(student.ppf(0.975, len(differences) - 1)) * (spread * share) ** 0.5
        found |= {"low": round(mean - half, 5), "high": round(mean + half, 5)}
    return found


def _in_words(found: Mapping[str, Any], scale: int, form: str, unit: str = "") -> str:
    """A mean with its interval, where it has one."""
    mean = f"{scale * found['mean']:{form}}{unit}"
    if found["low"] is None:
        return mean
    return f"{mean} ({scale * found['low']:{form}} to {scale * found['high']:{form}})"


def _sentence(arms: Mapping[str, Any], count: float, classes: bool) -> str:
    if count == 0:
        return "Nothing was flagged in the repeats, so there is no repair whose gain could be measured."
    gain, loss = arms["repairs"]["accuracy_difference"], arms["repairs"]["loss_difference"]
    what = "Accuracy" if classes else "The share of variance explained"
    points = _in_words(gain, 100, "+.1f", " points")
    better_loss = loss["high"] is not None and loss["high"] < 0
    if gain["low"] is None:
        text = (
            f"{what} on held-out rows changes with the repairs by {points}; this has no interval, for which repeats "
            "that differ are needed, and shows neither gain nor harm."
        )
    elif gain["low"] > 0:
        text = f"{what} on held-out rows rises with the repairs by {points}."
    elif gain["high"] < 0:
        text = f"{what} on held-out rows falls with the repairs by {points}: do not apply them unseen."
    else:
        text = f"No gain in {what[0].lower() + what[1:]} can be shown: {points} on held-out rows."
    text += f" The loss changes by {_in_words(loss, 1, '+.3f')}{', an improvement' if better_loss else ''}."
    if (
        gain["low"] is not None
        and arms["drop"]["loss"] < arms["repairs"]["loss"]
        and arms["drop"]["accuracy"] >= arms["repairs"]["accuracy"]
    ):
        text += " Dropping the same rows does at least as well as repairing them."
    return text

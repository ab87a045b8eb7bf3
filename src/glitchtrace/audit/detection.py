"""From samples and their representation to the evidence of all rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from glitchtrace.audit import neighbourhood
from glitchtrace.audit.cross_fit import (
    CrossFit,
    compare_learners,
    grouped_folds,
    may_train,
    neighbour_vote,
    predict_again,
    strata_of,
)
from glitchtrace.audit.judgement import (
    Judgement,
    calibrated_loss,
    judge,
    judge_by_jury,
    jury_sits,
    likeliest_order,
)
from glitchtrace.audit.learners import floored, learners, loss, predict
from glitchtrace.audit.numbers import coarse, judge_numbers, on_even_scale, set_apart
from glitchtrace.audit.representation import Representation
from glitchtrace.audit.samples import Samples
from glitchtrace.audit.settings import Settings
from glitchtrace.audit.store import Made, Store
from glitchtrace.audit.verdicts import Evidence
from glitchtrace.core.errors import GlitchtraceError

_RARE = 5  # a class of fewer rows cannot be judged
_EXPLAINED = 500  # rows whose influence on others is looked up
_HELPED = 3
_FORETOLD = 0.95  # of the loss of the median: numbers of a larger held-out loss are not judged
_LEARNABLE = 0.98  # of the entropy of the labels: a larger held-out loss is no better than none


@dataclass(frozen=True)
class Detection:
    """Evidence of all rows and what a report says of how it was found."""

    evidence: Evidence
    facts: dict[str, Any]
    judged: np.ndarray
    groups: np.ndarray | None = None


Tick = Callable[[float], None]


def detect(
    samples: Samples, views: Representation | None, settings: Settings, store: Store, tick: Tick
) -> Detection:
    """Neighbours, duplicates, cross-fitting, judgement and influence of all rows."""
    n = len(samples)
    nothing = np.empty((n, 0))
    near, distances = nothing.astype(np.int64), nothing
    read = np.arange(n) if samples.unread is None else np.flatnonzero(~samples.unread)
    if views is not None and len(read) > 2:
        near, distances = _nearest(views.lines, read, settings.seed)
    tick(0.1)
    matrix = views.lines if views is not None else None
    twins = neighbourhood.duplicates(
        samples.hashes,
        matrix,
        near,
        distances,
        table=samples.kind == "table",
        seed=settings.seed,
        small=None if views is None else views.small,
    )
    far, far_probability, far_flags = np.zeros(n), np.zeros(n), np.zeros(n, dtype=bool)
    if views is not None and len(read) >= 20:
        far[read], far_probability[read], far_flags[read] = neighbourhood.far_rows(
            views.lines[read],
            None if samples.labels is None else samples.labels[read],
            distances[read],
            settings.max_false,
        )
    tick(0.15)
    facts: dict[str, Any] = {
        "neighbours": int(near.shape[1]),
        "duplicates_by_chance": twins.by_chance,
    }
    judged = _judged(samples)
    groups = _groups(samples, twins)
    fold = np.zeros(n, dtype=np.int64)
    found = _Labels.nothing(n, len(samples.class_names))
    if samples.numeric:
        found, fold = _numbers(samples, views, settings, store, judged, groups, facts, tick)
    elif len(np.unique(samples.labels[judged])) >= 2:  # type: ignore[index]
        found, fold = _classes(
            samples, views, settings, store, judged, groups, twins, near, distances, facts, tick
        )
    else:
        facts["unjudged"] = "fewer than two classes have five rows or more, so no label can be judged"
    tick(0.95)
    helps, hurts = _influence(samples, views, found, judged, fold)
    odd = np.full(n, "", dtype=object)
    odd_probability = np.zeros(n)
    for row, text in samples.odd.items():
        odd[row], odd_probability[row] = text, 1.0
    if samples.labels is not None:
        for row in map(int, np.flatnonzero((samples.labels < 0) & (odd == ""))):
            odd[row], odd_probability[row] = "its label is missing", 1.0
    elif samples.target is not None:
        for row in map(int, np.flatnonzero(np.isnan(samples.target) & (odd == ""))):
            odd[row], odd_probability[row] = "its label is missing", 1.0
    leak_of = np.full(n, "", dtype=object)
    leak_exact = np.zeros(n, dtype=bool)
    if samples.trusted is not None:
        places = np.full(n, -1)
        # Rows that equal others of the data by chance equal trusted ones by chance, too.
        facts["leaks_by_chance"] = (
            twins.by_chance
            and matrix is not None
            and neighbourhood.repeated_by_chance(matrix[read], twins.equal[read])
        )
        if not facts["leaks_by_chance"]:
            places[read], leak_exact[read] = neighbourhood.leaks(
                samples.hashes[read], samples.trusted.hashes, None if matrix is None else matrix[read],
                None if views is None else views.trusted, distances[read], table=samples.kind == "table",
                seed=settings.seed, small=None if views is None or views.small is None else views.small[read],
                others_small=None if views is None else views.trusted_small,
            )  # fmt: skip
        for row in map(int, np.flatnonzero(places >= 0)):
            leak_of[row] = str(samples.trusted.ids[places[row]])
        facts["leaks"] = int((places >= 0).sum())
        facts["leaks_exact"] = int(leak_exact.sum())
    supporters: list[list[int]] = [[] for _ in range(n)]
    if samples.labels is not None and near.size:
        for row in map(int, np.flatnonzero(found.flags | (found.wrong > 0.2))):
            supporters[row] = [int(j) for j in near[row] if samples.labels[j] == found.proposed_code[row]]
    tick(1.0)
    evidence = Evidence(
        found.wrong, found.score, found.flags, found.proposed, found.confidence, found.observed_confidence, far,
        far_probability, far_flags, odd, odd_probability, np.where(twins.twin, twins.cluster, -1), twins.equal,
        not twins.by_chance, leak_of, leak_exact, found.judged, supporters, int(near.shape[1]), helps, hurts,
        {"label": found.score, "distance": far, **found.more},
    )  # fmt: skip
    return Detection(evidence, facts, judged, groups)


@dataclass
class _Labels:
    """Findings about labels, (n,) each; ``p``: (n, K) over all classes; ``judged``: whether a judge has looked."""

    wrong: np.ndarray
    score: np.ndarray
    flags: np.ndarray
    proposed: np.ndarray
    proposed_code: np.ndarray
    confidence: np.ndarray
    observed_confidence: np.ndarray
    p: np.ndarray
    judged: np.ndarray
    more: dict[str, np.ndarray]

    @classmethod
    def nothing(cls, n: int, classes: int) -> "_Labels":
        zero = np.zeros(n)
        return cls(
            zero.copy(), zero.copy(), np.zeros(n, dtype=bool), np.full(n, "", dtype=object), np.full(n, -1),
            zero.copy(), zero.copy(), np.zeros((n, classes)), np.zeros(n, dtype=bool), {},
        )  # fmt: skip


def _nearest(matrix: np.ndarray, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours (n, k) among ``rows`` and their distances; of other rows themselves, as far as any."""
    found, apart = neighbourhood.nearest(matrix[rows], neighbourhood.NEIGHBOURS, seed)
    if len(rows) == len(matrix):
        return found, apart
    near = np.repeat(np.arange(len(matrix))[:, None], found.shape[1], axis=1)
    distances = np.full(near.shape, apart.max(), dtype=apart.dtype)
    near[rows], distances[rows] = rows[found], apart
    return near, distances


def _judged(samples: Samples) -> np.ndarray:
    """Rows (n,) that train and are judged: read, with a label and a time, of a class that is not too rare."""
    usable = np.ones(len(samples), dtype=bool) if samples.times is None else ~np.isnan(samples.times)
    if samples.unread is not None:
        usable &= ~samples.unread
    if samples.target is not None:
        known: np.ndarray = ~np.isnan(samples.target) & usable
        return known
    assert samples.labels is not None
    known = (samples.labels >= 0) & usable
    sizes = np.bincount(samples.labels[known], minlength=len(samples.class_names))
    judged: np.ndarray = known & (sizes[np.maximum(samples.labels, 0)] >= _RARE)
    return judged


def _groups(samples: Samples, twins: neighbourhood.Duplicates) -> np.ndarray | None:
    """Groups of which no row judges another: the user's, joined by duplicates, which would vouch for each other."""
    if twins.by_chance:
        return samples.groups
    if samples.groups is None:
        return twins.cluster if twins.twin.any() else None
    n = len(samples)
    rows = np.arange(n)
    first = np.full(int(samples.groups.max()) + 1, n)
    np.minimum.at(first, samples.groups, rows)
    edges = np.concatenate([np.stack([rows, first[samples.groups]], 1), np.stack([rows, twins.cluster], 1)])
    return neighbourhood.connected(n, edges)


def _fold(
    samples: Samples, rows: np.ndarray, strata: np.ndarray, groups: np.ndarray | None, settings: Settings
) -> np.ndarray:
    return grouped_folds(
        strata,
        settings.folds,
        settings.seed,
        None if groups is None else groups[rows],
        None if samples.times is None else samples.times[rows],
    )


def _classes(
    samples: Samples,
    views: Representation | None,
    settings: Settings,
    store: Store,
    judged: np.ndarray,
    groups: np.ndarray | None,
    twins: neighbourhood.Duplicates,
    near: np.ndarray,
    distances: np.ndarray,
    facts: dict[str, Any],
    tick: Tick,
) -> tuple[_Labels, np.ndarray]:
    labels = samples.labels
    assert labels is not None
    n, whole = len(samples), len(samples.class_names)
    rows = np.flatnonzero(judged)
    used, y = np.unique(labels[rows], return_inverse=True)
    classes = len(used)
    if classes < whole:
        rare = [samples.class_names[c] for c in range(whole) if c not in used]
        facts["rare_classes"] = rare[:50]
    fold = np.zeros(n, dtype=np.int64)
    fold[rows] = _fold(samples, rows, y, groups, settings)
    best = None
    experts: dict[str, np.ndarray] = {}
    seen = np.ones(len(rows), dtype=bool)
    if samples.probabilities is not None:
        experts["your model"] = floored(samples.probabilities[rows][:, used])
        given, limit = experts["your model"], _LEARNABLE * _entropy(y)
        if calibrated_loss(given, y, classes, fold[rows], settings.seed) > limit:
            facts["unjudged"] = (
                "your probabilities say no more of the labels than the shares of the classes do"
            )
            turned = given[:, likeliest_order(given, y)]
            if calibrated_loss(turned, y, classes, fold[rows], settings.seed) <= limit:
                facts["unjudged"] += (
                    ", but would with their columns in another order: name the columns of a table by the classes"
                )
            return _Labels.nothing(n, whole), fold
        facts["judges"] = "your model's probabilities; nothing was trained"
        found = judge(experts, y, classes, settings.max_false, settings.seed)
    elif views is None:
        raise GlitchtraceError(
            f"{samples.name}: there is nothing to learn from; give features or probabilities"
        )
    else:
        part = views.of(rows)
        by_jury = samples.times is None and jury_sits(len(rows), classes)
        units = None if groups is None else groups[rows]
        times = None if samples.times is None else samples.times[rows]
        fitted = _cross_fit(
            part, y, classes, fold[rows], times, units, settings, store, tick, judging=not by_jury
        )
        best = fitted.best
        facts["held_out_loss"] = {name: round(value, 4) for name, value in fitted.losses.items()}
        if min(fitted.losses.values()) > _LEARNABLE * _entropy(y):
            # Labels that follow nothing: where they differ from a prediction says nothing about them.
            facts["unjudged"] = "no learner says more of the labels than the shares of the classes do"
            options = _kept_by(samples, part, y, rows, twins, settings)
            if options:
                facts["unjudged"] += f" with this {options}, and without it one does"
            return _Labels.nothing(n, whole), fold
        if by_jury:
            facts["judges"] = "a jury of kernels, neighbours, softmax regression and, of tables, trees"
            found = _by_jury(part, y, classes, units, settings, store)
        else:
            where = "other" if times is None else "earlier"
            facts["judges"] = f"the best learners and a vote of neighbours in {where} folds"
            if times is not None:
                seen = _known_before(y, classes, fold[rows], times, units)
                facts["without_past"] = int((~seen).sum())
                if len(np.unique(y[seen])) < 2:
                    facts["unjudged"] = "no stretch of time has two classes before it"
                    return _Labels.nothing(n, whole), fold
            experts.update({name: values[seen] for name, values in fitted.experts.items()})
            if len(rows) < n:  # who is not judged has no vote, and takes nobody's place
                near, distances = neighbourhood.nearest(part.lines, neighbourhood.NEIGHBOURS, settings.seed)
            vote = neighbour_vote(near, distances, y, classes, fold[rows], times, units)
            experts["neighbours"] = vote[seen]
            found = judge(experts, y[seen], classes, settings.max_false, settings.seed)
            rows, y = rows[seen], y[seen]
    facts["weights"] = found.weights
    facts["number"] = {"estimate": found.number, "low": found.low, "high": found.high}
    facts["condition"] = found.condition
    result = _Labels.nothing(n, whole)
    result.wrong[rows], result.score[rows], result.flags[rows] = found.wrong, found.score, found.flags
    result.judged[rows] = True
    result.score[~result.judged] = found.score.min() if len(rows) else 0
    names = np.array(samples.class_names, dtype=object)
    result.proposed_code[rows] = used[found.proposed]
    result.confidence[rows] = found.confidence
    result.observed_confidence[rows] = found.probabilities[np.arange(len(y)), y]
    result.p[np.ix_(rows, used)] = found.probabilities
    for name, values in experts.items():
        result.more[name.replace(" ", "_")] = np.zeros(n)
        result.more[name.replace(" ", "_")][rows] = 1 - values[np.arange(len(y)), y]
    lost = np.flatnonzero((labels < 0) if samples.unread is None else (labels < 0) & ~samples.unread)
    if len(lost) and views is not None and best is not None:
        rows = np.flatnonzero(judged)
        values = predict(
            learners(views.of(rows), classes)[best],
            views,
            np.searchsorted(used, np.maximum(labels, used[0])),
            rows,
            lost,
            classes,
            settings.seed,
        )
        result.proposed_code[lost] = used[values.argmax(axis=1)]
        result.confidence[lost] = values.max(axis=1)
    known = result.proposed_code >= 0
    result.proposed[known] = names[result.proposed_code[known]]
    return result, fold


def _by_jury(
    part: Representation,
    y: np.ndarray,
    classes: int,
    units: np.ndarray | None,
    settings: Settings,
    store: Store,
) -> Judgement:
    """``judge_by_jury``, taken over from an earlier run where nothing that it depends on has changed."""

    def make(**given: Any) -> Made:
        found = vars(judge_by_jury(**given))
        arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
        return arrays, {name: value for name, value in found.items() if name not in arrays}

    given = {
        "views": part, "y": y, "classes": classes, "groups": units, "max_false": settings.max_false,
        "seed": settings.seed,
    }  # fmt: skip
    made, record = store.stage("jury", given, make, "glitchtrace.audit.judgement:judge_by_jury")
    found: dict[str, Any] = {**made, **record}
    return Judgement(**found)


def _known_before(
    y: np.ndarray, classes: int, fold: np.ndarray, times: np.ndarray, groups: np.ndarray | None
) -> np.ndarray:
    """Rows (n,) whose class has ``_RARE`` rows or more before them: who judges knows the past alone."""
    known = np.zeros(len(y), dtype=bool)
    for number in np.unique(fold):
        before = np.bincount(y[may_train(fold, int(number), times, groups)], minlength=classes)
        known[fold == number] = before[y[fold == number]] >= _RARE
    return known


def _kept_by(
    samples: Samples,
    part: Representation,
    y: np.ndarray,
    rows: np.ndarray,
    twins: neighbourhood.Duplicates,
    settings: Settings,
) -> str:
    """Where no learner says anything: the options, group and time, without which one does; "" where none does."""
    given = {"group": samples.groups, "time": samples.times}
    options = " and ".join(option for option, values in given.items() if values is not None)
    if not options:
        return ""
    units = None if twins.by_chance else twins.cluster[rows]
    fold = grouped_folds(y, settings.folds, settings.seed, units)
    free = compare_learners(part, y, int(y.max()) + 1, fold, seed=settings.seed, judging=False)
    return options if min(free.losses.values()) <= _LEARNABLE * _entropy(y) else ""


def _entropy(y: np.ndarray) -> float:
    """The loss of the shares of the classes."""
    share = np.bincount(y) / len(y)
    return float(-(share[share > 0] * np.log(share[share > 0])).sum())


def _numbers(
    samples: Samples,
    views: Representation | None,
    settings: Settings,
    store: Store,
    judged: np.ndarray,
    groups: np.ndarray | None,
    facts: dict[str, Any],
    tick: Tick,
) -> tuple[_Labels, np.ndarray]:
    if views is None:
        raise GlitchtraceError(f"{samples.name}: there is nothing to learn from; give features")
    assert samples.target is not None
    n = len(samples)
    rows = np.flatnonzero(judged)
    result = _Labels.nothing(n, 0)
    shared, far = set_apart(samples.target[rows], None if groups is None else groups[rows])
    usual = ~shared | far
    facts["notes"] = _of_shared(samples.observed()[rows], samples.target[rows], ~usual)
    rows, shared, far = rows[usual], shared[usual], far[usual]
    y = samples.target[rows]
    if len(rows) < 20 or y.min() == y.max():
        facts["unjudged"] = "fewer than twenty different numbers, so none can be judged"
        return result, np.zeros(n, dtype=np.int64)
    if coarse(y[~far]):
        facts["unjudged"] = "half of the numbers lie within three steps of each other; set task: classes"
        return result, np.zeros(n, dtype=np.int64)
    fold = np.zeros(n, dtype=np.int64)
    fold[rows] = _fold(samples, rows, strata_of(y, 10), groups, settings)
    even, z, lesson = on_even_scale(y, far, settings.seed)
    part = views.of(rows)
    units = None if groups is None else groups[rows]
    times = None if samples.times is None else samples.times[rows]
    fitted = _cross_fit(part, lesson, 0, fold[rows], times, units, settings, store, tick, judging=True)
    facts["learner"] = learners(part, 0)[fitted.best].said
    facts["held_out_loss"] = {name: round(value, 4) for name, value in fitted.losses.items()}
    told: np.ndarray = np.mean(list(fitted.experts.values()), axis=0)
    # Values far out may be told where the others, which the likelihood judges, are not.
    near = loss(lesson[~far], told[~far], 0) if far.any() else 0.0
    if max(min(fitted.losses.values()), near) > _FORETOLD:
        facts["unjudged"] = "no learner comes closer to the numbers than their median does"
        return result, fold
    seen = np.ones(len(rows), dtype=bool)
    if times is not None:  # the first stretch has no past from which it could be judged
        one = np.zeros(len(rows), dtype=np.int64)
        seen = _known_before(one, 1, fold[rows], times, units)
        facts["without_past"] = int((~seen).sum())
        if not seen.any():
            facts["unjudged"] = "no stretch of time has five rows before it"
            return result, fold
    whole = fold[rows]

    def predictions(taught: np.ndarray) -> np.ndarray:
        if taught.all():
            first: np.ndarray = told[seen]
            return first
        teachers = np.ones(len(rows), dtype=bool)
        teachers[seen] = taught
        return predict_again(
            list(fitted.experts), part, lesson, whole, teachers, seed=settings.seed, times=times, groups=units
        )[seen]

    def mine(number: int) -> np.ndarray:
        return may_train(whole, number, times, units)[seen]

    judges = part.of(np.flatnonzero(seen))
    found = judge_numbers(
        z[seen], judges, predictions, mine, whole[seen], settings.max_false, settings.seed, shared[seen], far[seen]
    )  # fmt: skip
    rows = rows[seen]
    facts["number"] = {"estimate": found.number, "low": found.low, "high": found.high}
    facts["condition"] = found.condition
    result.wrong[rows], result.score[rows], result.flags[rows] = found.wrong, found.score, found.flags
    result.judged[rows] = True
    result.observed_confidence[rows] = 1 - found.wrong
    result.confidence[rows] = found.wrong
    result.proposed[rows] = samples.written(even.back(found.predictions, y[~far]))
    return result, fold


def _of_shared(written: np.ndarray, y: np.ndarray, shared: np.ndarray) -> list[str]:
    """What is to be said of numbers that many rows share."""
    values, first, count = np.unique(y[shared], return_index=True, return_counts=True)
    if not len(values):
        return []
    order = np.argsort(-count, kind="stable")
    told = ", ".join(f"{written[shared][first[k]]} ({count[k]:,})" for k in order[:5])
    more = f" and {len(values) - 5:,} more" if len(values) > 5 else ""
    return [
        f"Many rows share a number exactly: {told}{more}. These rows are not judged, the others are judged without "
        "them. If the number stands for a missing value, empty these cells."
    ]


def _cross_fit(
    part: Representation,
    y: np.ndarray,
    classes: int,
    fold: np.ndarray,
    times: np.ndarray | None,
    units: np.ndarray | None,
    settings: Settings,
    store: Store,
    tick: Tick,
    judging: bool,
) -> CrossFit:
    """``compare_learners``, taken over from an earlier run where nothing that it depends on has changed."""

    def make(**given: Any) -> Made:
        found = compare_learners(**given, tick=lambda share: tick(0.15 + 0.7 * share))
        # A file forgets the order of a mapping.
        return found.experts, {
            "experts": list(found.experts), "losses": list(found.losses.items()), "best": found.best
        }  # fmt: skip

    given = {
        "views": part, "y": y, "classes": classes, "fold": fold, "seed": settings.seed, "judging": judging,
        "times": times, "groups": units,
    }  # fmt: skip
    experts, record = store.stage("cross_fit", given, make, "glitchtrace.audit.cross_fit:compare_learners")
    return CrossFit(
        {name: experts[name] for name in record["experts"]}, dict(record["losses"]), record["best"]
    )


def _influence(
    samples: Samples, views: Representation | None, found: _Labels, judged: np.ndarray, fold: np.ndarray
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Rows that the label of each suspect helps and hurts; nothing for numbers."""
    if samples.labels is None or views is None or not found.flags.any():
        return {}, {}
    rows = np.flatnonzero(judged & found.judged)
    place = {int(row): number for number, row in enumerate(rows)}
    suspects = [int(row) for row in np.argsort(-found.score, kind="stable")[:_EXPLAINED] if found.flags[row]]
    pairs = neighbourhood.influence(
        views.lines[rows],
        found.p[rows],
        samples.labels[rows],
        [place[row] for row in suspects],
        fold[rows],
        _HELPED,
    )
    helps = {row: [int(rows[j]) for j in best] for row, (best, _) in zip(suspects, pairs, strict=True)}
    hurts = {row: [int(rows[j]) for j in worst] for row, (_, worst) in zip(suspects, pairs, strict=True)}
    return helps, hurts

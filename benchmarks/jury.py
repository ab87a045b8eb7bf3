"""The jury against truth: docs/tables/jury_*.csv, on draws that its building never saw.

python benchmarks/jury.py features [FILE …]             the features of jury_draws.py that are not yet kept
python benchmarks/jury.py labels [FIRST COUNT]          wrong labels of pictures: F1, ceiling, number, flags
python benchmarks/jury.py promise [SETS FIRST COUNT]    many small runs: flags, and the most that truth would allow
python benchmarks/jury.py prior [SETS FIRST COUNT]      flags without and with the prior on weights, on few rows
python benchmarks/jury.py unusual [FIRST COUNT]         foreign and corrupted pictures: F1 and the gate
python benchmarks/jury.py wider [SETS FIRST COUNT]      44 cells of all kinds of glitches, pictures and tables
python benchmarks/jury.py limits ROWS:COLUMNS:CLASSES   CPU seconds and memory of one size

Every part adds its rows to its table and leaves out the draws that stand there, so that it can be stopped and gone on
with; delete the table to begin anew.  GLITCHTRACE_TABLES names another folder.  ``python docs/jury.py`` then fills
docs/jury.md.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from jury_draws import (
    CORRUPTED,
    HUMAN,
    PICTURES,
    WIDER,
    Draw,
    draw_pictures,
    draw_unusual,
    draw_wider,
    features,
    promise_data,
    spoil,
)

from glitchtrace.core.jobs import peak_kib
from glitchtrace.core.seeding import generator
from glitchtrace.detectors.jury import KINDS, Jury, noise
from glitchtrace.detectors.jury.heads import SoftmaxFolds
from glitchtrace.detectors.jury.judge import SURE
from glitchtrace.detectors.jury.neighbours import VOTERS, find_neighbours
from glitchtrace.detectors.jury.number import class_number, mixed_number
from glitchtrace.detectors.jury.panel import Panel, seat
from glitchtrace.detectors.jury.pool import STEEPEST, Pool, fit_pool, ranking_pool
from glitchtrace.detectors.jury.promise import FEWEST, make_promise
from glitchtrace.detectors.jury.refit import refit
from glitchtrace.detectors.jury.rows import Rows, deal_folds, gather_rows
from glitchtrace.detectors.jury.typicality import against_validation, along_axes

TABLES = Path(os.environ.get("GLITCHTRACE_TABLES", "docs/tables"))
LABEL_CELLS = (
    *(
        (name, f"human {human}")
        for name in ("cifar10", "cifar10_bilinear", "cifar10_lite2")
        for human in HUMAN
    ),
    *(
        (name, kind)
        for name in PICTURES
        for kind in ("uniform 10 %", "uniform 2 %", "next class 10 %", "one class 10 %")
    ),
)
LABEL_WAYS = ("training", "validated", "validated, 20 % wrong")
LABEL_SEEDS = range(31, 36)  # draws of seed 21 stood in the table while the promise was changed
PROMISE_CELLS = ("clean", "uniform 5 %", "uniform 10 %", "uniform 20 %", "uniform 40 %", "next class 10 %")
PROMISE_SETS = ("digits", "mnist", "fmnist", "cifar10", "breast cancer", "wine", "adult", "covtype")
PROMISE_HUMAN = ("aggregate", "random1", "worst")
PROMISE_SEEDS = range(220, 320)  # those up to 212 had been seen when the interval of the number was widened
PRIOR_SETS = ("digits", "wine", "breast cancer")
PRIOR_CELLS = ("clean", "uniform 5 %", "uniform 10 %", "next class 10 %")
PRIOR_SEEDS = range(403, 410)  # the prior was chosen on seeds 400 to 402 and on runs that broke the promise
UNUSUAL_SEEDS = range(61, 78)
FOUND_SEEDS = 5  # of these, draws with foreign or corrupted rows
WIDER_SEEDS = (51, 54, 55, 56, 57)  # 52 and 53 decided what a closed gate leaves
FLAGS = ("flagged", "false", "power", "power_possible", "power_ceiling", "rule", "repair_right")


def f1(score: np.ndarray, wrong: np.ndarray) -> float:
    """F1 at the known number of wrong labels."""
    return float(wrong[np.argsort(-score, kind="stable")[: wrong.sum()]].mean()) if wrong.any() else np.nan


def rivals(rows: Rows, fold: np.ndarray, panel: Panel) -> dict[str, np.ndarray]:
    """Plain scores on all features and on the penultimate layer, from training rows alone; higher = more suspicious."""
    n, y = rows.training, rows.labels
    index = np.arange(n)
    found = {}
    for view, x in (("all", rows.joined()), ("penultimate", next(iter(rows.views.values())))):
        log_p = (panel.experts["softmax"] if view == "all" else SoftmaxFolds(x, rows, fold, 0)).scores(index)
        p = np.exp(log_p)
        own = p[index, y]
        other = np.where(np.eye(rows.classes, dtype=bool)[y], -np.inf, p).max(axis=1)
        found[f"out-of-fold confidence, {view}"] = -own
        found[f"out-of-fold margin, {view}"] = other - own
        near = panel.neighbours.get(view) or find_neighbours(x, rows)
        votes = np.stack([(y[near.index[:, :VOTERS]] == c).mean(axis=1) for c in range(rows.classes)], axis=1)
        mine = votes[index, y]
        found[f"k-NN vote, {view}"] = -mine
        best = np.where(np.eye(rows.classes, dtype=bool)[y], -np.inf, votes).max(axis=1)
        found[f"k-NN margin, {view}"] = best - mine
        ranks = [np.argsort(np.argsort(s, kind="stable")) for s in (-own, best - mine)]
        found[f"rank mean, {view}"] = ranks[0] + ranks[1]
        found[f"AUM, {view}"] = -margin_of_training(x, y, rows.classes)
    return found


def margin_of_training(x: np.ndarray, y: np.ndarray, classes: int, epochs: int = 30) -> np.ndarray:
    """Mean margin of the observed label over the epochs of a linear head (SGD, momentum 0.9, batch 128)."""
    rng = generator(0, "jury benchmark AUM")
    W = np.zeros((x.shape[1] + 1, classes), dtype=np.float32)
    speed = np.zeros_like(W)
    inputs = np.concatenate([x, np.ones((len(x), 1), dtype=np.float32)], axis=1)
    own = np.eye(classes, dtype=bool)[y]
    total = np.zeros(len(x))
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(x)), -(-len(x) // 128)):
            logits = inputs[batch] @ W
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            p[own[batch]] -= 1
            speed = 0.9 * speed - 0.01 * (inputs[batch].T @ p / len(batch) + 5e-4 * W)
            W += speed
        logits = inputs @ W
        total += logits[own] - np.where(own, -np.inf, logits).max(axis=1)
    return total / epochs


def ceiling(ballots, pool: Pool, labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The score if weights and noise were fitted on the true labels: the most that these experts can tell."""
    n = len(truth)
    own = ballots.take(slice(0, n))
    told = fit_pool(own, truth, n, strengths=noise.UNIFORM)
    matrix = noise.maximise(noise.counts(np.eye(ballots.classes)[truth], own, labels[:n]), pool.strengths)
    return Pool(told.weights, told.bias, matrix, pool.strengths, None).log_odds(own, labels[:n])


def largest(score: np.ndarray, wrong: np.ndarray, max_false: float = 0.1) -> int:
    """The most wrong labels in a prefix of the ranking of which at most ``max_false`` are right: what truth allows."""
    order = np.argsort(-score, kind="stable")
    false = np.cumsum(~wrong[order])
    allowed = np.flatnonzero(false <= max_false * np.arange(1, len(order) + 1) + 1e-9)
    return int(wrong[order[: allowed[-1] + 1]].sum()) if len(allowed) else 0


def judged(draw: Draw, validated: bool, again: bool = True) -> dict[str, object]:
    """One run of the jury with what only the truth can tell."""
    x, labels, truth, held, right = draw
    wrong = labels != truth
    start = time.process_time()
    rows = gather_rows(x, labels, (held, right) if validated else None, None, 0)
    fold = deal_folds(rows.units, rows.labels, 5, 0)
    panel = seat(rows, fold, 0)
    n = rows.training
    first = fit_pool(panel.ballots, rows.labels, n)
    kept, scale = make_promise(first, panel.ballots, rows.labels, n, 0.1)
    number = class_number(first, scale, panel.ballots, rows.labels, n)
    sure = fit_pool(panel.ballots, rows.labels, n, only_validation=True) if told_right(first) else None
    mixed = mixed_number(first, sure, number, scale, panel.ballots, rows.labels, n)
    leading = ranking_pool(first, panel.ballots, rows.labels, n) if again else first
    pool, ballots = leading, panel.ballots
    if again:
        ballots = panel.ballots.joined(
            refit(rows, panel, leading, deal_folds(rows.units, rows.labels, 5, 1), 0)
        )
        pool = fit_pool(ballots, rows.labels, n, start=leading)
    if leading is not first:
        pool = pool.levelled(first, labels)
    own = ballots.take(slice(0, n))
    odds = pool.log_odds(own, labels)
    seconds = time.process_time() - start
    q = pool.judged(own, labels)
    refitted = 1 - float(q[np.arange(n), labels].mean())
    proposed = np.where(np.eye(rows.classes, dtype=bool)[labels], -1, q).argmax(axis=1)
    found = kept.flagged & wrong
    told = ceiling(ballots, pool, rows.labels, truth) if wrong.any() else odds
    return {
        "rows": rows,
        "fold": fold,
        "panel": panel,
        "q": 1 - q[np.arange(n), labels],
        "record": {
            "wrong": wrong.mean(),
            "f1": f1(odds, wrong),
            "f1_before_refit": f1(leading.log_odds(panel.ballots.take(slice(0, n)), labels), wrong),
            "ceiling_f1": f1(told, wrong),
            "number": mixed.share,
            "low": mixed.low,
            "high": mixed.high,
            "class_number": number.share,
            "class_low": number.low,
            "class_high": number.high,
            "class_number_after_refit": refitted,
            "validation_flip": first.validation_flip if validated else np.nan,
            "flagged": int(kept.flagged.sum()),
            "false": int((kept.flagged & ~wrong).sum()),
            "power": found.sum() / max(wrong.sum(), 1),
            "power_possible": largest(odds, wrong) / max(wrong.sum(), 1),
            "power_ceiling": largest(told, wrong) / max(wrong.sum(), 1),
            "rule": kept.rule,
            "pairs": not first.uniform,
            "repair_right": (proposed == truth)[found].mean() if found.any() else np.nan,
            "cpu_seconds": seconds,
        },
    }


def told_right(pool: Pool) -> bool:
    """Whether the validation labels are taken for right, as ``Jury`` does."""
    return pool.validation_flip is not None and pool.validation_flip < SURE


def some_seeds(standard: Sequence[int], place: int = 2) -> Sequence[int]:
    """Seeds, first and count, from the arguments at ``place``, or the standard ones."""
    if len(sys.argv) <= place:
        return standard
    first, count = (int(part) for part in sys.argv[place : place + 2])
    return range(first, first + count)


def labels_part() -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of jury_labels.csv: training rows alone, with validation rows, and with 20 % of these labels wrong."""
    for seed in some_seeds(LABEL_SEEDS):
        for data, kind in LABEL_CELLS:
            draw = x, labels, truth, held, right = draw_pictures(data, kind, seed)
            wrong = labels != truth
            for way in LABEL_WAYS:
                if done("labels", data=data, kind=kind, seed=seed, rows=way):
                    continue
                if way == LABEL_WAYS[2]:
                    rng = generator(seed, f"jury validation {data} {kind}")
                    draw = (x, labels, truth, held, spoil(right, "uniform 20 %", rng))
                run = judged(draw, way != "training")
                # Flags are what many small runs tell of, see ``promise_part``.
                told = {key: value for key, value in run["record"].items() if key not in FLAGS}
                plain, top = {"": np.nan}, ""
                if way == "training":
                    scores = rivals(run["rows"], run["fold"], run["panel"])
                    plain = {name: f1(score, wrong) for name, score in scores.items()}
                    top = max(plain, key=lambda name: plain[name])
                record = {"data": data, "kind": kind, "seed": seed, "rows": way, **told}
                yield "labels", {**record, "best_rival": top, "rival_f1": plain[top]}


def small_draw(
    data: str,
    kind: str,
    seed: int,
    views: dict[str, np.ndarray],
    truth: np.ndarray,
    human: dict[str, np.ndarray],
    n: int,
    m: int,
) -> Draw:
    """A draw of n training and m validation rows of what ``promise_data`` gives."""
    rng = generator(seed, f"jury benchmark {data} {kind}")
    # People labelled the first 4,000 rows; those that validate are of the others where there are such.
    known = min(len(truth), 4000) if human else len(truth)
    order = rng.permutation(known)
    train = order[:n]
    held = rng.permutation(np.arange(known, len(truth)))[:m] if human else order[n : n + m]
    right = truth[train]
    labels = human[kind.split()[1]][train] if kind.startswith("human") else spoil(right, kind, rng)
    return (
        {view: x[train] for view, x in views.items()},
        labels,
        right,
        {view: x[held] for view, x in views.items()},
        truth[held],
    )


def prior_part() -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of jury_prior.csv: flags of one panel by a pool without and with the prior on the sum of its weights.

    Arguments: sets, by a comma, and seeds, first and count; without, sets of few rows and the standard seeds.
    """
    names = sys.argv[2].split(",") if len(sys.argv) > 2 else PRIOR_SETS
    sources = {name: promise_data(name) for name in names}
    for seed in some_seeds(PRIOR_SEEDS, 3):
        for data, source in sources.items():
            for kind in PRIOR_CELLS:
                x, labels, truth, held, right = small_draw(data, kind, seed, *source)
                for way in ("training", "validated"):
                    # Without validation rows nothing is flagged of fewer rows.
                    if way == "training" and len(labels) < FEWEST:
                        continue
                    if done("prior", data=data, kind=kind, seed=seed, rows=way):
                        continue
                    rows = gather_rows(x, labels, (held, right) if way == "validated" else None, None, 0)
                    ballots = seat(rows, deal_folds(rows.units, rows.labels, 5, 0), 0).ballots
                    record = {"data": data, "kind": kind, "seed": seed, "rows": way}
                    for key, scale in (("without", np.inf), ("with", STEEPEST)):
                        with (
                            mock.patch("glitchtrace.detectors.jury.pool.STEEPEST", scale),
                            mock.patch("glitchtrace.detectors.jury.promise.STEEPEST", scale),
                        ):
                            fitted = fit_pool(ballots, rows.labels, rows.training)
                            kept, _ = make_promise(fitted, ballots, rows.labels, rows.training, 0.1)
                        wrong = labels != truth
                        record |= {
                            f"flagged_{key}": int(kept.flagged.sum()),
                            f"false_{key}": int((kept.flagged & ~wrong).sum()),
                            f"weights_{key}": float(fitted.weights.sum()),
                        }
                    yield "prior", record | {"wrong": int(wrong.sum())}


def promise_part() -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of jury_promise.csv: many small runs; the experts before any refit, which decide the promise.

    Arguments: sets, by a comma, and seeds, first and count; without, all of both.
    """
    names = sys.argv[2].split(",") if len(sys.argv) > 2 else PROMISE_SETS
    sources = {name: promise_data(name) for name in names}
    for seed in some_seeds(PROMISE_SEEDS, 3):
        for data, source in sources.items():
            truth, human = source[1], source[2]
            kinds = (*PROMISE_CELLS, *(f"human {name}" for name in PROMISE_HUMAN if name in human))
            for kind in kinds:
                if kind == "uniform 40 %" and truth.max() < 3:
                    continue  # of two or three classes nearly nothing is left
                if done("promise", data=data, kind=kind, seed=seed):
                    continue
                draw = small_draw(data, kind, seed, *source)
                labels, right = draw[1], draw[2]
                for way in ("training", "validated"):
                    run = judged(draw, way == "validated", again=False)
                    record = {**run["record"], "calibration": reliability(run["q"], labels != right)}
                    yield "promise", {"data": data, "kind": kind, "seed": seed, "rows": way, **record}


def reliability(probability: np.ndarray, wrong: np.ndarray) -> str:
    """Rows, mean probability and wrong ones of each of ten bins: ``rows:sum:wrong`` joined by spaces."""
    place = np.minimum((probability * 10).astype(int), 9)
    counted = (np.bincount(place, weights=w, minlength=10) for w in (np.ones(len(wrong)), probability, wrong))
    return " ".join(f"{int(n)}:{p:.2f}:{int(w)}" for n, p, w in zip(*counted, strict=True))


def unusual_part() -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of jury_unusual.csv: pictures of another set under one label, corrupted ones, and neither."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    for seed in some_seeds(UNUSUAL_SEEDS):
        for data in PICTURES:
            for kind in ("none", "far", *CORRUPTED):
                if kind != "none" and seed >= UNUSUAL_SEEDS.start + FOUND_SEEDS:
                    continue
                if done("unusual", data=data, kind=kind, seed=seed):
                    continue
                (x, labels, _, held, right), bad = draw_unusual(data, kind, seed)
                start = time.process_time()
                rows = gather_rows(x, labels, (held, right), None, 0)
                found = against_validation(rows, np.ones(len(rows), dtype=bool), 0)
                seconds = time.process_time() - start
                alone = top = np.nan
                if bad.any():
                    alone = f1(along_axes(rows.views, rows.training, 0).score, bad)
                    inputs = rows.joined()[: rows.training]
                    model = LogisticRegression(C=0.01, max_iter=200)
                    inputs = inputs / inputs.std(axis=0)
                    top = f1(cross_val_predict(model, inputs, bad, cv=5, method="decision_function"), bad)
                yield (
                    "unusual",
                    {
                        "data": data,
                        "kind": kind,
                        "seed": seed,
                        "gate": found.gate,
                        "open": found.open,
                        "f1": f1(found.score, bad),
                        "f1_axes_without_validation": alone,
                        "f1_marks": top,
                        "judged_foreign": int((found.probability > 0.5).sum()),
                        "false": int(((found.probability > 0.5) & ~bad).sum()),
                        "cpu_seconds": seconds,
                    },
                )


def wider_part() -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of jury_wider.csv: the total score of a whole verdict with validation rows.

    Arguments: sets, by a comma, and seeds, first and count; without, all of both.
    """
    from sklearn.metrics import roc_auc_score

    names = sys.argv[2].split(",") if len(sys.argv) > 2 else {data for data, _ in WIDER}
    for seed in some_seeds(WIDER_SEEDS, 3):
        for data, kind in WIDER:
            if data not in names or done("wider", data=data, kind=kind, seed=seed):
                continue
            (x, labels, _, held, right), true = draw_wider(data, kind, seed)
            bad = true != "clean"
            start = time.process_time()
            verdict = Jury(evidence=0).judge(x, labels, (held, right))
            seconds = time.process_time() - start
            judged = verdict.kind_names()
            typicality = verdict.typicality
            yield (
                "wider",
                {
                    "data": data,
                    "kind": kind,
                    "seed": seed,
                    "glitches": int(bad.sum()),
                    "f1": f1(verdict.log_odds, bad),
                    "auroc": roc_auc_score(bad, verdict.log_odds),
                    "gate": typicality.gate if typicality is not None else np.nan,
                    **{f"judged_{one}": int((judged == one).sum()) for one in KINDS[1:]},
                    "false": int((~bad & (judged != "clean")).sum()),
                    "right_kind": int((bad & (judged == true)).sum()),
                    "cpu_seconds": seconds,
                },
            )


def limits_part() -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of jury_limits.csv: size against CPU seconds and memory, one process per size (argument n:d:K)."""
    n, width, classes = (int(part) for part in sys.argv[2].split(":"))
    rng = generator(0, "jury benchmark limits")
    centres = rng.normal(size=(classes, width)) * (0.25 if classes <= 10 else 0.4)
    truth = rng.integers(classes, size=n)
    x = (centres[truth] + rng.normal(size=(n, width))).astype(np.float32)
    labels = spoil(truth, "uniform 10 %", rng)
    start = time.process_time()
    verdict = Jury().judge({"x": x}, labels)
    wrong = labels != truth
    yield (
        "limits",
        {
            "rows": n,
            "columns": width,
            "classes": classes,
            "cpu_seconds": round(time.process_time() - start, 1),
            "peak_mb": peak_kib() // 1024,
            "f1": f1(verdict.log_odds, wrong),
            "number": verdict.number.share,
            "low": verdict.number.low,
            "high": verdict.number.high,
            "flagged": int(verdict.flagged.sum()),
            "false": int((verdict.flagged & ~wrong).sum()),
        },
    )


def done(part: str, **key: object) -> bool:
    """Whether a draw stands in its table."""
    path = TABLES / f"jury_{part}.csv"
    if not path.is_file():
        return False
    table = pd.read_csv(path)
    return bool(np.logical_and.reduce([table[name] == value for name, value in key.items()]).any())


PARTS = {
    "labels": labels_part,
    "promise": promise_part,
    "prior": prior_part,
    "unusual": unusual_part,
    "wider": wider_part,
    "limits": limits_part,
}


def main(part: str) -> None:
    """Make one part, row by row."""
    if part == "features":
        features(*sys.argv[2:])
        return
    for name, record in PARTS[part]():
        path = TABLES / f"jury_{name}.csv"
        row = pd.DataFrame([{key: round(v, 4) if isinstance(v, float) else v for key, v in record.items()}])
        row.to_csv(path, mode="a", header=not path.is_file(), index=False)


if __name__ == "__main__":
    main(sys.argv[1])

"""The jury against truth: docs/tables/jury_*.csv, on draws that its building never saw.

python benchmarks/jury.py features|labels|promise [SETS FIRST COUNT]|foreign|limits
python benchmarks/jury.py page

``features`` embeds 4,000 + 1,000 pictures each of CIFAR-10, Fashion-MNIST and MNIST with EfficientNet-Lite0 (about
two CPU minutes; kept in results/jury_features), which ``labels`` and ``foreign`` read.  Every part adds its rows to
its table and leaves out the draws that stand there, so that it can be stopped and gone on with; delete the table to
begin anew.  ``page`` puts the tables of the promise into docs/jury.md.
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from glitchtrace.core.jobs import peak_kib
from glitchtrace.core.seeding import generator
from glitchtrace.detectors.jury import Jury, noise, promise
from glitchtrace.detectors.jury.heads import SoftmaxFolds
from glitchtrace.detectors.jury.neighbours import VOTERS, find_neighbours
from glitchtrace.detectors.jury.number import class_number, mixed_number
from glitchtrace.detectors.jury.panel import Panel, seat
from glitchtrace.detectors.jury.pool import Pool, fit_pool
from glitchtrace.detectors.jury.refit import refit
from glitchtrace.detectors.jury.rows import Rows, deal_folds, gather_rows

TABLES = Path(os.environ.get("GLITCHTRACE_TABLES", "docs/tables"))
PAGE = Path("docs/jury.md")
FEATURES = Path("results/jury_features")
HUMAN = {
    "aggregate": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worst": "worse_label",
}
LABEL_CELLS = (
    *(("cifar10", f"human {name}") for name in HUMAN),
    ("fmnist", "uniform 10 %"),
    ("cifar10", "uniform 10 %"),
    ("fmnist", "next class 10 %"),
    ("mnist", "uniform 10 %"),
    ("fmnist", "clean"),
    ("cifar10", "clean"),
)
LABEL_SEEDS = (21, 22, 23)
PROMISE_CELLS = ("clean", "uniform 5 %", "uniform 10 %", "uniform 20 %", "uniform 40 %", "next class 10 %")
PROMISE_PICTURES = ("mnist", "fmnist", "cifar10")
PROMISE_SETS = ("digits", *PROMISE_PICTURES, "breast cancer", "wine")
PROMISE_HUMAN = ("aggregate", "random1", "worst")
PROMISE_SEEDS = range(200, 300)
FOREIGN_SEEDS = (41, 42, 43)
Draw = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, dict[str, np.ndarray], np.ndarray]


def features() -> None:
    """Embed the pictures; penultimate layer and stage 5, as pooled by the network."""
    import torch

    from glitchtrace.data.datasets.idx import read_idx
    from glitchtrace.models.efficientnet_lite import load

    root = Path(os.environ["GLITCHTRACE_DATA"])
    FEATURES.mkdir(parents=True, exist_ok=True)

    def embed(pictures: np.ndarray, side: int) -> dict[str, np.ndarray]:
        network = load("0", side, representations=("penultimate", "stage5"))
        found = []
        with torch.inference_mode():
            for start in range(0, len(pictures), 25):
                x = torch.from_numpy(pictures[start : start + 25]).float() / 127.5 - 1
                x = x[:, None].repeat(1, 3, 1, 1) if x.ndim == 3 else x.permute(0, 3, 1, 2)
                found.append(network(x).numpy())
        both = np.concatenate(found)
        return {"penultimate": both[:, :1280], "stage5": both[:, 1280:]}

    with np.load(root / "CIFAR10/cifar10_lossless_5000.npz") as z:
        pictures = np.concatenate([z["x_train"], z["x_test"]])
        truth = np.concatenate([z["y_train"], z["y_test"]]).astype(np.int64)
    with np.load(root / "labels/cifar10n_human_labels.npz") as z:
        human = {name: z[array][:4000].astype(np.int64) for name, array in HUMAN.items()}
    np.savez(FEATURES / "cifar10.npz", truth=truth, **human, **embed(pictures, 128))
    for name, folder in (("fmnist", "FashionMNIST"), ("mnist", "MNIST")):
        rng = generator(0, f"jury pictures {name}")
        parts, labels = [], []
        for part, count in (("train", 4000), ("t10k", 1000)):
            x = read_idx(root / folder / f"raw/{part}-images-idx3-ubyte.gz", 3)
            chosen = np.sort(rng.choice(len(x), count, replace=False))
            parts.append(x[chosen])
            labels.append(read_idx(root / folder / f"raw/{part}-labels-idx1-ubyte.gz", 1)[chosen])
        truth = np.concatenate(labels).astype(np.int64)
        np.savez(FEATURES / f"{name}.npz", truth=truth, **embed(np.concatenate(parts), 96))


def spoil(truth: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Labels with exactly the share of wrong ones that the kind names."""
    labels = truth.copy()
    if kind == "clean":
        return labels
    share = float(kind.split()[-2]) / 100
    wrong = rng.choice(len(truth), round(share * len(truth)), replace=False)
    classes = int(truth.max()) + 1
    step = rng.integers(1, classes, size=len(wrong)) if kind.startswith("uniform") else 1
    labels[wrong] = (labels[wrong] + step) % classes
    return labels


def draw_pictures(name: str, kind: str, seed: int) -> Draw:
    """3,600 of 4,000 training rows and 900 of 1,000 validation rows: features, observed, true, and validation."""
    rng = generator(seed, f"jury benchmark {name} {kind}")
    with np.load(FEATURES / f"{name}.npz") as z:
        data = dict(z)
    train = np.sort(rng.choice(4000, 3600, replace=False))
    held = 4000 + np.sort(rng.choice(1000, 900, replace=False))
    truth = data["truth"][train]
    labels = data[kind.split()[1]][train] if kind.startswith("human") else spoil(truth, kind, rng)
    views = {view: data[view] for view in ("penultimate", "stage5")}
    return (
        {view: x[train] for view, x in views.items()},
        labels,
        truth,
        {view: x[held] for view, x in views.items()},
        data["truth"][held],
    )


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
    kept, scale = promise.make_promise(first, panel.ballots, rows.labels, n, 0.1)
    number = class_number(first, scale, panel.ballots, rows.labels, n)
    sure = fit_pool(panel.ballots, rows.labels, n, only_validation=True) if validated else None
    mixed = mixed_number(first, sure, number, scale, panel.ballots, rows.labels, n)
    pool, ballots = first, panel.ballots
    if again:
        ballots = panel.ballots.joined(
            refit(rows, panel, first, deal_folds(rows.units, rows.labels, 5, 1), 0)
        )
        pool = fit_pool(ballots, rows.labels, n, start=first)
    own = ballots.take(slice(0, n))
    odds = pool.log_odds(own, labels)
    seconds = time.process_time() - start
    q = pool.judged(own, labels)
    refitted = 1 - float(q[np.arange(n), labels].mean())
    order = np.argsort(-odds, kind="stable")
    proposed = np.where(np.eye(rows.classes, dtype=bool)[labels], -1, q).argmax(axis=1)
    found = kept.flagged & wrong
    # The largest set that truth would allow along the same ranking.
    false = np.cumsum(~wrong[order])
    allowed = np.flatnonzero(false <= 0.1 * np.arange(1, n + 1))
    best = int(wrong[order[: allowed[-1] + 1]].sum()) if len(allowed) else 0
    return {
        "rows": rows,
        "fold": fold,
        "panel": panel,
        "ballots": ballots,
        "pool": pool,
        "odds": odds,
        "record": {
            "wrong": wrong.mean(),
            "f1": f1(odds, wrong),
            "f1_before_refit": f1(first.log_odds(panel.ballots.take(slice(0, n)), labels), wrong),
            "number": mixed.share,
            "low": mixed.low,
            "high": mixed.high,
            "class_number": number.share,
            "class_low": number.low,
            "class_high": number.high,
            "class_number_after_refit": refitted,
            "flagged": int(kept.flagged.sum()),
            "false": int((kept.flagged & ~wrong).sum()),
            "power": found.sum() / max(wrong.sum(), 1),
            "power_possible": best / max(wrong.sum(), 1),
            "rule": kept.rule,
            "pairs": not first.uniform,
            "repair_right": (proposed == truth)[found].mean() if found.any() else np.nan,
            "cpu_seconds": seconds,
        },
    }


def labels_part() -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of jury_labels.csv."""
    for seed in LABEL_SEEDS:
        for data, kind in LABEL_CELLS:
            if done("labels", data=data, kind=kind, seed=seed):
                continue
            draw = draw_pictures(data, kind, seed)
            labels, truth = draw[1], draw[2]
            wrong = labels != truth
            alone, both = judged(draw, False), judged(draw, True)
            plain = {}
            if wrong.any():
                scores = rivals(alone["rows"], alone["fold"], alone["panel"])
                plain = {name: f1(score, wrong) for name, score in scores.items()}
            top = max(plain, key=lambda name: plain[name]) if plain else ""
            for way, run in (("training", alone), ("validated", both)):
                record = {"data": data, "kind": kind, "seed": seed, "rows": way, **run["record"]}
                record["best_rival"] = top
                record["rival_f1"] = plain.get(top, np.nan)
                told = (
                    ceiling(run["ballots"], run["pool"], run["rows"].labels, truth) if wrong.any() else None
                )
                record["ceiling_f1"] = np.nan if told is None else f1(told, wrong)
                yield "labels", record


def promise_data(name: str) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray], int, int]:
    """Views and true labels of a set, labels that people gave, and how many rows train and validate."""
    from sklearn import datasets

    if name in PROMISE_PICTURES:
        with np.load(FEATURES / f"{name}.npz") as z:
            data = dict(z)
        # Reduced once on all rows, without labels, as every draw would be on its own.
        views = gather_rows(
            {view: data[view] for view in ("penultimate", "stage5")}, data["truth"], None, None, 0
        )
        return views.views, data["truth"], {key: data[key] for key in HUMAN if key in data}, 1500, 600
    read, n, m = {
        "digits": (datasets.load_digits, 1000, 400),
        "breast cancer": (datasets.load_breast_cancer, 380, 150),
        "wine": (datasets.load_wine, 120, 50),
    }[name]
    x, truth = read(return_X_y=True)
    return {"x": (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9)}, truth, {}, n, m


def promise_part() -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of jury_promise.csv: many small runs; the experts before any refit, which decide the promise.

    Arguments: sets, by a comma, and seeds, first and count; without, all of both.
    """
    names = sys.argv[2].split(",") if len(sys.argv) > 2 else PROMISE_SETS
    seeds = (
        range(int(sys.argv[3]), int(sys.argv[3]) + int(sys.argv[4])) if len(sys.argv) > 4 else PROMISE_SEEDS
    )
    sources = {name: promise_data(name) for name in names}
    for seed in seeds:
        for data, (views, truth, human, n, m) in sources.items():
            kinds = (*PROMISE_CELLS, *(f"human {name}" for name in PROMISE_HUMAN if name in human))
            for kind in kinds:
                if kind == "uniform 40 %" and data in ("breast cancer", "wine"):
                    continue  # of two or three classes nearly nothing is left
                if done("promise", data=data, kind=kind, seed=seed):
                    continue
                rng = generator(seed, f"jury benchmark {data} {kind}")
                # People labelled the first 4,000 rows; those that validate are of the others where there are such.
                known = min(len(truth), 4000) if human else len(truth)
                order = rng.permutation(known)
                train = order[:n]
                held = rng.permutation(np.arange(known, len(truth)))[:m] if human else order[n : n + m]
                right = truth[train]
                labels = (
                    human[kind.split()[1]][train] if kind.startswith("human") else spoil(right, kind, rng)
                )
                draw = (
                    {view: x[train] for view, x in views.items()},
                    labels,
                    right,
                    {view: x[held] for view, x in views.items()},
                    truth[held],
                )
                for validated in (False, True):
                    record = judged(draw, validated, again=False)["record"]
                    way = "validated" if validated else "training"
                    yield "promise", {"data": data, "kind": kind, "seed": seed, "rows": way, **record}


def foreign_part() -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of jury_foreign.csv: pictures of another data set under one label, beside none."""
    from glitchtrace.detectors.jury.typicality import against_validation, along_axes

    for seed in FOREIGN_SEEDS:
        for data, other in (("cifar10", "mnist"), ("fmnist", "mnist"), ("mnist", "fmnist")):
            for kind in ("none", "far"):
                if done("foreign", data=data, kind=kind, seed=seed):
                    continue
                x, labels, _, held, right = draw_pictures(data, "clean", seed)
                bad = np.zeros(len(labels), dtype=bool)
                if kind == "far":
                    rng = generator(seed, f"jury benchmark far {data}")
                    bad[rng.choice(len(labels), 330, replace=False)] = True
                    labels = np.where(bad, 7, labels)
                    with np.load(FEATURES / f"{other}.npz") as z:
                        rows = rng.permutation(np.flatnonzero(z["truth"] == 3))[:330]
                        x = {view: put(values, bad, z[view][rows]) for view, values in x.items()}
                rows = gather_rows(x, labels, (held, right), None, 0)
                found = against_validation(rows, np.ones(len(rows), dtype=bool), 0)
                alone = along_axes(rows.views, rows.training, 0)
                yield (
                    "foreign",
                    {
                        "data": data,
                        "kind": kind,
                        "seed": seed,
                        "gate": found.gate,
                        "f1": f1(found.score, bad),
                        "f1_axes_without_validation": f1(alone.score, bad),
                        "judged_foreign": int((found.probability > 0.5).sum()),
                        "false": int(((found.probability > 0.5) & ~bad).sum()),
                    },
                )


def put(values: np.ndarray, where: np.ndarray, others: np.ndarray) -> np.ndarray:
    """A copy with some rows replaced."""
    result = values.copy()
    result[np.flatnonzero(where)[: len(others)]] = others
    return result


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


def goals(table: pd.DataFrame) -> list[dict[str, object]]:
    """Each line of the promise that is aimed at beside what was seen, over all sets."""
    groups = {
        "clean": table.kind == "clean",
        "uniform": table.kind.str.startswith("uniform"),
        "next class": table.kind.str.startswith("next"),
        "human": table.kind.str.startswith("human"),
    }
    lines = []
    for name, some in groups.items():
        for way in ("training", "validated"):
            part = table[some & (table.rows == way)]
            if not len(part):
                continue
            kept = part.flagged == 0 if name == "clean" else part.false <= 0.1 * part.flagged
            goal = "98 % flag nothing" if name == "clean" else "95 %"
            if name == "next class" and way == "training":
                goal = "none"
            covers = covered(part)
            lines.append(
                {
                    "errors": name,
                    "rows": way,
                    "runs": len(part),
                    "kept": f"{int(kept.sum())} ({100 * kept.mean():.0f} %)",
                    "aimed at": goal,
                    "runs with flags": int((part.flagged > 0).sum()),
                    "interval covers": f"{int(covers.sum())} ({100 * covers.mean():.0f} %)",
                    "covers, aimed at": "90 %" if way == "validated" else "–",
                }
            )
    return lines


def covered(table: pd.DataFrame) -> pd.Series:
    """Whether the interval holds the share of wrong labels, to half a row of 1,000."""
    return (table.low - 0.0005 <= table.wrong) & (table.wrong <= table.high + 0.0005)


def promised(table: pd.DataFrame) -> list[dict[str, object]]:
    """One line per set, kind of errors and way."""
    lines = []
    for (data, kind, way), part in table.groupby(["data", "kind", "rows"], sort=False):
        lines.append(
            {
                "data": data,
                "labels": kind,
                "rows": way,
                "runs": len(part),
                "flagged": f"{part.flagged.mean():.0f}",
                "false": f"{part.false.mean():.1f}",
                "kept": int((part.false <= 0.1 * part.flagged).sum()),
                "found": f"{part.power.mean():.2f}",
                "most along this ranking": f"{part.power_possible.mean():.2f}",
                "interval covers": int(covered(part).sum()),
            }
        )
    return lines


def page() -> None:
    """Put the tables of the promise into docs/jury.md, between their marks."""
    from tabulate import tabulate

    table = pd.read_csv(TABLES / "jury_promise.csv")
    place = {name: number for number, name in enumerate(PROMISE_SETS)}
    table = table.assign(order=table.data.map(place)).sort_values(["order", "seed"], kind="stable")
    text = PAGE.read_text()
    for name, lines in (("goals", goals(table)), ("promise", promised(table))):
        before, rest = text.split(f"<!-- {name} -->\n")
        made = tabulate(lines, headers="keys", tablefmt="pipe", disable_numparse=True)
        text = f"{before}<!-- {name} -->\n{made}\n<!-- end -->{rest.split('<!-- end -->', 1)[1]}"
    PAGE.write_text(text)


def done(part: str, **key: object) -> bool:
    """Whether a draw stands in its table."""
    path = TABLES / f"jury_{part}.csv"
    if not path.is_file():
        return False
    table = pd.read_csv(path)
    return bool(np.logical_and.reduce([table[name] == value for name, value in key.items()]).any())


PARTS = {"labels": labels_part, "promise": promise_part, "foreign": foreign_part, "limits": limits_part}


def main(part: str) -> None:
    """Make one part, row by row."""
    if part in ("features", "page"):
        features() if part == "features" else page()
        return
    for name, record in PARTS[part]():
        path = TABLES / f"jury_{name}.csv"
        row = pd.DataFrame([{key: round(v, 4) if isinstance(v, float) else v for key, v in record.items()}])
        row.to_csv(path, mode="a", header=not path.is_file(), index=False)


if __name__ == "__main__":
    main(sys.argv[1])

"""The promise of the audit against truth: docs/tables/audit_promise*.csv.

python benchmarks/audit_promise.py runs FIRST COUNT [FOLDER [SET …]]   audits, seeds FIRST … FIRST + COUNT - 1
python benchmarks/audit_promise.py join FOLDER …                       runs made elsewhere into docs/tables
python benchmarks/audit_promise.py calibration [FOLDER]                why a suspicion is off: audit_calibration.csv
python benchmarks/audit_promise.py moved SEED …                        whether moving it helps: audit_moved.csv
python benchmarks/audit_promise.py noise SEED …                        which noise the jury finds: audit_noise.csv
python benchmarks/audit_promise.py page                                the tables of docs/audit.md from the files

``runs`` needs GLITCHTRACE_DATA and, for pictures, the features that ``benchmarks/jury.py features`` keeps.  Each run
adds a line to ``audit_promise_runs.csv``, so that it can be stopped and gone on with, or made in parts, each in a
folder of its own; runs that stand there are left out.  Each draws rows and errors of its own:

* uniform errors, exactly the named share, among 1,200 rows (breast cancer 569, wine 178, all they have);
* on CIFAR-10N errors that people made: of the wrong labels of its worst annotator a random part of the named size.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from jury import largest
from jury_draws import FEATURES, spoil

from glitchtrace.audit.detection import detect
from glitchtrace.audit.picture_samples import _reduced
from glitchtrace.audit.representation import Representation
from glitchtrace.audit.run import _represent
from glitchtrace.audit.samples import Samples, from_arrays
from glitchtrace.audit.settings import Settings
from glitchtrace.audit.store import Store
from glitchtrace.core.seeding import generator

TABLES = Path("docs/tables")
PAGE = Path("docs/audit.md")
ROWS = 1200
NOISE = (0, 1, 5, 20, 40)
SETS = ("digits", "breast cancer", "wine", "MNIST", "Fashion-MNIST", "CIFAR-10N", "Adult", "covtype")
PICTURES = {"MNIST": "mnist", "Fashion-MNIST": "fmnist", "CIFAR-10N": "cifar10"}
BINS = 10
CALIBRATED = 0.03  # aimed at


def pool(name: str) -> tuple[object, np.ndarray, dict[str, np.ndarray]]:
    """All rows of a set, their true labels as numbers from 0, and what else belongs to the rows."""
    from sklearn import datasets

    root = Path(os.environ["GLITCHTRACE_DATA"])
    if name in PICTURES:
        with np.load(FEATURES / f"{PICTURES[name]}.npz") as z:
            data = {key: z[key] for key in z.files}
        count = 4000 if name == "CIFAR-10N" else 5000
        views = {key: data[key][:count] for key in ("penultimate", "stage5")}
        return views, data["truth"][:count], {"human": data["worst"]} if name == "CIFAR-10N" else {}
    if name == "Adult":
        frame = pd.read_parquet(root / "tabular/adult.parquet").drop(columns="split")
        return frame.drop(columns="class"), np.unique(frame["class"], return_inverse=True)[1], {}
    if name == "covtype":
        frame = pd.read_parquet(root / "tabular/covtype_sample92962.parquet")
        truth = frame.pop("Cover_Type").to_numpy().astype(np.int64) - 1
        return frame.to_numpy(), truth, {}
    read = {
        "digits": datasets.load_digits,
        "breast cancer": datasets.load_breast_cancer,
        "wine": datasets.load_wine,
    }
    x, truth = read[name](return_X_y=True)
    return x, truth, {}


def draw(
    name: str, percent: int, seed: int, held: dict[str, object]
) -> tuple[Samples, Representation | None, np.ndarray, np.ndarray]:
    """Samples with planted errors, their representation, observed and true labels."""
    if name not in held:
        held[name] = pool(name)
    x, truth, more = held[name]  # type: ignore[misc]
    rng = generator(seed, f"audit promise {name} {percent}")
    rows = np.sort(rng.choice(len(truth), min(ROWS, len(truth)), replace=False))
    right = truth[rows]
    if more:
        labels, human = right.copy(), more["human"][rows]
        wrong = np.flatnonzero(human != right)
        some = rng.choice(wrong, min(len(wrong), round(percent * len(rows) / 100)), replace=False)
        labels[some] = human[some]
    else:
        labels = spoil(right, f"uniform {percent} %", rng)
    settings = Settings(seed=seed % 2**31)
    if name in PICTURES:
        parts, _ = _reduced({view: values[rows] for view, values in x.items()}, [], settings.seed, None)
        ends = np.cumsum([part.shape[1] for part in parts.values()]).tolist()
        cuts = tuple((view, end - parts[view].shape[1], end) for view, end in zip(parts, ends, strict=True))
        views = Representation(np.concatenate(list(parts.values()), axis=1), None, name, cuts)
        return from_arrays(views.lines, labels, settings), views, labels, right
    part = x.iloc[rows].reset_index(drop=True) if isinstance(x, pd.DataFrame) else x[rows]
    samples = from_arrays(part, labels, settings)
    samples, found = _represent(samples, settings, Store(None), None)  # type: ignore[arg-type]
    return samples, found, labels, right


def calibration_error(probability: np.ndarray, wrong: np.ndarray) -> float:
    """Expected calibration error over ten bins of equal width."""
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, weights=probability - wrong, minlength=BINS)
    return float(np.abs(gaps).sum() / len(wrong))


def run(name: str, percent: int, seed: int, held: dict[str, object]) -> dict[str, object]:
    """One audit with what only the truth can tell."""
    from sklearn.metrics import roc_auc_score

    samples, views, labels, right = draw(name, percent, seed, held)
    wrong = labels != right
    start = time.process_time()
    found = detect(samples, views, Settings(seed=seed % 2**31), Store(None), lambda share: None)
    seconds = time.process_time() - start
    flags = found.evidence.flags
    number = found.facts.get("number")
    false = int((flags & ~wrong).sum())
    losses = found.facts.get("held_out_loss", {})
    return {
        "set": name,
        "noise": percent,
        "seed": seed,
        "rows": len(labels),
        "wrong": int(wrong.sum()),
        "flagged": int(flags.sum()),
        "false": false,
        "kept": bool(false <= 0.1 * flags.sum()),
        "found": int((flags & wrong).sum()),
        "possible": largest(found.evidence.score, wrong),
        "number": number["estimate"] if number else np.nan,
        "low": number["low"] if number else np.nan,
        "high": number["high"] if number else np.nan,
        "calibration_error": calibration_error(found.evidence.wrong, wrong),
        "auroc": roc_auc_score(wrong, found.evidence.score) if wrong.any() else np.nan,
        "loss": min(losses.values()) if losses else np.nan,
        "jury": "jury" in str(found.facts.get("judges")),
        "unjudged": bool(found.facts.get("unjudged")),
        "cpu_seconds": seconds,
    }


def power_possible(part: pd.DataFrame) -> float:
    """Share of the wrong labels that truth would allow to be flagged, over the runs that have counted them."""
    known = part[part.possible.notna()] if "possible" in part else part[:0]
    return float(known.possible.sum() / known.wrong.sum()) if known.wrong.sum() else np.nan


def calibration(folder: Path, draws: int = 300) -> None:
    """Judged runs whose calibration error is above CALIBRATED, again: what is chance, and to which side the rest goes.

    ``floor`` and ``floor_95``: mean and 95 % quantile of the error that the same suspicions would have if each were
    exactly the probability of its row.  ``bias``: mean suspicion minus the share of wrong labels, of which ``bias_low``
    comes from suspicions below a tenth.
    """
    table = pd.read_csv(folder / "audit_promise_runs.csv")
    held: dict[str, object] = {}
    lines = []
    for each in table[(table.calibration_error > CALIBRATED) & ~table.unjudged].itertuples():
        name = str(each.set)
        if name in PICTURES and not (FEATURES / f"{PICTURES[name]}.npz").is_file():
            print(f"{name}: no features; run python benchmarks/jury.py features", file=sys.stderr)
            continue
        samples, views, labels, right = draw(name, each.noise, each.seed, held)
        found = detect(samples, views, Settings(seed=each.seed % 2**31), Store(None), lambda share: None)
        suspicion, wrong = found.evidence.wrong, labels != right
        rng = generator(each.seed, "audit calibration")
        chance = [calibration_error(suspicion, rng.random(len(wrong)) < suspicion) for _ in range(draws)]
        lines.append(
            {
                "set": name,
                "noise": each.noise,
                "seed": each.seed,
                "rows": len(wrong),
                "calibration_error": calibration_error(suspicion, wrong),
                "floor": np.mean(chance),
                "floor_95": np.quantile(chance, 0.95),
                "bias": float((suspicion - wrong).mean()),
                "bias_low": float(((suspicion - wrong) * (suspicion < 1 / BINS)).mean()),
            }
        )
    pd.DataFrame(lines).round(4).to_csv(TABLES / "audit_calibration.csv", index=False)


def moved(seeds: list[int]) -> None:
    """The calibration error of suspicions as they are, and with their log odds moved until they sum to the number."""
    from scipy.optimize import brentq
    from scipy.special import expit, logit

    held: dict[str, object] = {}
    lines = []
    for name in ("Adult", "covtype"):
        for seed in seeds:
            for percent in (5, 20, 40):
                samples, views, labels, right = draw(name, percent, seed, held)
                found = detect(samples, views, Settings(seed=seed % 2**31), Store(None), lambda share: None)
                if not (number := found.facts.get("number")):
                    continue
                wrong = labels != right
                odds = logit(np.clip(found.evidence.wrong, 1e-12, 1 - 1e-12))
                step = brentq(
                    lambda x, odds=odds, number=number: expit(odds + x).sum() - number["estimate"], -60, 60
                )
                lines.append(
                    {
                        "set": name,
                        "noise": percent,
                        "seed": seed,
                        "wrong": int(wrong.sum()),
                        "number": number["estimate"],
                        "suspicions": found.evidence.wrong.sum(),
                        "calibration_error": calibration_error(found.evidence.wrong, wrong),
                        "moved": calibration_error(expit(odds + step), wrong),
                    }
                )
    pd.DataFrame(lines).round(4).to_csv(TABLES / "audit_moved.csv", index=False)


def noise(seeds: list[int]) -> None:
    """The calibration error of either noise model: errors follow no classes, or pairs of them; which the jury chose.

    ``gain``: what the second model adds to the log likelihood of the observed labels, weights and bias fitted for each;
    ``limit``: what it adds by chance in one of twenty cases, half the 95 % point of χ² with K (K − 1) − 1 degrees of
    freedom.  All of the jury's first verdict, before its refit.
    """
    from unittest import mock

    from scipy.special import expit
    from scipy.stats import chi2

    from glitchtrace.detectors.jury import judge
    from glitchtrace.detectors.jury.noise import STRENGTHS, UNIFORM
    from glitchtrace.detectors.jury.pool import fit_pool, loss_at_rate

    held: dict[str, object] = {}
    lines = []
    for name in ("Fashion-MNIST", "CIFAR-10N", "covtype"):
        for percent in (20, 40):
            for seed in seeds:
                samples, views, labels, right = draw(name, percent, seed, held)
                with mock.patch.object(judge, "mixed_number", side_effect=judge.mixed_number) as seen:
                    detect(samples, views, Settings(seed=seed % 2**31), Store(None), lambda share: None)
                pool, _, _, _, ballots, observed, n = seen.call_args.args
                found = [fit_pool(ballots, observed, n, strengths=each) for each in (UNIFORM, STRENGTHS[2])]
                losses = [loss_at_rate(each, ballots, observed, n, None)[0] for each in found]
                suspicion = [expit(each.log_odds(ballots, observed)) for each in found]
                cells = ballots.classes * (ballots.classes - 1)
                lines.append(
                    {
                        "set": name,
                        "noise": percent,
                        "seed": seed,
                        "chosen": "no classes" if pool.uniform else "pairs of classes",
                        "gain": n * (losses[0] - losses[1]),
                        "limit": chi2.ppf(0.95, cells - 1) / 2,
                        "sum": suspicion[0].sum(),
                        "sum_pairs": suspicion[1].sum(),
                        "wrong": int((labels != right).sum()),
                        "error": calibration_error(suspicion[0], labels != right),
                        "error_pairs": calibration_error(suspicion[1], labels != right),
                    }
                )
    pd.DataFrame(lines).round(4).to_csv(TABLES / "audit_noise.csv", index=False)


def summarised(table: pd.DataFrame) -> pd.DataFrame:
    """One line per set and noise, and one per set over all noises (noise "all")."""
    lines = []
    for name in SETS:
        for noise in (*NOISE, "all"):
            part = table[(table["set"] == name) & ((table.noise == noise) | (noise == "all"))]
            if not len(part):
                continue
            told = part[~part.unjudged]
            covered = (told.low.round() <= told.wrong) & (told.wrong <= told.high.round())
            lines.append(
                {
                    "set": name,
                    "noise": noise,
                    "runs": len(part),
                    "kept": part.kept.mean(),
                    "flags_nothing": (part.flagged == 0).mean(),
                    "false_share": part.false.sum() / max(part.flagged.sum(), 1),
                    "power": part.found.sum() / part.wrong.sum() if part.wrong.sum() else np.nan,
                    "power_possible": power_possible(part),
                    "covers": covered.mean() if len(told) else np.nan,
                    "number_over_truth": told.number.sum() / told.wrong.sum() if told.wrong.sum() else np.nan,
                    "calibration_error": told.calibration_error.mean(),
                    "auroc": told.auroc.mean(),
                    "unjudged": part.unjudged.mean(),
                    "cpu_seconds": part.cpu_seconds.mean(),
                }
            )
    return pd.DataFrame(lines).round(4)


def runs(first: int, count: int, folder: Path, sets: tuple[str, ...] = SETS) -> None:
    """All noises of the sets, seed by seed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "audit_promise_runs.csv"
    held: dict[str, object] = {}
    made = set()
    if path.is_file():
        table = pd.read_csv(path)
        made = set(zip(table["set"], table.noise, table.seed, strict=True))
    for seed in range(first, first + count):
        for name in sets:
            for percent in NOISE:
                if (name, percent, seed) in made:
                    continue
                record = run(name, percent, seed, held)
                row = pd.DataFrame(
                    [{key: round(v, 4) if isinstance(v, float) else v for key, v in record.items()}]
                )
                row.to_csv(path, mode="a", header=not path.is_file(), index=False)


def join(folders: list[Path]) -> None:
    """Runs of all folders, each once, beside those that stand in docs/tables."""
    paths = [folder / "audit_promise_runs.csv" for folder in (TABLES, *folders)]
    frames = [pd.read_csv(path) for path in paths if path.is_file()]
    # In the order in which ``runs`` adds columns: the last has the newest.
    table = pd.concat(frames)[list(frames[-1].columns)]
    table["order"] = table["set"].map(SETS.index)
    table = table.drop_duplicates(["set", "noise", "seed"], keep="last").sort_values(
        ["seed", "order", "noise"]
    )
    table.drop(columns="order").to_csv(TABLES / "audit_promise_runs.csv", index=False)


def page() -> None:
    """Put the tables into the page, between their marks."""
    from tabulate import tabulate

    def share(value: float) -> str:
        return "–" if pd.isna(value) else f"{100 * value:.0f} %"

    table = summarised(pd.read_csv(TABLES / "audit_promise_runs.csv"))
    table.to_csv(TABLES / "audit_promise.csv", index=False)
    table = pd.read_csv(TABLES / "audit_promise.csv")
    promise = [
        {
            "set": row.set,
            "wrong": f"{row.noise} %" if row.noise != "all" else "all",
            "runs": row.runs,
            "kept": f"{round(row.kept * row.runs)}",
            "found": share(row.power),
            "most that truth allows": share(row.power_possible),
            "false among flags": share(row.false_share),
            "interval covers": share(row.covers),
            "calibration error": "–" if pd.isna(row.calibration_error) else f"{row.calibration_error:.3f}",
            "not judged": share(row.unjudged),
        }
        for row in table.itertuples()
    ]
    blocks = {"promise": promise}
    if (TABLES / "audit_human.csv").is_file():
        human = pd.read_csv(TABLES / "audit_human.csv")
        blocks["human"] = [
            {
                "set": row.set,
                "given": row.given,
                "wrong of rows": f"{row.wrong:,} of {row.rows:,}",
                "method": row.method,
                "AUROC": f"{row.auroc:.3f}",
                "average precision": f"{row.average_precision:.3f}",
            }
            for row in human.itertuples()
        ]
    text = PAGE.read_text()
    for name, rows in blocks.items():
        before, rest = text.split(f"<!-- {name} -->\n")
        after = rest.split("<!-- end -->", 1)[1]
        made = tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True)
        text = f"{before}<!-- {name} -->\n{made}\n<!-- end -->{after}"
    PAGE.write_text(text)


if __name__ == "__main__":
    if sys.argv[1] == "runs":
        if unknown := set(sys.argv[5:]) - set(SETS):
            sys.exit(f"{min(unknown)} is no set; known: {', '.join(SETS)}")
        place = Path(sys.argv[4]) if len(sys.argv) > 4 else TABLES
        runs(int(sys.argv[2]), int(sys.argv[3]), place, tuple(sys.argv[5:]) or SETS)
    elif sys.argv[1] == "join":
        join([Path(folder) for folder in sys.argv[2:]])
    elif sys.argv[1] == "calibration":
        calibration(Path(sys.argv[2]) if len(sys.argv) > 2 else TABLES)
    elif sys.argv[1] == "moved":
        moved([int(seed) for seed in sys.argv[2:]])
    elif sys.argv[1] == "noise":
        noise([int(seed) for seed in sys.argv[2:]])
    else:
        page()

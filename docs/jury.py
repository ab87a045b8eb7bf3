"""Write the numbers and the figure of docs/jury.md from docs/tables/jury_*.csv: ``python docs/jury.py``.

The tables are those of ``benchmarks/jury.py``, each part of which says what makes it, and the values of every seed of
``config/studies/jury.yaml``, which are taken from its results where it has been run.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from pages import FOLDER, by_seed, result, seed_columns, table

from glitchtrace.core.files import replace_section
from glitchtrace.reporting import style
from glitchtrace.reporting.style import human_glitch, human_name, of_influence
from glitchtrace.reporting.tables import markdown_table, write_csv

PAGE = "docs/jury.md"
PICTURE = Path("docs/jury-promise.png")
PARTS = ("labels", "promise", "prior", "unusual", "wider", "limits", "grid")
ALONE, BOTH, SPOILED = "training", "validated", "validated, 20 % wrong"
HUMAN = ("aggregate", "random1", "random2", "random3", "worst")
SMALL, BILINEAR, LARGE = "cifar10", "cifar10_bilinear", "cifar10_lite2"
NAMES = {
    SMALL: "CIFAR-10",
    BILINEAR: "CIFAR-10, bilinear",
    LARGE: "CIFAR-10, Lite2",
    "cifar10_unseen": "CIFAR-10, unseen",
    "fmnist": "Fashion-MNIST",
    "mnist": "MNIST",
    "adult": "Adult",
    "jannis": "Jannis",
}
# F1 that is aimed at on the labels that people gave, in the order of HUMAN.
SMALL_AIMS = {BOTH: (0.69, 0.80, 0.80, 0.79, 0.885), ALONE: (0.665, 0.785, 0.78, 0.77, 0.86)}
AIMS = {
    **{(data, way): aims for data in (SMALL, BILINEAR) for way, aims in SMALL_AIMS.items()},
    (LARGE, BOTH): (0.75, 0.83, 0.84, 0.84, 0.91),
}
UNUSUAL_AIMS = {
    "far": {"mnist": 0.99, SMALL: 0.99, "fmnist": 0.99},
    "stripe": {"mnist": 0.98, SMALL: 0.95, "fmnist": 0.80},
    "brightness": {"mnist": 0.99, SMALL: 0.60, "fmnist": 0.99},
}
# The detectors of the grid, as columns.
JURIES = {"jury": "jury, training rows alone", "jury_validated": "jury, validated"}
TIE, ROOM, SPOILED_COST, REFIT_COST = 0.005, 0.8, 0.03, 0.01
WIDER_CELLS = 44
KINDS = {"clean": "clean", "uniform": "uniform", "next": "next class", "human": "human"}
Tables = dict[str, pd.DataFrame]


def main() -> None:
    """Take what the study has made, draw, and fill every section of the page."""
    if (summary := result("jury", "summary.parquet")) is not None:
        write_csv(by_seed(summary, "f1"), FOLDER / "jury_grid.csv")
    tables = read()
    style.save(draw(tables["promise"]), [PICTURE])
    for section, text in sections(tables).items():
        replace_section(PAGE, section, text)


def read() -> Tables:
    """The committed tables by part."""
    found = {part: table(f"jury_{part}") for part in PARTS}
    tables = {part: frame for part, frame in found.items() if frame is not None}
    # The plain scores have seen training rows alone: one line of each draw has them.
    labels = tables["labels"]
    plain = labels[labels["rows"] == ALONE].set_index(["data", "kind", "seed"])[["best_rival", "rival_f1"]]
    tables["labels"] = labels.drop(columns=plain.columns).join(plain, on=["data", "kind", "seed"])
    return tables


def sections(tables: Tables) -> dict[str, str]:
    """The text of every section; a part without a table is named as not measured."""
    made: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]] = {
        "labels": ("labels", by_cell),
        "ablation": ("labels", ablation),
        "promise": ("promise", by_run),
        "power": ("promise", power),
        "number": ("promise", numbers),
        "calibration": ("promise", calibration),
        "prior": ("prior", prior),
        "unusual": ("unusual", unusual),
        "wider": ("wider", wider),
        "limits": ("limits", limits),
        "grid": ("grid", in_the_grid),
    }
    aims = {
        "labels": label_goals,
        "promise": promise_goals,
        "unusual": unusual_goals,
        "wider": wider_goals,
        "limits": cost_goals,
    }
    rows = [row for part, lines in aims.items() if part in tables for row in lines(tables[part])]
    missing = {part: f"*Not measured: `python benchmarks/jury.py {part}`.*" for part in PARTS}
    missing["grid"] = "*Not measured: `snakemake --configfile config/studies/jury.yaml`.*"
    found = {
        section: markdown_table(make(tables[part])) if part in tables else missing[part]
        for section, (part, make) in made.items()
    }
    return {"goals": markdown_table(pd.DataFrame(rows)), **found}


def goal(what: str, aimed: str, seen: str, draws: int, met: bool) -> dict[str, str]:
    """A line of the table of aims."""
    return {
        "what": what,
        "aimed at": aimed,
        "seen": seen,
        "draws": str(draws),
        "": "met" if met else "**missed**",
    }


def name(data: str) -> str:
    """What a reader sees of a set of data."""
    return NAMES.get(data, data)


# Wrong labels


def means(labels: pd.DataFrame, way: str) -> pd.DataFrame:
    """Mean of every number per set and kind of errors, by (data, kind)."""
    part = labels[labels["rows"] == way]
    return part.groupby(["data", "kind"], sort=False).mean(numeric_only=True)


def room(labels: pd.DataFrame, data: str, way: str) -> float:
    """The share of what lies between the best plain score and the ceiling that is used, over labels of people."""
    some = labels[(labels["data"] == data) & labels["kind"].str.startswith("human") & (labels["rows"] == way)]
    return float((some["f1"] - some["rival_f1"]).sum() / (some["ceiling_f1"] - some["rival_f1"]).sum())


def label_goals(labels: pd.DataFrame) -> list[dict[str, str]]:
    """Lines of the table of aims on wrong labels."""
    rows = []
    words = {ALONE: "training rows alone", BOTH: "with validation rows"}
    networks = {
        SMALL: "EfficientNet-Lite0",
        BILINEAR: "EfficientNet-Lite0, pictures enlarged bilinearly",
        LARGE: "EfficientNet-Lite2 at 192 pixels",
    }
    people = labels[labels["kind"].str.startswith("human")]
    for (data, way), aims in AIMS.items():
        part = people[(people["data"] == data) & (people["rows"] == way)]
        found = part.groupby("kind")["f1"].mean()
        seen = [float(found.get(f"human {human}", np.nan)) for human in HUMAN]
        met = all(value >= aim for value, aim in zip(seen, aims, strict=True))
        rows.append(
            goal(
                f"F1 on labels of people, {networks[data]}, {words[way]}",
                " / ".join(f"{aim:g}" for aim in aims),
                " / ".join("–" if np.isnan(value) else f"{value:.3f}" for value in seen),
                len(part),
                met,
            )
        )
    for data in networks:
        used = room(labels, data, BOTH)
        draws = int(((people["data"] == data) & (people["rows"] == BOTH)).sum())
        text = f"room between best plain score and ceiling that is used, {name(data)}, with validation rows"
        rows.append(goal(text, f"{100 * ROOM:.0f} %", f"{100 * used:.0f} %", draws, used >= ROOM))
    small = labels[labels["data"].isin([SMALL, BILINEAR, "fmnist", "mnist"])]
    for way in (ALONE, BOTH):
        part = small[small["rows"] == way]
        wins = part["f1"] >= part["rival_f1"] - TIE
        text = f"best, or within {TIE} of the best plain score of the draw, {words[way]}"
        rows.append(
            goal(text, "90 % of draws", f"{wins.sum()} of {len(wins)}", len(wins), wins.mean() >= 0.9)
        )
    keys = ["data", "kind", "seed"]
    both = small[small["rows"] == BOTH].set_index(keys)["f1"]
    cost = (both - small[small["rows"] == SPOILED].set_index(keys)["f1"]).groupby(["data", "kind"]).mean()
    text = "F1 lost to 20 % wrong validation labels, the cell that loses most (mean)"
    seen = f"{cost.max():.3f}: {name(cost.idxmax()[0])}, {cost.idxmax()[1]} ({cost.mean():.3f})"
    rows.append(goal(text, f"≤ {SPOILED_COST}", seen, len(both), cost.max() <= SPOILED_COST))
    gap = labels["class_number_after_refit"] - labels["class_number"]
    text = "number after the refit less before, the lowest"
    rows.append(goal(text, f"≥ −{REFIT_COST}", f"{gap.min():+.4f}", len(gap), gap.min() >= -REFIT_COST))
    for way in (ALONE, BOTH):
        part = labels[labels["rows"] == way]["cpu_seconds"]
        seen = f"{part.median():.1f} (median; {part.min():.1f} to {part.max():.1f})"
        text = f"CPU seconds, 3,600 rows, {words[way]}, cores shared with other work"
        rows.append(goal(text, "≤ 5", seen, len(part), part.median() <= 5))
    return rows


def by_cell(labels: pd.DataFrame) -> pd.DataFrame:
    """F1 at the known number per set and kind of errors."""
    every = {way: means(labels, way) for way in (ALONE, BOTH, SPOILED)}
    draws = labels[labels["rows"] == BOTH].groupby(["data", "kind"]).size()
    rivals = labels[labels["rows"] == BOTH].groupby(["data", "kind"])["best_rival"]
    rows = []
    for key in every[BOTH].index:
        if not all(key in found.index for found in every.values()):
            continue  # a draw that was stopped half way
        data, kind = key
        rows.append(
            {
                "data": name(data),
                "errors": kind,
                "draws": draws[key],
                "wrong": f"{every[BOTH].loc[key, 'wrong']:.3f}",
                "best plain score": f"{every[BOTH].loc[key, 'rival_f1']:.3f} ({rivals.get_group(key).mode()[0]})",
                "training rows alone": f"{every[ALONE].loc[key, 'f1']:.3f}",
                "validated": f"**{every[BOTH].loc[key, 'f1']:.3f}**",
                "20 % of validation labels wrong": f"{every[SPOILED].loc[key, 'f1']:.3f}",
                "ceiling": f"{every[BOTH].loc[key, 'ceiling_f1']:.3f}",
                "number, alone": f"{every[ALONE].loc[key, 'number']:.3f}",
                "number, validated": f"{every[BOTH].loc[key, 'number']:.3f}",
            }
        )
    return pd.DataFrame(rows)


def ablation(labels: pd.DataFrame) -> pd.DataFrame:
    """Mean F1 by what is left out, over labels of people and over the others."""
    groups = {
        "people, CIFAR-10": (labels["data"] == SMALL) & labels["kind"].str.startswith("human"),
        "people, CIFAR-10, bilinear": (labels["data"] == BILINEAR) & labels["kind"].str.startswith("human"),
        "people, CIFAR-10, Lite2": labels["data"] == LARGE,
        "uniform": labels["kind"].str.startswith("uniform"),
        "next class": labels["kind"].str.startswith("next"),
        "one class": labels["kind"].str.startswith("one"),
    }
    rows = []
    for group, some in groups.items():
        found = {way: labels[some & (labels["rows"] == way)] for way in (ALONE, BOTH, SPOILED)}
        rows.append(
            {
                "errors": group,
                "best plain score": f"{found[ALONE]['rival_f1'].mean():.3f}",
                "alone, before the refit": f"{found[ALONE]['f1_before_refit'].mean():.3f}",
                "alone": f"{found[ALONE]['f1'].mean():.3f}",
                "validated, before the refit": f"{found[BOTH]['f1_before_refit'].mean():.3f}",
                "validated": f"{found[BOTH]['f1'].mean():.3f}",
                "20 % of validation labels wrong": f"{found[SPOILED]['f1'].mean():.3f}",
                "their share as estimated": f"{found[SPOILED]['validation_flip'].mean():.3f}",
                "ceiling": f"{found[BOTH]['ceiling_f1'].mean():.3f}",
            }
        )
    return pd.DataFrame(rows)


# Promise and number


def promise_kind(runs: pd.DataFrame) -> pd.Series:
    """The kind of errors of each run, without its share."""
    return runs["kind"].str.split().str[0].map(KINDS)


def kept(runs: pd.DataFrame) -> pd.Series:
    """Whether at most a tenth of the flags of each run is false; a run without flags keeps it."""
    return runs["false"] <= 0.1 * runs["flagged"] + 1e-9


def covered(runs: pd.DataFrame) -> pd.Series:
    """Whether the interval holds the share of wrong labels, to half a row of 1,000."""
    return (runs["low"] - 0.0005 <= runs["wrong"]) & (runs["wrong"] <= runs["high"] + 0.0005)


def promise_goals(runs: pd.DataFrame) -> list[dict[str, str]]:
    """Lines of the table of aims on the promise and the number."""
    kinds = promise_kind(runs)
    rows = []
    words = {ALONE: "training rows alone", BOTH: "with validation rows"}
    for kind in KINDS.values():
        for way in (ALONE, BOTH):
            part = runs[(kinds == kind) & (runs["rows"] == way)]
            if not len(part):
                continue
            if kind == "clean":
                held, aimed, text = part["flagged"] == 0, 0.98, f"clean data, nothing flagged, {words[way]}"
            elif kind == "next class" and way == ALONE:
                continue
            else:
                held, aimed = kept(part), 0.95
                text = f"at most 10 % false, {kind} errors, {words[way]}"
            seen = f"{held.sum()} of {len(held)}"
            rows.append(goal(text, f"{100 * aimed:.0f} % of runs", seen, len(held), held.mean() >= aimed))
    for kind in ("uniform", "next class", "human"):
        part = covered(runs[(kinds == kind) & (runs["rows"] == BOTH)])
        if not len(part):
            continue
        text = f"95 % interval of the number covers, {kind} errors, with validation rows"
        rows.append(goal(text, "90 % of runs", f"{part.sum()} of {len(part)}", len(part), part.mean() >= 0.9))
    return rows


def by_run(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs by set, kind of errors and way."""
    rows = []
    for (data, kind, way), part in runs.groupby(["data", "kind", "rows"], sort=False):
        rows.append(
            {
                "data": name(data),
                "labels": kind,
                "rows": way,
                "runs": len(part),
                "flagged": f"{part['flagged'].mean():.0f}",
                "false": f"{part['false'].mean():.1f}",
                "kept": int(kept(part).sum()),
                "interval covers": int(covered(part).sum()),
            }
        )
    return pd.DataFrame(rows)


def power(runs: pd.DataFrame) -> pd.DataFrame:
    """Share of the wrong labels that is flagged, beside the most that truth would allow; sets by kinds of errors."""
    rows = []
    for data, part in runs[runs["kind"] != "clean"].groupby("data", sort=False):
        for way in (ALONE, BOTH):
            some = part[part["rows"] == way].groupby("kind", sort=False)
            found = some[["power", "power_possible", "power_ceiling"]].mean()
            row = {"data": name(data), "rows": way}
            for kind, values in found.iterrows():
                row[kind] = " / ".join(f"{value:.2f}" for value in values)
            rows.append(row)
    return pd.DataFrame(rows).fillna("–")


def prior(runs: pd.DataFrame) -> pd.DataFrame:
    """What the prior on the sum of the weights changes: promises kept, and the share of wrong labels flagged."""
    rows = []
    for (data, kind, way), part in runs.groupby(["data", "kind", "rows"], sort=False):
        row = {"data": name(data), "labels": kind, "rows": way, "runs": len(part)}
        for key in ("without", "with"):
            flagged, false = part[f"flagged_{key}"], part[f"false_{key}"]
            found = "–" if kind == "clean" else f"{((flagged - false) / part['wrong']).mean():.2f}"
            row[f"kept {key}"] = int((false <= 0.1 * flagged + 1e-9).sum())
            row[f"found {key}"] = found
            row[f"sum of weights {key}"] = f"{part[f'weights_{key}'].median():.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def numbers(runs: pd.DataFrame) -> pd.DataFrame:
    """The number against truth by kind of errors and way."""
    rows = []
    kinds = promise_kind(runs)
    for kind in KINDS.values():
        for way in (ALONE, BOTH):
            part = runs[(kinds == kind) & (runs["rows"] == way)]
            if not len(part):
                continue
            gap = part["number"] - part["wrong"]
            rows.append(
                {
                    "errors": kind,
                    "rows": way,
                    "runs": len(part),
                    "mean of number less truth": f"{gap.mean():+.4f}",
                    "mean distance": f"{gap.abs().mean():.4f}",
                    "interval covers": f"{covered(part).sum()} ({100 * covered(part).mean():.0f} %)",
                    "mean width": f"{(part['high'] - part['low']).mean():.3f}",
                    "misses by classes alone": int(
                        (
                            (part["class_low"] - 0.0005 > part["wrong"])
                            | (part["wrong"] > part["class_high"] + 0.0005)
                        ).sum()
                    ),
                }
            )
    return pd.DataFrame(rows)


def bins(runs: pd.DataFrame) -> pd.DataFrame:
    """Rows, mean probability and share of wrong labels in ten bins of the probability, over all runs."""
    counted = np.zeros((10, 3))
    for text in runs["calibration"]:
        counted += [[float(part) for part in one.split(":")] for one in text.split()]
    rows, total, wrong = counted.T
    found = pd.DataFrame({"rows": rows, "probability": total, "wrong": wrong})[rows > 0]
    return found.assign(
        probability=found["probability"] / found["rows"], wrong=found["wrong"] / found["rows"]
    )


def calibration_error(runs: pd.DataFrame) -> float:
    """Expected calibration error over ten bins."""
    found = bins(runs)
    return float((found["rows"] * (found["probability"] - found["wrong"]).abs()).sum() / found["rows"].sum())


def calibration(runs: pd.DataFrame) -> pd.DataFrame:
    """The calibration error by kind of errors, pooled over sets and runs."""
    kinds = promise_kind(runs)
    rows = []
    for kind in KINDS.values():
        if not (kinds == kind).any():
            continue
        row = {"errors": kind}
        for way in (ALONE, BOTH):
            part = runs[(kinds == kind) & (runs["rows"] == way)]
            row[way] = f"{calibration_error(part):.4f}"
            row[f"{way}, mean of runs"] = (
                f"{np.mean([calibration_error(part.loc[[run]]) for run in part.index]):.4f}"
            )
        rows.append(row)
    return pd.DataFrame(rows)


# In the grid


def in_the_grid(wide: pd.DataFrame) -> pd.DataFrame:
    """F1 of the jury beside the best rival of each cell of its study, mean over seeds."""
    seeds = seed_columns(wide)
    rows = []
    for key, part in wide.groupby(["dataset", "model", "glitch", "ratio"], sort=False):
        dataset, model, glitch, ratio = map(str, key)
        part = part.set_index("signal")[seeds].dropna(axis=1, how="all")
        means = part.mean(axis=1)
        if means.isna().all():
            continue  # nothing is planted there
        rivals = means.drop(index=list(JURIES))
        influence = rivals[[of_influence(signal) for signal in rivals.index]]
        best, first = rivals.idxmax(), influence.idxmax()
        rows.append(
            {
                "data": human_name("dataset", dataset),
                "network": human_name("model", model),
                "errors": human_glitch(glitch, ratio),
                "seeds": part.shape[1],
                **{head: f"{means[signal]:.3f}" for signal, head in JURIES.items()},
                "best rival": f"{rivals[best]:.3f} ({human_name('detector', str(best))})",
                "best influence signal": f"{influence[first]:.3f} ({human_name('detector', str(first))})",
            }
        )
    return pd.DataFrame(rows)


# Foreign rows, all kinds, cost


def unusual_goals(runs: pd.DataFrame) -> list[dict[str, str]]:
    """Lines of the table of aims on foreign and corrupted rows."""
    rows = []
    for kind, aims in UNUSUAL_AIMS.items():
        part = runs[runs["kind"] == kind].groupby("data")["f1"]
        found = part.mean()
        rows.append(
            goal(
                f"F1 of {kind}, {' / '.join(name(data) for data in aims)}",
                " / ".join(f"{aim:g}" for aim in aims.values()),
                " / ".join(f"{found[data]:.3f}" if data in found else "–" for data in aims),
                int(part.size().sum()),
                all(found.get(data, 0.0) >= aim for data, aim in aims.items()),
            )
        )
    none = runs[runs["kind"] == "none"]
    closed = int((~none["open"]).sum())
    text = "gate closed where nothing is foreign"
    rows.append(goal(text, "49 of 50", f"{closed} of {len(none)}", len(none), closed >= 0.98 * len(none)))
    return rows


def unusual(runs: pd.DataFrame) -> pd.DataFrame:
    """Foreign and corrupted rows by set and kind."""
    rows = []
    for (data, kind), part in runs.groupby(["data", "kind"], sort=False):
        shown = kind != "none"
        rows.append(
            {
                "data": name(data),
                "rows": kind,
                "draws": len(part),
                "gate (lowest to highest)": f"{part['gate'].min():.1f} to {part['gate'].max():.1f}",
                "gate open": int(part["open"].sum()),
                "F1, validated": f"{part['f1'].mean():.3f}" if shown else "–",
                "F1, training rows alone": f"{part['f1_axes_without_validation'].mean():.3f}"
                if shown
                else "–",
                "F1, fitted on the marks": f"{part['f1_marks'].mean():.3f}" if shown else "–",
                "judged foreign": f"{part['judged_foreign'].mean():.0f}",
                "of these false": f"{part['false'].mean():.1f}",
            }
        )
    return pd.DataFrame(rows)


def wider_goals(runs: pd.DataFrame) -> list[dict[str, str]]:
    """Lines of the table of aims on all kinds of glitches."""
    cells = runs.groupby(["data", "kind"])[["f1", "auroc"]].mean()
    text = f"{len(cells)} of {WIDER_CELLS} cells of all kinds, mean"
    whole = len(cells) == WIDER_CELLS
    return [
        goal(
            f"{text} F1",
            "≥ 0.88",
            f"{cells['f1'].mean():.3f}",
            len(runs),
            whole and cells["f1"].mean() >= 0.88,
        ),
        goal(
            f"{text} AUROC",
            "≥ 0.98",
            f"{cells['auroc'].mean():.4f}",
            len(runs),
            whole and cells["auroc"].mean() >= 0.98,
        ),
    ]


def wider(runs: pd.DataFrame) -> pd.DataFrame:
    """F1 (AUROC) by kind of glitch and set."""
    found = runs.groupby(["kind", "data"], sort=False)[["f1", "auroc"]].mean()
    datasets = list(dict.fromkeys(runs["data"]))
    rows = []
    for kind in dict.fromkeys(runs["kind"]):
        row = {"glitch": kind}
        for data in datasets:
            known = (kind, data) in found.index
            row[name(data)] = (
                f"{found.loc[(kind, data), 'f1']:.3f} ({found.loc[(kind, data), 'auroc']:.3f})"
                if known
                else "–"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def cost_goals(runs: pd.DataFrame) -> list[dict[str, str]]:
    """The line of the table of aims on the cost of many rows."""
    large = runs[(runs["rows"] == 60_000) & (runs["columns"] == 128) & (runs["classes"] == 10)]
    seconds, peak = large["cpu_seconds"].median(), large["peak_mb"].max()
    text = "CPU seconds and memory, 60,000 rows × 128 columns"
    met = seconds <= 180 and peak <= 2048
    return [goal(text, "≤ 3 min on 2 cores, ≤ 2 GB", f"{seconds:.0f} s, {peak:.0f} MB", len(large), met)]


def limits(runs: pd.DataFrame) -> pd.DataFrame:
    """Cost by size."""
    shown = runs.assign(
        **{
            "rows": runs["rows"].map("{:,}".format),
            "interval": [
                f"{low:.3f} to {high:.3f}" for low, high in zip(runs["low"], runs["high"], strict=True)
            ],
        }
    )
    return shown[
        [
            "rows",
            "columns",
            "classes",
            "cpu_seconds",
            "peak_mb",
            "f1",
            "number",
            "interval",
            "flagged",
            "false",
        ]
    ].rename(columns={"cpu_seconds": "CPU seconds", "peak_mb": "peak MB", "f1": "F1"})


@style.styled()
def draw(runs: pd.DataFrame) -> object:
    """Calibration of the probability, number against truth, and found against possible, with validation and without."""
    figure = style.new_figure(style.PAGE, 2.7)
    curve, count, found = figure.subplots(1, 3)
    kinds = promise_kind(runs)
    colours = {"clean": style.INK, "uniform": "#2F5F9E", "next class": "#D55E00", "human": "#009E73"}
    marks = {"clean": "x", "uniform": "o", "next class": "s", "human": "^"}
    for kind, colour in colours.items():
        part = runs[(kinds == kind) & (runs["rows"] == BOTH)]
        if kind != "clean":
            told = bins(part)
            told = told[told["rows"] >= 20]
            curve.plot(
                told["probability"], told["wrong"], marker=marks[kind], color=colour, markersize=3, label=kind
            )
        cells = part.groupby(["data", "kind"])[["wrong", "number", "power", "power_possible"]].mean()
        count.plot(cells["wrong"], cells["number"], marks[kind], color=colour, markersize=3.5, label=kind,
                   fillstyle="none")  # fmt: skip
        if kind != "clean":
            found.plot(cells["power_possible"], cells["power"], marks[kind], color=colour, markersize=3.5,
                       fillstyle="none")  # fmt: skip
    for axis, end in ((curve, 1.0), (count, 0.45), (found, 1.0)):
        axis.plot([0, end], [0, end], color=style.FAINT, linewidth=0.7, zorder=0)
    curve.set_xlabel("probability that the label is wrong")
    curve.set_ylabel("share that is wrong")
    count.set_xlabel("share of wrong labels")
    count.set_ylabel("number, as a share")
    found.set_xlabel("most that truth would allow")
    found.set_ylabel("found under the promise")
    count.legend(fontsize=6.5, loc="upper left")
    return figure


if __name__ == "__main__":
    main()

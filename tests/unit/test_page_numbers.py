"""An auditor's look at the pages: numbers picked at random, each recomputed from the committed tables.

The tables of a page are read as text, a row is found in a committed CSV by its keys, and its value is computed here
from what stands there: no program that writes a page has a part in it, but for the names that readers see.
"""

import csv
import math
import random
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from scipy.stats import t as student

from glitchtrace.core import registry
from glitchtrace.reporting.style import human_glitch, human_name

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?")
Row = dict[str, str]


@dataclass(frozen=True)
class Claim:
    """A number as it is shown, the line where it stands, and what it is by the tables."""

    page: str
    line: str
    shown: str
    computed: float

    @property
    def holds(self) -> bool:
        """Whether the number is the value, rounded to the digits shown."""
        digits = len(self.shown.partition(".")[2])
        return abs(float(self.shown.replace(",", "")) - self.computed) <= 0.5 * 10**-digits + 1e-9


@cache
def table(name: str) -> tuple[Row, ...]:
    """The rows of a committed table."""
    with (ROOT / f"docs/tables/{name}.csv").open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


def rows(
    text: str, section: str, begin: str = "<!-- {}: begin -->", end: str = "<!-- {}: end -->"
) -> Iterator[tuple[str, str, Row]]:
    """Caption (the last bold line), line and cells by heading, of the Markdown tables in a section of a page."""
    part = text.partition(begin.format(section))[2].partition(end.format(section))[0]
    caption, heads = "", []
    for line in part.splitlines():
        if line.startswith("**"):
            caption = line.replace("**", "")
        cells = [cell.strip().replace("**", "") for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            heads = []
        elif not heads:
            heads = cells
        elif not set(line) <= set("|:-"):
            yield caption, line, dict(zip(heads, cells, strict=True))


def claims(page: str, line: str, cell: str, *values: float | None) -> Iterator[Claim]:
    """The first numbers of a cell, beside their values; None for one that is not looked at."""
    for shown, value in zip(NUMBER.findall(cell), values, strict=False):
        if value is not None:
            yield Claim(page, line, shown, value)


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval by Student's t."""
    mean, error = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
    reach = float(student.ppf(0.975, len(values) - 1)) * error
    return mean, mean - reach, mean + reach


def label(detector: str) -> str:
    return str(registry.card("detector", detector)["label"])


# --- a reader per page: every number that it can recompute ------------------------------------------------------------

ESTIMATORS = {"metagradient": "metagradient", "influence_functions": "Koh & Liang", "tracin": "TracIn"}
OTHERS = {"kronfluence": "EK-FAC (kronfluence)", "ekfac": "EK-FAC", "captum_arnoldi": "Arnoldi (captum)"}
OTHERS |= {
    "ekfac_undamped": "EK-FAC, damping 1e-8",
    "tracin_steps": "TracIn per step",
    "tracin_layers": "TracIn, all layers",
}
MODELS = {"linear": "logistic regression", "mlp": "MLP", "linear@epochs_5": "logistic regression, 5 epochs"}


def fidelity(text: str) -> Iterator[Claim]:
    page = "docs/fidelity.md"
    f1: dict[str, dict[str, dict[tuple[str, ...], float]]] = defaultdict(lambda: defaultdict(dict))
    lds: dict[tuple[str, ...], set[tuple[str, str, float]]] = defaultdict(set)
    for row in table("fidelity_detection"):
        cell = (row["dataset"], row["model"], row["noise"], row["seed"])
        f1[label(row["signal"])][row["estimator"]][cell] = float(row["f1"])
        lds[row["dataset"], row["model"], row["estimator"]].add(
            (row["noise"], row["seed"], float(row["lds"]))
        )
    for _, line, shown in rows(text, "detection"):
        found = f1[shown["signal"]]
        truest = found["metagradient"]
        for name, words in ESTIMATORS.items():
            yield from claims(page, line, shown[f"F1, {words}"], statistics.fmean(found[name].values()))
            if name != "metagradient":
                gaps = [truest[cell] - found[name][cell] for cell in truest]
                yield from claims(page, line, shown[f"metagradient less {words}"], *interval(gaps))
    for _, line, shown in rows(text, "best"):
        dataset = shown["data"].lower().replace(" ", "_")
        model = next(name for name, words in MODELS.items() if words == shown["model"])
        for name, words in ESTIMATORS.items():
            value = statistics.fmean(one[2] for one in lds[dataset, model, name])
            yield from claims(page, line, shown[f"LDS, {words}"], value)
            means = [
                statistics.fmean(v for cell, v in of[name].items() if cell[:2] == (dataset, model))
                for of in f1.values()
            ]
            yield from claims(page, line, shown[f"F1, {words}"], max(means))
    names = {words: name for name, words in (ESTIMATORS | OTHERS).items()}
    for _, line, shown in rows(text, "mnist"):
        for row in table("fidelity_mnist"):
            if (MODELS[row["model"]], row["estimator"]) == (shown["model"], names[shown["estimator"]]):
                cell = shown[f"{100 * float(row['removed']):g} %, {row['order']}"]
                yield from claims(page, line, cell, *(float(row[key]) for key in ("lds", "low", "high")))
    measures = {
        "LDS 1 %": ("lds", "0.01", "fixed"),
        "LDS 10 %, varied": ("lds", "0.1", "varied"),
        "LDS 50 %": ("lds", "0.5", "fixed"),
        "leave-one-out, by sample": ("loo_sample", "one", "fixed"),
    }
    of_truth: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in table("fidelity_truth"):
        data = human_name("dataset", row["dataset"].partition("@")[0])
        key = (data, MODELS[row["model"]], row["estimator"], row["measure"], row["removed"], row["order"])
        of_truth[key].append(float(row["mean"]))
    for _, line, shown in rows(text, "truth"):
        for head, which in measures.items():
            key = (shown["data"], shown["model"], names[shown["estimator"]], *which)
            yield from claims(page, line, shown[head], statistics.fmean(of_truth[key]))


def comparison(text: str) -> Iterator[Claim]:
    page = "docs/comparison.md"
    means = {}
    for row in table("comparison_seeds"):
        # Seed 0 chooses, as the page says; its values are on no page.
        values = [float(row[key]) for key in row if key.startswith("seed_") and key != "seed_0" and row[key]]
        planted = human_glitch(row["glitch"], row["ratio"])
        key = (human_name("dataset", row["dataset"]), human_name("model", row["model"]), planted)
        means[*key, label(row["signal"])] = statistics.fmean(values)
    for section in ("wrong labels", "others"):
        for caption, line, shown in rows(text, section):
            key = (caption, shown["network"].removesuffix(" †"), shown["planted"])
            for head, cell in list(shown.items())[2:]:
                detector = cell.partition("(")[2].strip(")") or head
                yield from claims(page, line, cell, means[*key, detector])
    costs = {
        (human_name("dataset", row["dataset"]), human_name("model", row["model"]), row["stage"]): float(
            row["mean"]
        )
        for row in table("comparison_cost")
    }
    stages = {"training": "train", "five folds": "cross_fit", "influence": "profile_influence"}
    for _, line, shown in rows(text, "cost"):
        for head, stage in stages.items():
            yield from claims(page, line, shown[head], costs[shown["data"], shown["network"], stage])
    of_people = {}
    for row in table("comparison_people"):
        values = [float(row[key]) for key in row if key.startswith("seed_") and row[key]]
        key = (human_name("dataset", row["dataset"]), human_glitch(row["glitch"], row["ratio"]))
        key = (*key, human_name("model", row["model"]))
        of_people[*key, label(row["signal"]), row["metric"]] = statistics.fmean(values)
    for _, line, shown in rows(text, "people"):
        for head, cell in list(shown.items())[3:]:
            detector = cell.partition("(")[2].strip(")") or head
            key = (shown["data"], shown["labels"], shown["network"].removesuffix(" †"))
            values = [of_people[*key, detector, kind] for kind in ("f1", "auroc")]
            yield from claims(page, line, cell, *values)
    of_cnci = {}
    for row in table("cnci"):
        key = human_name("dataset", row["dataset"]), human_glitch(row["glitch"], row["ratio"])
        if row["estimator"] == "tracin":
            head = label(row["signal"])
        elif row["signal"] == "CNCI":
            head = "CNCI, another label"
        else:
            continue
        of_cnci[*key, head] = statistics.fmean(float(row[f"seed_{seed}"]) for seed in range(5))
    for _, line, shown in rows(text, "cnci"):
        for head, cell in list(shown.items())[2:]:
            yield from claims(page, line, cell, of_cnci[shown["data"], shown["wrong labels"], head])
    counted = {
        (human_glitch(row["glitch"], row["ratio"]), row["metric"]): [
            float(row[f"seed_{n}"]) for n in range(5)
        ]
        for row in table("comparison_counters")
    }
    counters = {human_name("counter", name): name for name in registry.names("counter")}
    for _, line, shown in rows(text, "counters"):
        noise, name = shown["wrong labels"], counters.get(shown["estimator"])
        truth = counted[noise, "count_mislabelled"]
        said = counted[noise, f"number_{name}"] if name else truth
        f1 = counted[noise, f"f1_at_{name}" if name else "f1"]
        yield from claims(page, line, shown["number"], statistics.fmean(said))
        yield from claims(page, line, shown["F1"], statistics.fmean(f1))
        if name:
            low, high = (counted[noise, f"number_{end}_{name}"] for end in ("low", "high"))
            held = sum(a <= t <= b for a, t, b in zip(low, truth, high, strict=True))
            yield from claims(page, line, shown["interval"], statistics.fmean(low), statistics.fmean(high))
            yield from claims(page, line, shown["holds the truth"], held, 5)


def rdia(text: str) -> Iterator[Claim]:
    for section in ("thresholds", "methods", "harmful", "digits", "rdia_ls", "lost"):
        yield from earlier(text, section, "rdia", "docs/rdia.md")
    found = {(row["dataset"], row["name"]): row for row in table("rdia_cancer_methods")}
    for _, line, shown in rows(text, "cancer"):
        row = found["cancer_libsvm@tail" if shown["split"] == "tail" else "cancer_libsvm", shown["method"]]
        for head, ratio in (("0", "clean"), ("20 %", "0.2"), ("50 %", "0.5"), ("80 %", "0.8")):
            values = [row[f"log_loss_at_{ratio}"], row[f"log_loss_std_at_{ratio}"]]
            yield from claims("docs/rdia.md", line, shown[head], *(float(v) if v else None for v in values))


def readme(text: str) -> Iterator[Claim]:
    # The words for a glitch stand in the order of the README's own sentence.
    kinds = {
        "class_dependent": "wrong labels, one class",
        "class_dependent@next": "wrong labels, every class",
    }
    kinds |= {"uniform": "wrong labels, any class", "far_anomalies": "anomalies"}
    plain = {"one_minus_p": "1 − p", "aum": "AUM"}
    found: dict[tuple[str, ...], float] = {}
    for row in table("demo"):
        planted = kinds.get(row["glitch"], "wrong labels and anomalies")
        planted += f", {100 * float(row['ratio']):.0f} %" if row["ratio"] != "native" else ""
        key = (human_name("dataset", row["dataset"]), row["model"], planted)
        found[(*key, row["metric"], plain.get(row["signal"].lower(), row["signal"]))] = float(
            row["mean"] or "nan"
        )
    for section in ("detection", "repair"):
        for _, line, shown in rows(text, section):
            key = (shown["data"], shown["model"], shown["what is planted"])
            for head, cell in list(shown.items())[3:]:
                if section == "detection":
                    value = found.get((*key, "f1", head))
                elif head.startswith("loss"):
                    value = found.get((*key, "loss_change_influence", ""))
                else:
                    value = found.get((*key, f"accuracy_change_{head}", ""))
                    value = None if value is None else 100 * value
                yield from claims("README.md", line, cell, value)


KINDS = {"uniform noise": "uniform", "anomalies": "far_anomalies", "class-based": "class_dependent"}
KINDS |= {"clean samples": "uniform", "mislabelled samples": "uniform", "anomalous samples": "far_anomalies"}


def reproduction(text: str) -> Iterator[Claim]:
    sections = {
        "Validation accuracy with glitches in training": lambda what: "validation_accuracy",
        "Training accuracy by kind of sample, ResNet-20": lambda what: f"training_accuracy_{what.split()[0]}",
    }
    for section, metric in sections.items():
        for line in text.partition(f"## {section}\n")[2].partition("\n## ")[0].splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            linked = re.findall(r"tables/(\w+)\.csv", cells[-1])
            if len(cells) != 7 or not linked:
                continue
            keys = (cells[0], KINDS[cells[2]], "0.1", metric(cells[2]))
            found = {
                tuple(float(row[key] or "nan") for key in ("mean", "std", "n"))
                for row in table(linked[0])
                if tuple(row[key] for key in ("dataset", "glitch", "ratio", "metric")) == keys
                and row["model"].startswith("resnet20")
            }
            (values,) = found
            yield from claims("docs/reproduction.md", line, cells[4], *(v for v in values if v == v))


def earlier(text: str, section: str, stem: str, page: str) -> Iterator[Claim]:
    """The rows that an earlier version measured, beside those that are kept of it."""
    name = f"earlier/{stem}_{section.replace(' ', '_')}"
    if not (ROOT / f"docs/tables/{name}.csv").is_file():  # the study was run since
        return
    kept = table(name)
    for (_, line, shown), row in zip(rows(text, section), kept, strict=True):
        for head, cell in shown.items():
            values = [float(number.replace(",", "")) for number in NUMBER.findall(row[head])]
            yield from claims(page, line, cell, *values)


def cincer(text: str) -> Iterator[Claim]:
    page = "docs/cincer.md"
    for section in (
        "tables",
        "pictures",
        "convnet",
        "signs",
        "precision",
        "influence",
        "thresholds",
        "questions",
        "cost",
    ):
        yield from earlier(text, section, "cincer", page)
    # Sentences: the share of rows of F1 that lie beyond two standard errors from the published ones.
    for section in ("tables", "pictures", "convnet"):
        cells = {
            (row["data"], row["method"], row["source"][:4]): row["F1 at 100"]
            for _, _, row in rows(text, section)
        }
        far = pairs = 0
        for (data, method, source), cell in cells.items():
            if source == "ours" and (data, method, "publ") in cells:
                (mine, error), (theirs, other) = (
                    [float(number) for number in NUMBER.findall(one)]
                    for one in (cell, cells[data, method, "publ"])
                )
                pairs, far = pairs + 1, far + (abs(mine - theirs) > 2 * math.hypot(error, other))
        part = text.partition(f"<!-- {section}: begin -->")[2].partition(f"<!-- {section}: end -->")[0]
        (line,) = (line for line in part.splitlines() if line.startswith("F1 at 100, ours less published"))
        yield from claims(page, line, line.partition("in ")[2], far, pairs)


def cleansing(text: str) -> Iterator[Claim]:
    page = "docs/cleansing.md"
    for section in ("removal", "fewer", "fidelity", "cost"):
        yield from earlier(text, section, "cleansing", page)
    tasks = {
        "Adult": "adult_regions",
        "MNIST 1 / 7": "mnist_1_7",
        "20 Newsgroups PC / Mac": "newsgroups_pc_mac",
    }
    measured = {(row["dataset"], row["model"], row["estimator"]): row for row in table("cleansing_fidelity")}
    methods = {human_name("cleansing_method", method): method for _, _, method in measured}
    for _, line, shown in rows(text, "fidelity"):
        key = (tasks[shown["task"]], shown["network"].replace(" ", "_"), methods[shown["method"]])
        yield from claims(page, line, shown["tau"], *(float(measured[key][name]) for name in ("mean", "std")))
    # Sentences: against each control better, worse and of how many rows.
    for section in ("removal", "fewer"):
        part = text.partition(f"<!-- {section}: begin -->")[2].partition(f"<!-- {section}: end -->")[0]
        for line in part.splitlines():
            if not (match := re.match(r"\* (clean|10 % wrong), (accuracy|loss)", line)):
                continue
            unit = "points" if match[2] == "accuracy" else "loss"
            for control, better, worse, count in re.findall(
                r"against ([\w ]+?) better in (\d+), worse in (\d+) of (\d+)", line
            ):
                bounds = [
                    [float(number) for number in NUMBER.findall(cell)]
                    for _, _, shown in rows(text, section)
                    if shown["labels"] == match[1] and shown["method"].startswith("SGD")
                    for cell in [shown[f"{unit} against {control}"]]
                ]
                up, down = (sum(low > 0 for _, low, _ in bounds), sum(high < 0 for *_, high in bounds))
                for shown_count, value in (
                    (better, up if unit == "points" else down),
                    (worse, down if unit == "points" else up),
                    (count, len(bounds)),
                ):
                    yield Claim(page, line, shown_count, value)


def mnist(text: str) -> Iterator[Claim]:
    page = "docs/mnist.md"
    for section in ("anomalies", "anomalies with the published label rule", "mixed", "repair"):
        yield from earlier(text, section, "mnist", page)
    studies = [row for name in ("mnist", "mnist_anomalies", "mnist_label_rule") for row in table(name)]
    found = {
        (row["glitch"], row["signal"], row["metric"]): [
            float(row[key] or "nan") for key in ("mean", "std", "n")
        ]
        for row in studies
        if row["estimator"] == "tracin"
    }
    for _, line, shown in rows(text, "detection"):
        for glitch, cell in list(shown.items())[1:]:
            if cell == "–":  # a study without this detector
                continue
            (values,) = (
                found[key] for key in found if key[::2] == (glitch, "f1") and label(key[1]) == shown["signal"]
            )
            yield from claims(page, line, cell, *values[:2])
    heads = {"validation accuracy": ("", "validation_accuracy")}
    heads |= {"label repair right (CNCI)": ("CNCI", "label_repair_accuracy")}
    heads |= {
        f"{kind} told right": ("CFRank", f"characterisation_accuracy_{kind}")
        for kind in ("mislabelled", "anomalous")
    }
    names = {human_glitch(row["glitch"], row["ratio"]): row["glitch"] for row in studies}
    for _, line, shown in rows(text, "networks"):
        for head, key in heads.items():
            yield from claims(page, line, shown[head], *found.get((names[shown["glitch"]], *key), ())[:2])
    for section in ("anomalies", "anomalies with the published label rule"):
        gaps = [
            float(shown["PCID"]) - float(shown["1/MPI"])
            for _, _, shown in rows(text, section)
            if shown["seed"] != "mean"
        ]
        part = text.partition(f"<!-- {section}: begin -->")[2].partition(f"<!-- {section}: end -->")[0]
        (line,) = (line for line in part.splitlines() if line.startswith("PCID less 1/MPI"))
        cell = line.partition("factor: ")[2].replace("95 %", "")
        yield from claims(page, line, cell, *interval(gaps))


def audit(text: str) -> Iterator[Claim]:
    page = "docs/audit.md"
    runs: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in table("audit_promise_runs"):
        for noise in (f"{row['noise']} %", "all"):
            runs[row["set"], noise].append(row)
    for _, line, shown in rows(text, "promise", "<!-- {} -->", "<!-- end -->"):
        part = runs[shown["set"], shown["wrong"]]
        wrong, found, flagged, false = (
            sum(int(row[key]) for row in part) for key in ("wrong", "found", "flagged", "false")
        )
        told = [row for row in part if row["unjudged"] == "False"]
        errors = [float(row["calibration_error"]) for row in told]
        yield from claims(page, line, shown["runs"], len(part))
        yield from claims(page, line, shown["kept"], sum(row["kept"] == "True" for row in part))
        yield from claims(page, line, shown["found"], 100 * found / wrong if wrong else None)
        yield from claims(page, line, shown["false among flags"], 100 * false / max(flagged, 1))
        yield from claims(page, line, shown["not judged"], 100 * (1 - len(told) / len(part)))
        if errors:
            yield from claims(page, line, shown["calibration error"], round(statistics.fmean(errors), 4))
    people = {(row["set"], row["given"], row["method"]): row for row in table("audit_human")}
    for _, line, shown in rows(text, "human", "<!-- {} -->", "<!-- end -->"):
        row = people[shown["set"], shown["given"], shown["method"]]
        for head, key in (("AUROC", "auroc"), ("average precision", "average_precision")):
            yield from claims(page, line, shown[head], float(row[key]))
    numeric: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in table("audit_numbers"):
        numeric[row["target"], row["error"]].append(row)
    for _, line, shown in rows(text, "numbers"):
        part = numeric[shown["target"], shown["4 % are"]]
        wrong, flagged, false = (sum(int(row[key]) for row in part) for key in ("wrong", "flagged", "false"))
        yield from claims(page, line, shown["runs"], len(part))
        kept = sum(int(row["false"]) <= 0.1 * int(row["flagged"]) for row in part)
        yield from claims(page, line, shown["kept"], kept)
        yield from claims(page, line, shown["found"], 100 * (flagged - false) / wrong if wrong else None)
        yield from claims(page, line, shown["not judged"], sum(row["judged"] == "False" for row in part))
    counts = {row["kind"]: row for row in table("audit_inputs")}
    for _, line, shown in rows(text, "inputs"):
        for head, key in (("inputs", "trials"), ("refused in one line", "refused"), ("audited", "audited")):
            of = [row for kind, row in counts.items() if shown["Kind"] in (kind, "all")]
            yield from claims(page, line, shown[head], sum(int(row[key]) for row in of))


def datasets(text: str) -> Iterator[Claim]:
    measured = {
        (human_name("dataset", row["dataset"]), human_name("model", row["model"]), float(row["rate"])): row
        for row in table("tabular_rates")
    }
    for _, line, shown in rows(text, "rates"):
        data, _, network = shown["data, network"].partition(", ")
        for rate, cell in list(shown.items())[1:]:
            value = measured[data, network, float(rate)]["accuracy_10"]
            yield from claims("docs/datasets.md", line, cell, float(value) if value else None)


def jury(text: str) -> Iterator[Claim]:
    page = "docs/jury.md"
    short = {
        "CIFAR-10": "cifar10",
        "CIFAR-10, bilinear": "cifar10_bilinear",
        "CIFAR-10, Lite2": "cifar10_lite2",
    }
    short |= {"CIFAR-10, unseen": "cifar10_unseen", "Fashion-MNIST": "fmnist", "MNIST": "mnist"}
    short |= {"Adult": "adult", "Jannis": "jannis"}

    def of(name: str, way: str, shown: Row, kind: str) -> list[Row]:
        data = short.get(shown["data"], shown["data"])
        return [
            row
            for row in table(name)
            if (row["data"], row["kind"], row.get("rows", way)) == (data, kind, way)
        ]

    def mean(part: list[Row], key: str) -> float:
        return statistics.fmean(float(row[key]) for row in part)

    ways = {"training rows alone": "training", "validated": "validated"}
    ways |= {"20 % of validation labels wrong": "validated, 20 % wrong"}
    for _, line, shown in rows(text, "labels"):
        for head, way in ways.items():
            yield from claims(
                page, line, shown[head], mean(of("jury_labels", way, shown, shown["errors"]), "f1")
            )
    for _, line, shown in rows(text, "promise"):
        part = of("jury_promise", shown["rows"], shown, shown["labels"])
        kept = sum(float(row["false"]) <= 0.1 * float(row["flagged"]) for row in part)
        yield from claims(page, line, shown["runs"], len(part))
        yield from claims(page, line, shown["flagged"], mean(part, "flagged"))
        yield from claims(page, line, shown["false"], mean(part, "false"))
        yield from claims(page, line, shown["kept"], kept)
    for _, line, shown in rows(text, "power"):
        for kind, cell in list(shown.items())[2:]:
            if part := of("jury_promise", shown["rows"], shown, kind):
                keys = ("power", "power_possible", "power_ceiling")
                yield from claims(page, line, cell, *(mean(part, key) for key in keys))
    for _, line, shown in rows(text, "unusual"):
        part = of("jury_unusual", "", shown, shown["rows"])
        yield from claims(page, line, shown["judged foreign"], mean(part, "judged_foreign"))
        if shown["rows"] != "none":
            yield from claims(page, line, shown["F1, validated"], mean(part, "f1"))


def performance(text: str) -> Iterator[Claim]:
    page = "docs/performance.md"
    found = {(row["case"], row["subject"]): row for row in table("performance")}
    for _, line, shown in rows(text, "cases"):
        row = found[shown["case"], shown["subject"]]
        for head, keys in (
            ("CPU s", ["CPU s"]),
            ("from – to", ["least", "most"]),
            ("× first", ["times the first"]),
        ):
            if row["CPU s"] and "e" not in shown[head]:
                yield from claims(page, line, shown[head], *(float(row[key]) for key in keys))
    seconds = {
        row["case"]: float(row["CPU s"]) for row in found.values() if row["case"].startswith("curve of")
    }
    for _, line, shown in rows(text, "curves"):
        values = [value.replace(",", "") for value in shown["values"].split(", ")]
        costs = [
            seconds[f"curve of {shown['size']}, {shown['features']} features, {value}"] for value in values
        ]
        slope = statistics.linear_regression(
            [math.log(float(v)) for v in values], [math.log(c) for c in costs]
        ).slope
        yield from claims(page, line, shown["exponent"], slope)


def copied(page: str, section: str, name: str, keys: int) -> Callable[[str], Iterator[Claim]]:
    """A reader of a table that stands on the page as it stands in the file."""

    def read(text: str) -> Iterator[Claim]:
        found = {tuple(list(row.values())[:keys]): row for row in table(name)}
        for _, line, shown in rows(text, section):
            row = found[tuple(list(shown.values())[:keys])]
            for head, cell in list(shown.items())[keys:]:
                yield from claims(page, line, cell, float(row[head]))

    return read


READERS: dict[str, Callable[[str], Iterator[Claim]]] = {
    "README.md": readme,
    "docs/audit.md": audit,
    "docs/cincer.md": cincer,
    "docs/cleansing.md": cleansing,
    "docs/comparison.md": comparison,
    "docs/datasets.md": datasets,
    "docs/faults.md": copied("docs/faults.md", "fuzz", "fuzz", 1),
    "docs/fidelity.md": fidelity,
    "docs/jury.md": jury,
    "docs/mnist.md": mnist,
    "docs/performance.md": performance,
    "docs/rdia.md": rdia,
    "docs/reproduction.md": reproduction,
    "docs/running.md": copied("docs/running.md", "memory", "memory", 7),
}


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_forty_numbers_picked_at_random_are_those_of_the_tables() -> None:
    found = {page: list(reader(read(page))) for page, reader in READERS.items()}
    assert sum(map(len, found.values())) > 3000
    draw = random.Random(19)
    # Some of every page, and the rest of all.
    picked = [claim for part in found.values() for claim in draw.sample(part, 2)]
    picked += draw.sample([claim for part in found.values() for claim in part], 40 - len(picked))
    assert len(picked) == 40
    wrong = [
        f"{claim.page}: {claim.shown}, by the tables {claim.computed}: {claim.line}"
        for claim in picked
        if not claim.holds
    ]
    assert not wrong


@pytest.mark.parametrize("page", READERS)
def test_all_numbers_of_a_page_hold_and_one_that_is_changed_does_not(page: str) -> None:
    text = read(page)
    found = list(READERS[page](text))
    assert len(found) >= 8
    assert not [claim for claim in found if not claim.holds]
    claim = random.Random(7).choice(found)
    last = claim.shown[-1]
    other = claim.shown[:-1] + str((int(last) + 5) % 10)
    line = re.sub(rf"(?<![\w.]){re.escape(claim.shown)}(?![\w.])", other, claim.line)
    assert [claim for claim in READERS[page](text.replace(claim.line, line)) if not claim.holds]

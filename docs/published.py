"""What the two glitch papers and their repository report (specification glitch-detection, section 8), as data.

Numbers are ``Number``; statements without readable values are ``Statement``, each with the check that decides it
from our tables.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reproduction_tables import Found, Tables

RESNET, VIT, CONVNEXT = "resnet20@akamaster", "vit_b16", "convnext_tiny"
MNIST, FMNIST = "mnist@tenth", "fmnist@tenth"
CIFAR = ("cifar10_lossless", "cifar10_jpeg@tenth")
TABLE_SETS = ("covtype_sample@tenth", "jannis_sample@tenth")
TABLE_MODELS = ("tabular_mlp", "tabular_resnet", "ft_transformer")
OURS = {"MNIST": (MNIST,), "F-MNIST": (FMNIST,), "CIFAR-10": CIFAR}
OLD = ("SI", "MI", "AAI", "GD_class")

NO_WEIGHTS = "not reproducible here: the ImageNet weights are not at hand and their hub was out of reach"
LABELS_KEPT = "the published marks include about 10 % samples whose label the published code did not change"


@dataclass(frozen=True)
class Number:
    """One published number and the quantity of ours that stands beside it.

    ``deviation``: as published, None if none was; ``studies``: those that make it; ``missing``: why there is no
    number of ours, where a run would not change that; ``why``: said where the two differ.
    """

    what: str
    published: float
    deviation: float | None
    dataset: str
    model: str
    glitch: str
    ratio: str
    signal: str
    metric: str
    study: str
    missing: str = ""
    why: str = ""
    estimator: str = "tracin"
    # Difference of our values: this glitch minus that one, at its own ratio.
    minus: tuple[str, str] | None = None

    def found(self, tables: Tables) -> Found | None:
        """Our value."""
        keys = (self.dataset, self.model, self.glitch, self.ratio, self.signal, self.metric, self.estimator)
        return tables.value(*keys)


@dataclass(frozen=True)
class Statement:
    """A published statement; ``check`` gives our numbers in words and whether they agree, None where not run."""

    what: str
    where: str
    check: Callable[[Tables], tuple[str, bool] | None]
    study: str
    missing: str = ""


def validation_accuracies() -> list[Number]:
    """Validation accuracy with glitches in training: 9 rows of 3 numbers."""
    glitches = (
        ("uniform", "uniform noise"),
        ("class_dependent", "class-based"),
        ("far_anomalies", "anomalies"),
    )
    published = {
        ("MNIST", RESNET): ((0.94, 0.01), (0.95, 0.01), (0.96, 0.01)),
        ("MNIST", VIT): ((0.83, 0.03), (0.81, 0.03), (0.90, 0.01)),
        ("MNIST", CONVNEXT): ((0.83, 0.01), (0.82, 0.02), (0.87, 0.01)),
        ("F-MNIST", RESNET): ((0.82, 0.01), (0.80, 0.01), (0.82, 0.01)),
        ("F-MNIST", VIT): ((0.81, 0.01), (0.81, 0.01), (0.83, 0.01)),
        ("F-MNIST", CONVNEXT): ((0.81, 0.01), (0.80, 0.01), (0.82, 0.01)),
        ("CIFAR-10", RESNET): ((0.89, 0.01), (0.88, 0.00), (0.90, 0.00)),
        ("CIFAR-10", VIT): ((0.90, 0.01), (0.90, 0.01), (0.91, 0.01)),
        ("CIFAR-10", CONVNEXT): ((0.85, 0.01), (0.85, 0.00), (0.87, 0.00)),
    }
    rows = []
    for (name, model), values in published.items():
        datasets = (
            OURS[name] if model == RESNET else (OURS[name][0],) if name != "CIFAR-10" else ("cifar10@tenth",)
        )
        for dataset in datasets:
            for (glitch, words), (value, deviation) in zip(glitches, values, strict=True):
                rows.append(
                    Number(
                        words,
                        value,
                        deviation,
                        dataset,
                        model,
                        glitch,
                        "0.1",
                        "",
                        "validation_accuracy",
                        _study(dataset, model, glitch),
                        missing="" if model == RESNET else NO_WEIGHTS,
                    )
                )
    return rows


def training_accuracies() -> list[Number]:
    """Training accuracy of ResNet-20 by kind of sample; the published losses are those of a double softmax."""
    published = {"MNIST": (0.97, 0.05, 1.0), "F-MNIST": (0.91, 0.09, 1.0), "CIFAR-10": (0.95, 0.06, 1.0)}
    rows = []
    for name, values in published.items():
        for dataset in OURS[name]:
            for kind, glitch, value in zip(
                ("clean", "mislabelled", "anomalous"),
                ("uniform", "uniform", "far_anomalies"),
                values,
                strict=True,
            ):
                rows.append(
                    Number(
                        f"{kind} samples",
                        value,
                        None,
                        dataset,
                        RESNET,
                        glitch,
                        "0.1",
                        "",
                        f"training_accuracy_{kind}",
                        _study(dataset, RESNET, glitch),
                        why=LABELS_KEPT if kind == "mislabelled" else "",
                    )
                )
    return rows


def changes() -> list[Number]:
    """Change of validation accuracy against clean training; units are not stated, percentage points assumed."""
    published = {"MNIST": (-0.2, -0.006), "F-MNIST": (-0.01, 0.31), "CIFAR-10": (0.0, 0.19)}
    return [
        Number(
            words,
            value,
            None,
            dataset,
            RESNET,
            glitch,
            "0.1",
            "",
            "validation_accuracy",
            f"pictures_clean and {_study(dataset, RESNET, glitch)}",
            why="unit and spread of the published changes are not stated",
            minus=("none", "clean"),
        )
        for name, values in published.items()
        for dataset in OURS[name]
        for (glitch, words), value in zip(
            (("uniform", "uniform noise"), ("far_anomalies", "anomalies")), values, strict=True
        )
    ]


def clustered() -> list[Number]:
    """Accuracy on clustered anomalies: Table 1 of the comparative study, its swapped labels put right."""
    far = [
        (dataset, RESNET, "far_anomalies", 1.0, _study(dataset, RESNET, "far_anomalies"), "")
        for datasets in OURS.values()
        for dataset in datasets
    ]
    near = [
        ("covtype_sample@tenth", "ft_transformer", "near_anomalies", 0.0, "clustered_anomalies", ""),
        ("jannis_sample@tenth", "ft_transformer", "near_anomalies", 0.0, "clustered_anomalies", ""),
        (
            "epsilon@tenth",
            "ft_transformer@compressed",
            "near_anomalies",
            0.005,
            "tables_full",
            "not reproducible here: of Epsilon's 500,000 rows 200 are at hand",
        ),
    ]
    return [
        Number(
            "far" if glitch == "far_anomalies" else "near",
            value,
            None,
            dataset,
            model,
            glitch,
            "0.1",
            "",
            "training_accuracy_anomalous",
            study,
            missing=missing,
        )
        for dataset, model, glitch, value, study, missing in (*far, *near)
    ]


def measured() -> list[Number]:
    """F1 measured with the original code on MNIST, one run each (section 8.1)."""
    one_seed = "one run of the original code with other ResNet-20 weights"
    uniform = {
        "CNCI": 0.928,
        "SI": 0.842,
        "GD_class": 0.705,
        "AAI": 0.642,
        "MPI": 0.586,
        "MI": 0.084,
        "negative_MI": 0.521,
        "NIL": 0.084,
        "SLIN": 0.084,
        "SLIP": 0.076,
    }
    rows = [
        (
            "uniform noise, really changed labels, exact k",
            MNIST,
            "uniform",
            "0.1",
            signal,
            "f1",
            value,
            one_seed,
        )
        for signal, value in uniform.items()
    ]
    rows += [
        ("label repair by CNCI", MNIST, "uniform", "0.1", "CNCI", "label_repair_accuracy", 0.920, one_seed),
        ("validation accuracy, uniform", MNIST, "uniform", "0.1", "", "validation_accuracy", 0.938, one_seed),
    ]
    for glitch, words, accuracy, values in (
        ("class_dependent", "one class", 0.943, (0.538, 0.538, 0.454, 0.437, 0.0)),
        ("class_dependent@all_classes", "all classes", 0.943, (0.858, 0.759, 0.645, 0.820, 0.044)),
    ):
        for signal, value in zip(("CNCI", "GD_class", "AAI", "SI", "MI"), values, strict=True):
            rows.append(
                (f"{words}, published rule", MNIST, glitch, "0.1", signal, "f1_published", value, one_seed)
            )
        rows.append(
            (
                f"validation accuracy, {words}",
                MNIST,
                glitch,
                "0.1",
                "",
                "validation_accuracy",
                accuracy,
                one_seed,
            )
        )
    rule = "far_anomalies@label_equals_class"
    pair = "depends on the pair of foreign class and host label, which was one pair there and is five here"
    for signal, value in {"PCID": 0.693, "inverse_MPI": 0.705}.items():
        rows.append(("far anomalies, exact k", MNIST, rule, "0.1", signal, "f1", value, pair))
    for signal, value in {"SI": 0.013, "AAI": 0.005, "GD_class": 0.006, "MI": 0.0}.items():
        rows.append(
            ("far anomalies, published rule", MNIST, rule, "0.1", signal, "f1_published", value, pair)
        )
    rows.append(("validation accuracy, far", MNIST, rule, "0.1", "", "validation_accuracy", 0.948, one_seed))
    mixed = "mixture@mu_ua_published"
    for signal, value in {"CFRank": 0.860, "CNCI": 0.510, "PCID": 0.490}.items():
        rows.append(("mixture, published rule", MNIST, mixed, "native", signal, "f1_published", value, pair))
    for kind in ("mislabelled", "anomalous"):
        metric = f"characterisation_accuracy_{kind}"
        rows.append((f"mixture, {kind} told right", MNIST, mixed, "native", "CFRank", metric, 1.0, pair))
    rows.append(
        ("validation accuracy, mixture", MNIST, mixed, "native", "", "validation_accuracy", 0.941, one_seed)
    )
    study = {
        "uniform": "mnist",
        "class_dependent": "one_class",
        "class_dependent@all_classes": "all_classes",
        rule: "mnist_label_rule",
        mixed: "mnist_mixed",
    }
    return [
        Number(what, value, None, dataset, RESNET, glitch, ratio, signal, metric, study[glitch], why=why)
        for what, dataset, glitch, ratio, signal, metric, value, why in rows
    ] + switches(rule, one_seed, pair)


def switches(rule: str, one_seed: str, pair: str) -> list[Number]:
    """The rest of section 8.1, which needs the switches of the published code."""
    kept = "uniform@may_keep_label"
    by_rule = {"CNCI": 0.866, "SI": 0.799, "GD_class": 0.676, "NIL_opt": 0.676, "AAI": 0.614, "MPI": 0.571}
    by_rule |= {"MI": 0.083, "negative_MI": 0.508, "NIL": 0.182, "SLIN": 0.182, "SLIP": 0.089}
    exact = {"CNCI": 0.867, "SI": 0.798, "GD_class": 0.677, "NIL_opt": 0.677, "AAI": 0.613, "MPI": 0.570}
    exact |= {"MI": 0.083, "negative_MI": 0.508, "NIL": 0.098, "SLIN": 0.098, "SLIP": 0.080}
    rows = [
        ("published noise and rule", kept, s, "f1_published", value, "tracin") for s, value in by_rule.items()
    ]
    rows += [("published noise, exact k", kept, s, "f1", value, "tracin") for s, value in exact.items()]
    rows += [
        (
            "the same, counterfactual over all epochs",
            kept,
            "CNCI",
            "f1_published",
            0.829,
            "tracin@all_epochs",
        ),
        ("the same, exact k", kept, "CNCI", "f1", 0.830, "tracin@all_epochs"),
        ("published rule, wrong layer", kept, "CNCI", "f1_published", 0.873, "tracin@last_block_input"),
        ("far anomalies, published rule", rule, "PCID", "f1_published", 0.680, "tracin"),
        ("the same, wrong layer", rule, "PCID", "f1_published", 0.752, "tracin@last_block_input"),
        ("the same, exact k", rule, "PCID", "f1", 0.758, "tracin@last_block_input"),
        ("exact k, counterfactual over all epochs", rule, "PCID", "f1", 0.672, "tracin@all_epochs"),
    ]
    return [
        Number(
            what,
            value,
            None,
            MNIST,
            RESNET,
            glitch,
            "0.1",
            signal,
            metric,
            "mnist_published_code",
            why=one_seed if glitch == kept else pair,
            estimator=estimator,
        )
        for what, glitch, signal, metric, value, estimator in rows
    ]


def _study(dataset: str, model: str, glitch: str) -> str:
    """The study that makes a cell with a tenth of glitches."""
    if model != RESNET:
        return "pictures_models"
    if glitch == "class_dependent":
        return "one_class"
    base = dataset.partition("@")[0]
    return f"{base}_anomalies" if glitch == "far_anomalies" else base


# --- statements -----------------------------------------------------------------------------------------------------


def statements() -> list[Statement]:
    """Every published statement that has no readable number, one row per dataset where they are several."""
    rows: list[Statement] = []
    for dataset in (MNIST, FMNIST, *CIFAR):
        uniform, far, one = (
            _study(dataset, RESNET, g) for g in ("uniform", "far_anomalies", "class_dependent")
        )
        rows += [
            Statement(
                "SI is the best of the four old signals for uniform noise",
                dataset,
                _best_old(dataset, "SI"),
                uniform,
            ),
            Statement("MI is the worst of them", dataset, _worst_old(dataset, "MI"), uniform),
            Statement("GD-class does not beat SI", dataset, _not_above(dataset, "GD_class", "SI"), uniform),
            Statement(
                "SI drops for a low ratio (1 %)", dataset, _drops(dataset, "uniform", "0.01"), "ratios"
            ),
            Statement(
                "SI drops for one-class noise", dataset, _drops(dataset, "class_dependent", "0.1"), one
            ),
            Statement(
                "no old signal finds far anomalies (F1 near 0: below 0.05)",
                dataset,
                _finds_nothing(dataset, "far_anomalies"),
                far,
            ),
            Statement(
                "no old signal finds corruptions (F1 below 0.05)",
                dataset,
                _old_on_corruptions(dataset),
                "corruptions",
            ),
            Statement(
                "PCID improves with the ratio of anomalies, weak at 1 %",
                dataset,
                _improves(dataset),
                "ratios",
            ),
            Statement(
                "CNCI is on par with SI or better for 10 % noise in every class",
                dataset,
                _not_above(dataset, "SI", "CNCI", "class_dependent@all_classes"),
                "all_classes",
            ),
            Statement(
                "CNCI loses little with a dirty validation set (below 0.05)",
                dataset.partition("@")[0],
                _dirty(dataset.partition("@")[0]),
                "dirty_validation",
                missing="no such cell: 5,000 pictures are too few" if dataset == "cifar10_lossless" else "",
            ),
        ]
    rows += [
        Statement(
            "PCID is best in 7 of 8 corruption cases (ResNet-20)",
            "pictures",
            _pcid_on_corruptions,
            "corruptions",
        ),
        Statement(
            "near anomalies: SI and AAI near 0 on Jannis and Forest Cover (below 0.1)",
            "tables",
            _near,
            "tables",
        ),
        Statement(
            "near anomalies: SI and AAI work on Epsilon",
            "epsilon",
            lambda tables: None,
            "tables_full",
            missing="not reproducible here: of Epsilon's 500,000 rows 200 are at hand",
        ),
        Statement(
            "near anomalies per epoch, FT-Transformer: SI about 1 after epoch 1 on Jannis, then falls",
            "jannis_sample@tenth",
            _per_epoch("jannis_sample@tenth", 1.0),
            "epochs",
        ),
        Statement(
            "the same on Forest Cover: starts at 0.6, then falls",
            "covtype_sample@tenth",
            _per_epoch("covtype_sample@tenth", 0.6),
            "epochs",
        ),
        Statement("CNCI is the best signal for uniform noise in tables", "tables", _cnci_on_tables, "tables"),
        Statement("CNCI in tables: F1 0.65 on average at 10 %", "tables", _cnci_average, "tables"),
        Statement(
            "at 1 % noise CNCI is 36 % better than SI on average",
            "tables",
            _cnci_against_si("0.01"),
            "ratios",
        ),
        Statement("influence signals cost about 8 % of the training time (MNIST)", MNIST, _cost, "mnist"),
        Statement(
            "on ImageWoof all signals score higher than on MNIST",
            "imagewoof",
            lambda tables: None,
            "",
            missing="not reproducible here: the dataset is neither at hand nor a component",
        ),
        Statement(
            "TracIn correlates better with leave-one-out retraining than the Hessian-based method",
            "breast cancer, wine, MNIST",
            lambda tables: None,
            "",
            missing="not reproducible here: the workflow has no Hessian-based estimator",
        ),
    ]
    return rows


Check = Callable[[Tables], tuple[str, bool] | None]


def _f1(
    tables: Tables,
    dataset: str,
    signals: Sequence[str],
    glitch: str = "uniform",
    ratio: str = "0.1",
    model: str = RESNET,
) -> dict[str, float] | None:
    """F1 of signals in one cell, None where it was not run."""
    values = {s: tables.value(dataset, model, glitch, ratio, s, "f1") for s in signals}
    found = {s: value.mean for s, value in values.items() if value}
    return found if len(found) == len(values) else None


def _words(values: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', '-')} {value:.3f}" for name, value in values.items())


def _best_old(dataset: str, best: str) -> Check:
    def check(tables: Tables) -> tuple[str, bool] | None:
        found = _f1(tables, dataset, OLD)
        return found and (_words(found), max(found, key=found.__getitem__) == best)

    return check


def _worst_old(dataset: str, worst: str) -> Check:
    def check(tables: Tables) -> tuple[str, bool] | None:
        found = _f1(tables, dataset, OLD)
        return found and (_words(found), min(found, key=found.__getitem__) == worst)

    return check


def _not_above(dataset: str, lower: str, upper: str, glitch: str = "uniform") -> Check:
    def check(tables: Tables) -> tuple[str, bool] | None:
        found = _f1(tables, dataset, (lower, upper), glitch)
        return found and (_words(found), found[lower] <= found[upper])

    return check


def _drops(dataset: str, glitch: str, ratio: str) -> Check:
    def check(tables: Tables) -> tuple[str, bool] | None:
        usual, there = _f1(tables, dataset, ("SI",)), _f1(tables, dataset, ("SI",), glitch, ratio)
        if not (usual and there):
            return None
        return f"SI {usual['SI']:.3f}, there {there['SI']:.3f}", there["SI"] < usual["SI"]

    return check


def _finds_nothing(dataset: str, glitch: str) -> Check:
    def check(tables: Tables) -> tuple[str, bool] | None:
        found = _f1(tables, dataset, OLD, glitch)
        return found and (_words(found), max(found.values()) < 0.05)

    return check


def _old_on_corruptions(dataset: str) -> Check:
    def check(tables: Tables) -> tuple[str, bool] | None:
        found = {name: _f1(tables, dataset, OLD, f"corruption@{name}") for name in ("brightness", "stripe")}
        if not all(found.values()):
            return None
        largest = {name: max(values.values()) for name, values in found.items() if values}
        return f"largest F1: {_words(largest)}", max(largest.values()) < 0.05

    return check


def _improves(dataset: str) -> Check:
    def check(tables: Tables) -> tuple[str, bool] | None:
        ratios = ("0.01", "0.1", "0.3")
        found = {ratio: _f1(tables, dataset, ("PCID",), "far_anomalies", ratio) for ratio in ratios}
        if not all(found.values()):
            return None
        values = {ratio: value["PCID"] for ratio, value in found.items() if value}
        return f"PCID at {_words(values)}", values["0.01"] < values["0.1"] < values["0.3"]

    return check


def _dirty(source: str) -> Check:
    def check(tables: Tables) -> tuple[str, bool] | None:
        clean, dirty = (_f1(tables, f"{source}@{kind}_validation", ("CNCI",)) for kind in ("clean", "dirty"))
        if not (clean and dirty):
            return None
        return f"clean {clean['CNCI']:.3f}, dirty {dirty['CNCI']:.3f}", clean["CNCI"] - dirty["CNCI"] < 0.05

    return check


def _pcid_on_corruptions(tables: Tables) -> tuple[str, bool] | None:
    best, cases = 0, 0
    for dataset in (MNIST, FMNIST, *CIFAR):
        for name in ("brightness", "stripe"):
            found = _f1(tables, dataset, (*OLD, "CNCI", "PCID"), f"corruption@{name}")
            if found is None:
                return None
            cases += 1
            best += max(found, key=found.__getitem__) == "PCID"
    return f"best in {best} of {cases}", best >= cases - 1


def _near(tables: Tables) -> tuple[str, bool] | None:
    largest: dict[str, float] = {}
    for dataset in TABLE_SETS:
        for model in TABLE_MODELS:
            found = _f1(tables, dataset, ("SI", "AAI"), "near_anomalies", "0.1", model)
            if found is None:
                return None
            largest[f"{dataset.partition('_')[0]} {model}"] = max(found.values())
    return f"larger of the two: {_words(largest)}", max(largest.values()) < 0.1


def _per_epoch(dataset: str, first: float) -> Check:
    def check(tables: Tables) -> tuple[str, bool] | None:
        values = tables.per_epoch(dataset, "ft_transformer", "near_anomalies", "0.1", "SI")
        if not values:
            return None
        text = f"{values[0]:.3f} after epoch 1, {values[-1]:.3f} after epoch {len(values)}"
        return text, abs(values[0] - first) < 0.15 and values[-1] < values[0]

    return check


def _on_tables(tables: Tables, signals: Sequence[str], ratio: str = "0.1") -> list[dict[str, float]] | None:
    found = [
        _f1(tables, dataset, signals, "uniform", ratio, model)
        for dataset in TABLE_SETS
        for model in TABLE_MODELS
    ]
    return None if None in found else [values for values in found if values]


def _cnci_on_tables(tables: Tables) -> tuple[str, bool] | None:
    found = _on_tables(tables, (*OLD, "CNCI"))
    if found is None:
        return None
    best = sum(max(values, key=values.__getitem__) == "CNCI" for values in found)
    return f"best in {best} of {len(found)} (two datasets × three models)", best == len(found)


def _cnci_average(tables: Tables) -> tuple[str, bool] | None:
    found = _on_tables(tables, ("CNCI",))
    if found is None:
        return None
    mean = sum(values["CNCI"] for values in found) / len(found)
    return f"{mean:.3f} (two datasets × three models, not three)", abs(mean - 0.65) < 0.05


def _cnci_against_si(ratio: str) -> Check:
    def check(tables: Tables) -> tuple[str, bool] | None:
        found = _on_tables(tables, ("CNCI", "SI"), ratio)
        if found is None:
            return None
        cnci, si = (sum(values[name] for values in found) / len(found) for name in ("CNCI", "SI"))
        return f"CNCI {cnci:.3f}, SI {si:.3f}", cnci > si

    return check


def _cost(tables: Tables) -> tuple[str, bool] | None:
    found = {
        stage: tables.value(MNIST, RESNET, "uniform", "0.1", "", f"cpu_seconds_{stage}")
        for stage in ("train", "profile_influence", "score_signals")
    }
    if not all(found.values()):
        return None
    seconds = {stage: value.mean for stage, value in found.items() if value}
    share = (seconds["profile_influence"] + seconds["score_signals"]) / seconds["train"]
    return f"{share:.1%} of {seconds['train']:.0f} CPU seconds, by the closed form", abs(share - 0.08) < 0.03

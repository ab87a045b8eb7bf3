"""Every compat switch and every option of the methods changes a number, through the stages of a real cell."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from glitchtrace.core import configuration, reference, registry
from glitchtrace.data.fetch import fetch_data
from glitchtrace.data.prepare import prepare_data
from glitchtrace.detectors.stage import detect_cell
from glitchtrace.evaluation.stage import evaluate_cell
from glitchtrace.glitches.stage import inject_glitch
from glitchtrace.influence.stage import compute_influence, profile_influence
from glitchtrace.training.stage import train_cell

ROOT = Path(__file__).parents[2]
SCHEMA = configuration.load_schema(ROOT)
TRAINING = {"learning_rate": 0.05, "batch_size": 48, "epochs": 2}
DATASET = {"subset_size": 300, "holdout_ratio": 0.2, "test_size": 60}


def defaults(kind: str, name: str) -> dict[str, Any]:
    """The settings of a component as the configuration resolves them, without a training table."""
    block = {"datasets": ["digits"], "models": ["resnet20"], "glitches": ["uniform"], "ratios": [0.1]}
    axis = {"dataset": "datasets", "model": "models", "glitch": "glitches", "estimator": "estimators"}[kind]
    config = {"grid": [{**block, "seeds": [0], axis: [name]}]}
    settings = configuration.resolve(config, SCHEMA)["settings"][kind][name]
    return {key: value for key, value in settings.items() if key != "training"}


class Chain:
    """The stages of one small cell of the digits with a ResNet-20, run as far as a test needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def sources(self, *names: str) -> list[Path]:
        folders = [self.folder / "sources" / name for name in names]
        for folder in folders:
            if not folder.exists():
                fetch_data(
                    dataset=folder.name,
                    features=folder / "features.npy",
                    labels=folder / "labels.npy",
                    description=folder / "source.json",
                )
        return folders

    def split(self, **options: Any) -> pd.DataFrame:
        (digits,) = self.sources("digits")
        prepare_data(
            labels=digits / "labels.npy",
            description=digits / "source.json",
            split=self.file("split.parquet"),
            seed=0,
            settings={**defaults("dataset", "digits"), **DATASET, **options},
            dataset="digits",
        )
        return pd.read_parquet(self.file("split.parquet"))

    def inject(self, name: str = "uniform", seed: int = 0, **options: Any) -> pd.DataFrame:
        sources = self.sources("digits", *(["photo_patches"] if name == "far_anomalies" else []))
        inject_glitch(
            split=self.file("split.parquet"),
            labels=[folder / "labels.npy" for folder in sources],
            descriptions=[folder / "source.json" for folder in sources],
            glitch=self.file("glitch.parquet"),
            dataset="digits",
            name=name,
            ratio=0.1,
            seed=seed,
            settings={**defaults("glitch", name), **options},
        )
        return pd.read_parquet(self.file("glitch.parquet"))

    def inputs(self) -> dict[str, Any]:
        return {
            "features": [self.folder / "sources/digits/features.npy"],
            "split": self.file("split.parquet"),
            "glitch": self.file("glitch.parquet"),
            "checkpoints": self.file("checkpoints.safetensors"),
            "factors": self.file("factors.safetensors"),
            "dataset": "digits",
            "model": "resnet20",
        }

    def model(self, **options: Any) -> dict[str, Any]:
        return {**defaults("model", "resnet20"), "weights": "random", **options}

    def train(self, **options: Any) -> dict[str, np.ndarray]:
        train_cell(
            **self.inputs(),
            history=self.file("history.parquet"),
            settings=self.model(**options),
            training=TRAINING,
            seed=0,
            evaluation_batch=500,
        )
        return load_file(self.file("checkpoints.safetensors"))

    def influence(self, **options: Any) -> np.ndarray:
        compute_influence(
            **self.inputs(),
            influence=self.file("influence.npy"),
            model_settings=self.model(),
            estimator="tracin",
            settings={**defaults("estimator", "tracin"), **options},
        )
        return np.load(self.file("influence.npy"))

    def score(self, **options: Any) -> pd.DataFrame:
        settings = {**defaults("estimator", "tracin"), **options}
        profile_influence(
            **self.inputs(),
            profile=self.file("profile.safetensors"),
            model_settings=self.model(),
            estimator="tracin",
            settings=settings,
        )
        detect_cell(
            glitch=self.file("glitch.parquet"),
            profile=[self.file("profile.safetensors")],
            factors=[self.file("factors.safetensors")],
            scores=self.file("scores.parquet"),
            detectors=registry.chosen("detector", "default"),
            settings={},
            estimator_settings=settings,
            seed=0,
        )
        return pd.read_parquet(self.file("scores.parquet"))

    def metrics(self) -> pd.DataFrame:
        evaluate_cell(
            scores=self.file("scores.parquet"),
            glitch=self.file("glitch.parquet"),
            history=self.file("history.parquet"),
            records=[],
            metrics=self.file("metrics.parquet"),
            cost=self.file("cost.parquet"),
        )
        return pd.read_parquet(self.file("metrics.parquet")).set_index(["signal", "metric"])["value"]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """A trained cell; tests of later stages leave its files as they are."""
    chain = Chain(tmp_path_factory.mktemp("cell"))
    chain.split()
    chain.inject()
    chain.train()
    return chain


@pytest.fixture
def fresh(tmp_path: Path) -> Chain:
    return Chain(tmp_path)


def foreign_table(rows: int = 400) -> dict[str, Any]:
    """A foreign source with both official parts, each of 2 classes, for the options of far anomalies."""
    from glitchtrace.glitches.table import Foreign

    labels = np.arange(rows) % 10
    return {"fmnist": Foreign("fmnist", labels, {"train": (0, 300), "test": (300, rows)}, 10)}


def far(seed: int, **options: Any) -> pd.DataFrame:
    from glitchtrace.glitches.table import clean_table

    rows = pd.DataFrame({"row": np.arange(100), "part": "train"})
    host = clean_table(rows, np.arange(100) % 10, "mnist")
    inject = registry.load("glitch", "far_anomalies").inject
    settings = {**defaults("glitch", "far_anomalies"), "foreign": "fmnist", **options}
    return inject(host, ratio=0.1, seed=seed, classes=10, settings=settings, foreign=foreign_table())


def appended(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["true_label"] < 0]


# --- options of the estimator, seen in the signals ------------------------------------------------------------------

ESTIMATOR_OPTIONS: dict[str, tuple[Mapping[str, Any], str]] = {
    "include_bias": ({"include_bias": False}, "SI"),
    "counterfactual_include_bias": ({"counterfactual_include_bias": False}, "CNCI"),
    "counterfactual_epochs": ({"counterfactual_epochs": "all"}, "CNCI"),
    "counterfactual_features": ({"counterfactual_features": "last_block_input"}, "CNCI"),
    "divide_by_batch_size": ({"divide_by_batch_size": True}, "SI"),
    "mi_orientation": ({"mi_orientation": "negative"}, "MI"),
}


@pytest.mark.parametrize("option", ESTIMATOR_OPTIONS)
def test_an_option_of_the_estimator_changes_its_signal(chain: Chain, option: str) -> None:
    settings, signal = ESTIMATOR_OPTIONS[option]
    before, after = chain.score()[signal], chain.score(**settings)[signal]
    assert not np.allclose(before, after, rtol=1e-3, atol=0)


def test_exclude_own_class_changes_proposed_labels() -> None:
    """On trained networks y⁻ is hardly ever the observed label, on arbitrary influence it is."""
    from glitchtrace.influence.profile import negative_labels, profile_from_matrix

    labels, validation, classes = np.arange(30) % 3, np.arange(12) % 3, np.arange(3)
    influence = np.random.default_rng(0).normal(size=(30, 12))
    profile = profile_from_matrix(influence, validation, classes)
    assert (negative_labels(profile, classes, labels) == labels).any()
    assert not (negative_labels(profile, classes, labels, exclude_own_class=True) == labels).any()


# --- options of data, glitches and models ------------------------------------------------------------------------


def test_validation_source_changes_the_validation_rows() -> None:
    from glitchtrace.data.split import make_split, rows_of

    labels, parts = np.arange(400) % 4, {"train": (0, 300), "test": (300, 400)}
    official = make_split(labels, parts, seed=0, validation_source="test_split")
    holdout = make_split(labels, parts, seed=0, validation_source="holdout")
    assert rows_of(official, "validation").min() >= 300
    assert rows_of(holdout, "validation").max() < 300


def test_freeze_bn_stats_changes_the_running_statistics(fresh: Chain) -> None:
    fresh.split()
    fresh.inject()
    drifting, frozen = fresh.train(), fresh.train(freeze_bn_stats=True)
    name = next(key for key in drifting if key.startswith("002/bn1.running_mean"))
    assert not np.allclose(drifting[name], frozen[name])


def test_ood_split_changes_the_foreign_rows() -> None:
    train, test = (appended(far(0, ood_split=part)) for part in ("train", "test"))
    assert train["row"].max() < 300
    assert test["row"].min() >= 300


def test_anomaly_label_equals_class_changes_the_host_label() -> None:
    compat = {"compat": {"anomaly_label_equals_class": True}}
    seeds = range(10)
    published = [appended(far(seed, **compat)) for seed in seeds]
    ours = [appended(far(seed)) for seed in seeds]
    assert all((table["label"] == table["source_label"]).all() for table in published)
    assert not all((table["label"] == table["source_label"]).all() for table in ours)


def test_uniform_noise_may_keep_label_keeps_some(fresh: Chain) -> None:
    fresh.split(subset_size=None)
    compat = {"compat": {"uniform_noise_may_keep_label": True}}
    published, ours = fresh.inject(**compat), fresh.inject()
    kept = [int(((t["kind"] == 1) & (t["label"] == t["true_label"])).sum()) for t in (published, ours)]
    assert kept[0] > 0
    assert kept[1] == 0


def test_class_noise_reseeds_each_draw_changes_the_marked_samples(fresh: Chain) -> None:
    fresh.split()
    every = {"classes_to_contaminate": "all"}
    published = fresh.inject("class_dependent", **every, compat={"class_noise_reseeds_each_draw": True})
    ours = fresh.inject("class_dependent", **every)
    assert (published["kind"] == 1).sum() == (ours["kind"] == 1).sum()
    assert (published["kind"] != ours["kind"]).any()


def test_f1_threshold_changes_the_f1_that_is_drawn(chain: Chain) -> None:
    chain.score()
    metrics = chain.metrics()
    assert metrics["SLIP", "f1"] != metrics["SLIP", "f1_published"]


# --- the list is whole ---------------------------------------------------------------------------------------------


def compat_switches() -> set[str]:
    """Every switch under a key ``compat`` of the schema."""
    return {
        key.rsplit(".", 1)[1]
        for key, *_ in reference.parameters(SCHEMA)
        if key.split(".")[-2:-1] == ["compat"]
    }


def test_the_compat_switches_are_these() -> None:
    assert compat_switches() == {
        "uniform_noise_may_keep_label",
        "anomaly_label_equals_class",
        "class_noise_reseeds_each_draw",
        "f1_threshold",
        # Of data cleansing; tests/unit/test_cleansing.py shows what they change.
        "divide_hessian_twice",
        "opposite_sign",
    }


def test_every_option_of_the_methods_is_a_parameter() -> None:
    keys = {key.rsplit(".", 1)[-1] for key, *_ in reference.parameters(SCHEMA)}
    assert {
        *ESTIMATOR_OPTIONS,
        "exclude_own_class",
        "validation_source",
        "freeze_bn_stats",
        "ood_split",
    } <= keys

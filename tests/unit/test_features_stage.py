"""Extraction over a grid: the pictures that pass the backbone are counted."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.cells import load_cell
from glitchtrace.data.fetch import fetch_data
from glitchtrace.data.prepare import prepare_data
from glitchtrace.data.preprocess import PictureInputs
from glitchtrace.data.sources import Sources
from glitchtrace.glitches.stage import inject_glitch
from glitchtrace.influence.factors import load_factors
from glitchtrace.models import backbones
from glitchtrace.models.frozen import Backbone, OwnInput
from glitchtrace.training.features import Extractor, extract_features, extract_test_features
from glitchtrace.training.stage import train_cell

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "backbone": "test_vit",
    "weights": "random",
    "preprocessing": "published",
    "precision": "float32",
    "batch": 7,
    "shards": 2,
    "head_seed": 42,
}
OWN = OwnInput(8, False, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SEEDS, GLITCHES, RATIOS = (0, 1), ("uniform", "far_anomalies"), ("0.1", "0.2")


class Small(nn.Module):
    """Rows and columns summed: 16 features of 8 × 8 pictures; counts what passes, one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # A blank picture is how an extractor learns the number of features.
        self.passed += int((x.flatten(1) != 0).any(dim=1).sum())
        return torch.cat([x[:, 0].sum(dim=1), x[:, 0].sum(dim=2)], dim=1)


@pytest.fixture
def body(monkeypatch: pytest.MonkeyPatch) -> Small:
    """A counting network in the place of timm's."""
    small = Small()
    monkeypatch.setattr(backbones.Timm, "backbone", lambda self, settings: Backbone(small, OWN, "published"))
    return small


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits and photographs as sources, and the splits and sample tables of the grid for three seeds."""
    folder = tmp_path_factory.mktemp("results")
    for source in ("digits", "photo_patches"):
        files = {part: folder / "sources" / source / f"{part}.npy" for part in ("features", "labels")}
        fetch_data(dataset=source, **files, description=folder / "sources" / source / "source.json")
    properties = registry.kinds()["dataset"]["settings"]
    chosen = {key: fragment["default"] for key, fragment in properties.items()} | {
        "subset_size": 60,
        "test_size": 30,
    }
    for seed in (*SEEDS, 2):
        split = folder / f"split-{seed}.parquet"
        host = folder / "sources/digits"
        prepare_data(
            labels=host / "labels.npy",
            description=host / "source.json",
            split=split,
            seed=seed,
            settings=chosen,
            dataset="digits",
        )
        for glitch in GLITCHES:
            for ratio in RATIOS:
                sources = ["digits", "photo_patches"] if glitch == "far_anomalies" else ["digits"]
                inject_glitch(
                    split=split,
                    labels=[folder / "sources" / name / "labels.npy" for name in sources],
                    descriptions=[folder / "sources" / name / "source.json" for name in sources],
                    glitch=folder / f"{glitch}-{ratio}-{seed}.parquet",
                    dataset="digits",
                    name=glitch,
                    ratio=ratio,
                    seed=seed,
                    settings={},
                )
    return folder


def cell(results: Path, glitch: str = "uniform", ratio: str = "0.1", seed: int = 0) -> dict:
    sources = ["digits", "photo_patches"] if glitch == "far_anomalies" else ["digits"]
    return {
        "features": [results / "sources" / name / "features.npy" for name in sources],
        "split": results / f"split-{seed}.parquet",
        "glitch": results / f"{glitch}-{ratio}-{seed}.parquet",
    }


@pytest.fixture
def place(results: Path, tmp_path: Path) -> Path:
    """The same files in a results folder without features."""
    for file in results.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return tmp_path


def extract(place: Path, name: str = "stored.json", settings: dict | None = None, **keys: object) -> Path:
    stored = place / name
    extract_features(
        **cell(place, **keys), stored=stored, model="timm@mine", settings={**SETTINGS, **(settings or {})}
    )
    return stored


def distinct(place: Path, seeds: tuple[int, ...]) -> int:
    """Training and validation pictures of the grid, each counted once."""
    found: set[tuple[str, int]] = set()
    for seed in seeds:
        split = pd.read_parquet(place / f"split-{seed}.parquet")
        found |= {("digits", row) for row in split.loc[split["part"] == "validation", "row"]}
        for glitch in GLITCHES:
            for ratio in RATIOS:
                table = pd.read_parquet(place / f"{glitch}-{ratio}-{seed}.parquet")
                found |= set(zip(table["source"], table["row"], strict=True))
    return len(found)


def extract_grid(place: Path, seeds: tuple[int, ...]) -> None:
    for glitch in GLITCHES:
        for ratio in RATIOS:
            for seed in seeds:
                extract(place, glitch=glitch, ratio=ratio, seed=seed)


def test_over_a_grid_each_distinct_picture_passes_once_and_a_new_seed_adds_its_own(
    place: Path, body: Small
) -> None:
    extract_grid(place, SEEDS)
    assert body.passed == distinct(place, SEEDS) > 100
    extract_grid(place, SEEDS)
    assert body.passed == distinct(place, SEEDS), "a second time there is nothing to do"
    extract_grid(place, (*SEEDS, 2))
    assert body.passed == distinct(place, (*SEEDS, 2)) > distinct(place, SEEDS)


def test_test_pictures_are_added_where_a_cell_is_repaired(place: Path, body: Small) -> None:
    stored = extract(place)
    before = body.passed
    with pytest.raises(GlitchtraceError, match="lacks the features of 30 of 30 pictures"):
        load_cell(**cell(place), dataset="digits", view="features", stored=[stored]).test.batch(slice(None))
    files = {key: value for key, value in cell(place).items() if key != "glitch"}
    extract_test_features(**files, stored=place / "test.json", model="timm@mine", settings=SETTINGS)
    assert body.passed == before + 30
    assert len(load_cell(**cell(place), dataset="digits", view="features", stored=[stored]).test) == 30


def test_features_are_those_of_the_backbone_in_the_order_of_the_cell(place: Path, body: Small) -> None:
    stored = extract(place, glitch="far_anomalies")
    files = cell(place, "far_anomalies")
    direct = load_cell(**files, dataset="digits", view="pictures")
    ours = load_cell(**files, dataset="digits", view="features", stored=[stored])
    # The view of convolutional networks enlarges digits; a backbone sees them as they are stored.
    direct_train = PictureInputs(direct.train._stored)
    with torch.inference_mode():
        expected = Backbone(Small(), OWN, "published")(direct_train.batch(slice(None)))
    assert ours.train.shape == (16,)
    torch.testing.assert_close(ours.train.batch(slice(None)), expected, rtol=0, atol=0)
    np.testing.assert_array_equal(ours.train_labels, direct.train_labels)


@pytest.mark.parametrize(
    ("changed", "shared"),
    [
        ({"batch": 3}, True),
        ({"weights": "w.safetensors", "head_seed": 1}, False),
        ({"head_seed": 1}, False),
        ({"preprocessing": "own"}, False),
        ({"shards": 3}, False),
    ],
)
def test_settings_that_change_features_have_a_store_of_their_own(
    place: Path, body: Small, changed: dict, shared: bool
) -> None:
    extract(place)
    before = body.passed
    extract(place, settings=changed)
    assert (body.passed == before) == shared


def test_the_content_of_a_weights_file_counts_and_not_its_place(
    place: Path, body: Small, tmp_path: Path
) -> None:
    stores = set()
    for name, value in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        file = tmp_path / f"{name}.safetensors"
        save_file({"x": np.full(2, value)}, file)
        stored = place / "stored.json"
        extract_features(
            **cell(place),
            stored=stored,
            model="timm",
            settings={**SETTINGS, "weights": str(file)},
            weights=[file],
        )
        stores.add(json.loads(stored.read_text())["store"])
    assert len(stores) == 2


def test_corrupted_pictures_are_pictures_of_their_own(place: Path, body: Small) -> None:
    table = pd.read_parquet(place / "uniform-0.1-0.parquet")
    extract(place)
    before = body.passed
    table["corruption"], table["severity"] = "", 0
    table.loc[:4, ["corruption", "severity"]] = ["stripe", 2]
    (place / "uniform-0.1-0.parquet").unlink()
    table.to_parquet(place / "uniform-0.1-0.parquet")
    stored = extract(place)
    assert body.passed == before + 5
    files = cell(place)
    ours = load_cell(**files, dataset="digits", view="features", stored=[stored]).train.batch(slice(None))
    stored_pictures = Sources(files["features"]).samples(table)
    with torch.inference_mode():
        expected = Backbone(Small(), OWN, "published")(PictureInputs(stored_pictures).batch(slice(None)))
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    clean = Sources(files["features"]).samples(table.drop(columns=["corruption", "severity"]))
    assert (stored_pictures != clean).any(axis=(1, 2)).sum() == 5


def test_bfloat16_is_recorded_with_its_deviation(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5))
    monkeypatch.setattr(backbones.Timm, "backbone", lambda self, settings: Backbone(linear, OWN, "published"))
    exact = json.loads(extract(place).read_text())
    rounded = json.loads(extract(place, settings={"precision": "bfloat16"}).read_text())
    assert exact["deviation"] == 0
    assert 1e-5 < rounded["deviation"] < 0.05
    assert exact["store"] != rounded["store"]


def test_exhausted_memory_names_the_batch(place: Path) -> None:
    def fail(part: pd.DataFrame) -> np.ndarray:
        return np.zeros((len(part), 8, 8), dtype=np.uint8)

    def exhausted() -> Backbone:
        raise MemoryError

    extractor = Extractor(exhausted, fail, batch=8, precision="float32", device=torch.device("cpu"))
    with pytest.raises(GlitchtraceError, match="batch: 8; try batch: 4"):
        next(extractor.blocks(pd.DataFrame({"source": "digits", "row": [1]})))


def test_a_stage_without_features_says_so(place: Path) -> None:
    with pytest.raises(
        GlitchtraceError, match="trained on extracted features, which this stage does not take"
    ):
        load_cell(**cell(place), dataset="digits", view="features")


def test_the_head_is_trained_on_the_features_alone(place: Path, body: Small, tmp_path: Path) -> None:
    stored = extract(place)
    before = body.passed
    outputs = {name: tmp_path / f"{name}.safetensors" for name in ("checkpoints", "factors")}
    train_cell(
        **cell(place),
        **outputs,
        history=tmp_path / "history.parquet",
        dataset="digits",
        model="timm@mine",
        settings=SETTINGS,
        training={"learning_rate": 0.01, "batch_size": 16, "epochs": 2},
        seed=0,
        evaluation_batch=20,
        stored=[stored],
    )
    assert body.passed == before
    checkpoints = load_file(outputs["checkpoints"])
    assert set(checkpoints) == {
        f"{epoch}/head.{name}" for epoch in ("001", "002") for name in ("weight", "bias")
    }
    factors = load_factors(outputs["factors"])
    assert factors.frozen
    features = load_cell(**cell(place), dataset="digits", view="features", stored=[stored]).train.batch(
        slice(None)
    )
    np.testing.assert_array_equal(factors.train.features[0], features)
    logits = features.numpy() @ checkpoints["002/head.weight"].T + checkpoints["002/head.bias"]
    probabilities = torch.from_numpy(logits).softmax(dim=1).numpy()
    np.testing.assert_allclose(factors.train.probabilities[1], probabilities, rtol=1e-4, atol=1e-6)


def test_every_frozen_model_has_a_backbone_and_a_head() -> None:
    frozen = [name for name in registry.names("model") if registry.card("model", name)["view"] == "features"]
    assert {"vit_b16", "convnext_tiny", "timm"} <= set(frozen)
    for name in frozen:
        module = registry.load("model", name)
        assert callable(module.backbone)
        assert module.build((5,), 3, SETTINGS).head.weight.shape == (3, 5)
        with pytest.raises(GlitchtraceError, match=f"model {name} is trained on extracted features"):
            module.build((3, 8, 8), 3, SETTINGS)

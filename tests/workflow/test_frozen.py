"""Frozen backbones through the workflow: timm networks with local weight files, and pictures counted in the logs."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from running import folder_with_config, planned, snakemake
from safetensors.numpy import load_file

from glitchtrace.core import paths
from glitchtrace.data.feature_store import FeatureStore, of_samples
from glitchtrace.detectors.evidence import Evidence, detect

# A small ViT, of which the pictures are counted, and a small ConvNeXt; both make 64 features.
BACKBONES = {"timm@small": "test_vit", "timm@convnext": "test_convnext"}
STUDY = {
    "grid": [
        {
            "datasets": ["digits@few"],
            "models": [*BACKBONES],
            "glitches": ["uniform"],
            "ratios": [0.2],
            "seeds": [0],
        }
    ],
    "datasets": {"digits@few": {"subset_size": 50, "test_size": 30}},
    "models": {
        model: {
            "backbone": backbone,
            "weights": f"{backbone}.safetensors",
            "shards": 2,
            "training": {"default": {"learning_rate": 0.1, "batch_size": 16, "epochs": 2}},
        }
        for model, backbone in BACKBONES.items()
    },
    "figures": {"formats": ["svg"]},
}
CELLS = {model: f"results/digits@few/{model}/uniform-0.2/seed-0" for model in BACKBONES}
GAINS = [f"{cell}/tracin/gain.parquet" for cell in CELLS.values()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the features of seed 0 are extracted and the cell of each backbone is repaired."""
    import timm
    import torch
    from safetensors.torch import save_file

    found = folder_with_config(tmp_path_factory.mktemp("frozen"))
    torch.manual_seed(0)
    for backbone in BACKBONES.values():
        weights = timm.create_model(backbone, pretrained=False).state_dict()
        save_file(weights, found / f"{backbone}.safetensors")
    write(found, STUDY)
    run(found, "features", *GAINS)
    return found


def write(folder: Path, study: dict) -> None:
    (folder / "frozen.yaml").write_text(yaml.safe_dump(study))


def run(folder: Path, *targets: str) -> None:
    snakemake(folder, *targets, "--cores", "2", "--configfile", "frozen.yaml")


def extracted(folder: Path, model: str = "timm@small") -> int:
    """Pictures that have passed a backbone, as the logs of the extractions say."""
    logs = (folder / f"results/logs/digits@few/{model}").rglob("extract_*features.log")
    return sum(
        int(count) for log in logs for count in re.findall(r"extracted (\d+) pictures", log.read_text())
    )


def distinct(folder: Path) -> int:
    """Pictures in the splits and sample tables, each counted once."""
    found: set[tuple[str, int]] = set()
    for split in (folder / "results").rglob("split.parquet"):
        rows = pd.read_parquet(split)
        found |= {("digits", row) for row in rows.loc[rows["part"] != "train", "row"]}
    for table in (folder / "results").rglob("glitch.parquet"):
        samples = pd.read_parquet(table)
        found |= set(zip(samples["source"], samples["row"], strict=True))
    return len(found)


def test_each_distinct_picture_passes_once_and_a_new_seed_adds_its_own(folder: Path) -> None:
    assert extracted(folder) == extracted(folder, "timm@convnext") == distinct(folder) > 70
    study = {**STUDY, "grid": [{**STUDY["grid"][0], "models": ["timm@small"], "seeds": [0, 1]}]}
    write(folder, study)
    jobs = planned(folder, "features", "--configfile", "frozen.yaml")
    assert (jobs["extract_features"], jobs["extract_test_features"], jobs["train"]) == (1, 1, 0)
    before = extracted(folder)
    run(folder, "features")
    assert before < extracted(folder) == distinct(folder)
    write(folder, STUDY)
    assert not planned(folder, "features", *GAINS, "--configfile", "frozen.yaml")


@pytest.mark.parametrize("model", BACKBONES)
def test_the_head_is_trained_repaired_and_traced_on_features(folder: Path, model: str) -> None:
    cell = folder / CELLS[model]
    checkpoints = load_file(cell / "checkpoints.safetensors")
    assert {name.partition("/")[2] for name in checkpoints} == {"head.weight", "head.bias"}
    factors = load_file(cell / "factors.safetensors")
    assert factors["train/features"].shape == (40, 64)
    gain = pd.read_parquet(cell / "tracin/gain.parquet")
    assert set(gain["part"]) == {"validation", "test"}
    assert gain["accuracy"].between(0, 1).all()


def test_a_name_that_timm_does_not_have_ends_in_one_line(folder: Path) -> None:
    models = {"timm@wrong": {**STUDY["models"]["timm@small"], "backbone": "tset_vit"}}
    write(folder, {**STUDY, "grid": [{**STUDY["grid"][0], "models": ["timm@wrong"]}], "models": models})
    done = snakemake(
        folder,
        "results/digits@few/timm@wrong/uniform-0.2/seed-0/features.json",
        *("--cores", "1", "--configfile", "frozen.yaml"),
        check=False,
    )
    write(folder, STUDY)
    output = done.stdout + done.stderr
    assert done.returncode
    assert (
        "error in extract_features: backbone: timm has no model 'tset_vit'; did you mean test_vit" in output
    )
    assert "Traceback" not in output


def test_a_recorded_training_of_the_head_is_cleansed_on_features(folder: Path) -> None:
    methods = {"cleansing_methods": ["sgd_all", "random"], "removals": [0, 5]}
    write(folder, {**STUDY, "cleansing": [{**STUDY["grid"][0], "models": ["timm@small"], **methods}]})
    target = f"results/studies/frozen/cleansing/{CELLS['timm@small'].removeprefix('results/')}/sgd/removal-last.parquet"
    run(folder, target)
    removal = pd.read_parquet(folder / target)
    assert set(removal["removed"]) == {0, 5}
    assert set(removal["part"]) == {"validation", "test"}
    assert removal["accuracy"].between(0, 1).all()
    write(folder, STUDY)


def test_a_detector_sees_another_representation_that_the_backbone_keeps(folder: Path) -> None:
    model, detectors = "efficientnet_lite0@two", ["knn_vote", "knn_vote@stage5"]
    study = {
        **STUDY,
        "grid": [{**STUDY["grid"][0], "models": [model]}],
        "models": {model: {"representations": ["penultimate", "stage5"], "side": 32}},
        "detectors": detectors,
        "detector_settings": {"knn_vote@stage5": {"representation": "stage5"}},
        "repair": False,
    }
    cell = {"dataset": "digits@few", "model": model, "glitch": "uniform", "ratio": "0.2", "seed": 0}
    target = paths.fill(paths.SCORES, **cell, estimator="tracin", detectors=detectors)
    write(folder, study)
    run(folder, target)
    write(folder, STUDY)
    scores = pd.read_parquet(folder / target)
    host = folder / paths.fill(paths.SOURCE_FEATURES, source="digits")
    store = FeatureStore.named(host, folder / paths.fill(paths.FEATURES, **cell))
    samples = pd.read_parquet(folder / paths.fill(paths.GLITCH, **cell))
    for name, representation in zip(detectors, ("penultimate", "stage5"), strict=True):
        rows = store.read(of_samples(samples), representation)
        labels = samples["label"].to_numpy()
        evidence = Evidence(labels, 10, read_representations=lambda rows=rows: {"only": rows})
        np.testing.assert_array_equal(scores[name], detect("knn_vote", evidence).scores)
    assert (scores[detectors[0]] != scores[detectors[1]]).any()

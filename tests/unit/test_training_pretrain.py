import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models import resnet20, weights
from glitchtrace.training.pretrain import BORDER, _augmented, _crops, pretrain

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def source(tmp_path):
    """A source of 8 × 8 colour pictures whose brightness is the class."""
    random = np.random.default_rng(0)
    labels = np.arange(72) % 2
    pictures = (random.integers(0, 80, (72, 8, 8, 3)) + 150 * labels[:, None, None, None]).astype(np.uint8)
    np.save(tmp_path / "features.npy", pictures)
    np.save(tmp_path / "labels.npy", labels)
    description = {
        "modality": "image",
        "classes": ["dark", "bright"],
        "parts": {"train": [0, 64], "test": [64, 72]},
    }
    (tmp_path / "source.json").write_text(json.dumps(description))
    return {
        "features": tmp_path / "features.npy",
        "labels": tmp_path / "labels.npy",
        "description": tmp_path / "source.json",
    }


def run(source, folder, **changed):
    options = {"seed": 0, "epochs": 2, "batch_size": 16, "learning_rate": 0.05, **changed}
    pretrain(**source, weights=folder / "w.safetensors", card=folder / "w.md", **options)
    return folder / "w.safetensors"


def test_pretraining_writes_weights_that_a_model_starts_from(source, tmp_path):
    file = run(source, tmp_path / "out")
    tensors = load_file(file)
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float32)}
    assert not any(name.endswith("num_batches_tracked") for name in tensors)
    settings = {key: fragment["default"] for key, fragment in resnet20.CARD["settings"].items()}
    network = resnet20.build((3, 8, 8), 5, {**settings, "weights": str(file)})
    for name, tensor in tensors.items():
        if not name.startswith("head."):
            np.testing.assert_array_equal(network.state_dict()[name].numpy(), tensor)


def test_the_card_and_the_metadata_tell_recipe_accuracy_and_checksum(source, tmp_path):
    file = run(source, tmp_path / "out", epochs=4)
    card = file.with_suffix(".md").read_text(encoding="utf-8")
    assert hashlib.sha256(file.read_bytes()).hexdigest() in card
    with safe_open(file, "numpy") as opened:
        recipe = json.loads(opened.metadata()["recipe"])
    for key, value in recipe.items():
        assert f"| {key} | {value} |" in card
    network = resnet20.ResNet20(2, "padding", 0)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in load_file(file).items()}, strict=False)
    pictures, labels = np.load(source["features"])[64:], np.load(source["labels"])[64:]
    x = torch.from_numpy(pictures.transpose(0, 3, 1, 2)).float() / 127.5 - 1
    accuracy = np.mean(network.eval()(x).argmax(1).numpy() == labels)
    assert recipe["accuracy"] == f"{accuracy:.4f}"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(source, tmp_path):
    first, second = run(source, tmp_path / "a"), run(source, tmp_path / "b")
    other = run(source, tmp_path / "c", seed=1)
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()


def test_pretraining_separates_dark_from_bright(source, tmp_path):
    card = run(source, tmp_path / "out", epochs=6).with_suffix(".md").read_text(encoding="utf-8")
    assert "| accuracy | 1.0000 |" in card


def test_a_diverged_pretraining_is_one_line_and_writes_nothing(source, tmp_path):
    with pytest.raises(GlitchtraceError, match="pretraining diverged in epoch 1; lower learning_rate"):
        run(source, tmp_path / "out", learning_rate=1e30)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("defect", ["grey", "one part"])
def test_a_source_without_colour_or_test_part_is_refused(source, tmp_path, defect):
    if defect == "grey":
        np.save(source["features"], np.load(source["features"])[..., 0])
    else:
        description = json.loads(source["description"].read_text())
        description["parts"] = {"all": [0, 72]}
        source["description"].write_text(json.dumps(description))
    with pytest.raises(GlitchtraceError, match=r"source\.json: pretraining needs colour pictures"):
        run(source, tmp_path / "out")


def test_augmented_pictures_are_crops_of_the_reflected_picture_or_their_mirror_image():
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (5, 10, 12, 3), dtype=np.uint8)
    rows = np.repeat(np.arange(5), 20)
    found = _augmented(_crops(pictures), rows, random)
    assert found.shape == (100, 10, 12, 3)
    mirrored = 0
    for row, picture in zip(rows, found, strict=True):
        bordered = np.pad(pictures[row], ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="reflect")
        crops = [
            bordered[down : down + 10, right : right + 12]
            for down in range(2 * BORDER + 1)
            for right in range(2 * BORDER + 1)
        ]
        plain = any(np.array_equal(picture, crop) for crop in crops)
        mirror = any(np.array_equal(picture[:, ::-1], crop) for crop in crops)
        assert plain or mirror
        mirrored += mirror and not plain
    assert 25 < mirrored < 75


def test_the_shipped_weights_are_those_of_their_card():
    published = weights.TABLE["cifar10_jpeg"]
    file = weights.PACKAGE_FOLDER / published.file
    assert hashlib.sha256(file.read_bytes()).hexdigest() == published.sha256
    assert file.stat().st_size <= 1_200_000
    card = file.with_suffix(".md").read_text(encoding="utf-8")
    assert published.sha256 in card
    with safe_open(file, "numpy") as opened:
        recipe = json.loads(opened.metadata()["recipe"])
    assert float(recipe["accuracy"]) >= 0.80
    assert all(f"| {key} | {value} |" in card for key, value in recipe.items())

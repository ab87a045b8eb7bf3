"""What a run takes, told from cards: weights against the built models."""

from typing import Any

import pytest
from components import default_settings

from glitchtrace.core import registry
from glitchtrace.papers.cincer.cells import loop_memory, part_sizes, weight_count
from glitchtrace.papers.cincer.dense import DenseNetwork
from glitchtrace.papers.cincer.settings import TrainingSettings
from glitchtrace.papers.cincer.stage import build_classifier
from glitchtrace.papers.cincer.torch_classifier import TorchClassifier

MODELS = default_settings("model")
LOOP = default_settings("loop")["interactive"]
NEGOTIATORS = default_settings("negotiator")
SHAPES = {"table": [(2,), (30,)], "image": [(28, 28), (11, 14), (32, 32, 3)]}


@pytest.mark.parametrize("model", [name for name in MODELS if "loop" in registry.card("model", name)])
@pytest.mark.parametrize("changes", [{}, {"hidden": [7, 6, 5]}])
def test_weights_are_those_of_the_built_model(model: str, changes: dict[str, Any]) -> None:
    settings = {**MODELS[model], **(changes if model == "fullnet" else {})}
    for modality in registry.card("model", model)["modalities"]:
        for shape in SHAPES[modality]:
            built = build_classifier(
                model, settings, shape=shape, classes=3, training=TrainingSettings(epochs=1)
            )
            if isinstance(built, DenseNetwork):
                weights = built.parameters.size
            else:
                assert isinstance(built, TorchClassifier)
                trained = built.network.trained
                weights = sum(built.network.get_parameter(name).numel() for name in trained)
            assert weight_count(model, settings, shape, 3) == weights, shape


@pytest.mark.parametrize(
    ("model", "dataset", "weights"),
    [
        ("convnet", "mnist", 515_146),
        ("fullnet", "mnist", 52_650),
        ("fullnet", "breast_cancer", 4_130),
        ("fullnet", "adult", 8_866),
        ("fullnet", "wine", 3_075),
        ("fullnet", "newsgroups", 9_204),
    ],
)
def test_published_models_have_the_published_numbers_of_weights(
    model: str, dataset: str, weights: int
) -> None:
    card = registry.card("dataset", dataset)
    assert weight_count(model, MODELS[model], card["shape"], card["classes"]) == weights


def test_parts_are_official_or_a_fifth_for_testing() -> None:
    official = {"train": 11314, "test": 7532}
    assert part_sizes(official, "official") == (11314, 7532)
    assert part_sizes(official, "pooled") == (15076, 3770)
    assert part_sizes({"all": 569}, "official") == part_sizes({"all": 569}, "pooled") == (455, 114)


def memory(dataset: str, model: str, bits: int, **changes: Any) -> int:
    negotiator = changes.pop("negotiator", "top_fisher")
    return loop_memory(
        dataset=dataset,
        model=model,
        model_settings=MODELS[model],
        protocol={**LOOP, "bits": bits, **changes.pop("protocol", {})},
        noise=changes.pop("noise", "random"),
        negotiators={negotiator: {**NEGOTIATORS[negotiator], **changes}},
    )


@pytest.mark.parametrize(
    ("dataset", "model", "bits", "peak"),
    [
        ("breast_cancer", "fullnet", 32, 251),
        ("newsgroups", "fullnet", 64, 193),
        ("adult", "fullnet", 64, 247),
        ("mnist", "fullnet", 32, 414),
        ("cifar10", "fullnet", 32, 1052),
        ("cifar10", "fullnet", 64, 1755),
        ("mnist", "convnet", 32, 1325),
        ("mnist", "convnet", 64, 1614),
        ("cifar10", "convnet", 32, 1696),
        ("cifar10", "convnet", 64, 2702),
    ],
)
def test_memory_covers_the_measured_peak_without_waste(
    dataset: str, model: str, bits: int, peak: int
) -> None:
    assert peak <= memory(dataset, model, bits) <= 1.2 * peak + 150


def test_memory_follows_noise_split_and_negotiator() -> None:
    plain = memory("mnist", "fullnet", 32)
    # Peak of a job whose noise trains on all samples: 749 MiB.
    assert 749 <= memory("mnist", "fullnet", 32, noise="max_margin") <= 1000
    assert memory("mnist", "fullnet", 32, protocol={"split": "pooled"}) < plain
    convolutional = memory("mnist", "convnet", 32)
    # 97 samples with 10 classes are 2.0 GB, twice.
    fisher = memory("mnist", "convnet", 32, negotiator="full_fisher", sample=97)
    assert fisher - convolutional == pytest.approx(2 * 970 * 515_146 * 4 / 2**20, abs=1)
    assert memory("mnist", "fullnet", 32, negotiator="full_fisher") == plain

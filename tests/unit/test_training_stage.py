import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.cells import load_cell
from glitchtrace.glitches.kinds import Kind
from glitchtrace.influence.factors import load_factors
from glitchtrace.models.network import Network
from glitchtrace.models.resnet20 import ResNet20
from glitchtrace.training import trunk as trunk_module
from glitchtrace.training.checkpoints import read_checkpoints
from glitchtrace.training.cross_fitting import cross_fit, cross_validate, folds_of
from glitchtrace.training.evaluation import evaluate
from glitchtrace.training.stage import build, fit_cell, train_cell, view

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
CLASSES = 3
TRAINING = {"learning_rate": 0.05, "batch_size": 16, "epochs": 3}
MODELS = {
    "linear": {},
    "mlp": {"hidden": [7]},
    "resnet20": {"weights": "random"},
    "resnet20@frozen": {"weights": "random", "trainable_layers": [], "freeze_bn_stats": True},
}


@pytest.fixture(scope="module")
def cell_files(tmp_path_factory):
    """A source of 8 × 8 pictures under the name mnist, its split, and labels with three kinds of sample."""
    folder = tmp_path_factory.mktemp("cell")
    source = folder / "sources" / "mnist"
    source.mkdir(parents=True)
    random = np.random.default_rng(0)
    labels = np.arange(90) % CLASSES
    pictures = (random.integers(0, 60, (90, 8, 8)) + 60 * labels[:, None, None]).astype(np.uint8)
    np.save(source / "features.npy", pictures)
    np.save(source / "labels.npy", labels)
    description = {
        "modality": "image",
        "classes": ["a", "b", "c"],
        "parts": {"all": [0, 90]},
        "columns": None,
    }
    (source / "source.json").write_text(json.dumps({**description, "checksums": {}}))
    rows = random.permutation(90)
    split = pd.DataFrame({"row": rows, "part": ["train"] * 50 + ["validation"] * 25 + ["test"] * 15})
    split["label"] = labels[rows]
    split.to_parquet(folder / "split.parquet")
    glitch = pd.DataFrame({"source": "mnist", "row": rows[:50], "label": labels[rows[:50]]})
    glitch["true_label"] = glitch["source_label"] = glitch["label"]
    glitch["kind"] = np.int8(Kind.CLEAN)
    glitch.loc[[3, 8, 20], "kind"] = np.int8(Kind.MISLABELLED)
    glitch.loc[[3, 8, 20], "label"] = (glitch.loc[[3, 8, 20], "label"] + 1) % CLASSES
    glitch.loc[[5, 30], "kind"] = np.int8(Kind.ANOMALOUS)
    glitch.to_parquet(folder / "glitch.parquet")
    return {
        "features": [source / "features.npy"],
        "split": folder / "split.parquet",
        "glitch": folder / "glitch.parquet",
        "dataset": "mnist",
    }


def complete(model: str) -> dict:
    settings = registry.settings("model", model)
    return {key: fragment["default"] for key, fragment in settings.items()} | MODELS[model]


def outputs(folder):
    return {
        "checkpoints": folder / "checkpoints.safetensors",
        "factors": folder / "factors.safetensors",
        "history": folder / "history.parquet",
    }


def run(cell_files, folder, model, **changed):
    options = {
        "settings": complete(model),
        "training": TRAINING,
        "seed": 0,
        "evaluation_batch": 20,
        **changed,
    }
    train_cell(**cell_files, **outputs(folder), model=model, **options)
    return outputs(folder)


@pytest.fixture(scope="module", params=MODELS)
def trained(request, cell_files, tmp_path_factory):
    """Model, cell and the three files of one training of each model."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    files = run(cell_files, tmp_path_factory.mktemp("trained"), request.param)
    torch.set_num_threads(threads)
    return request.param, load_cell(**cell_files, view=view(request.param)), files


def test_the_last_checkpoint_gives_the_last_factors(trained):
    model, cell, files = trained
    tensors = load_file(files["factors"])
    network = build(cell, model, complete(model))
    for epoch, checkpoint in enumerate(read_checkpoints(files["checkpoints"]), start=1):
        network.restore(checkpoint)
        for part, samples in (("train", cell.train), ("validation", cell.validation)):
            found = evaluate(network, samples, batch_size=20, device=CPU)
            key = f"{part}/features" if network.frozen_features else f"{part}/features/{epoch:03d}"
            np.testing.assert_allclose(tensors[key], found.features, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(
                tensors[f"{part}/probabilities/{epoch:03d}"], found.probabilities, rtol=1e-5, atol=1e-6
            )


def test_each_fold_is_predicted_by_the_network_of_the_others(trained):
    model, cell, _ = trained
    options = {
        "model": model,
        "settings": complete(model),
        "training": TRAINING,
        "seed": 0,
        "evaluation_batch": 20,
    }
    found = cross_validate(cell, **options, folds=2)
    fold = folds_of(cell.train_labels, 2, 0)
    for number in range(2):
        network = fit_cell(cell, cell.train_labels, fold != number, **options)
        expected = evaluate(network, cell.train, batch_size=20, device=CPU).probabilities
        np.testing.assert_allclose(found[fold == number], expected[fold == number], rtol=1e-5, atol=1e-6)
        assert not np.allclose(found[fold != number], expected[fold != number], rtol=1e-5, atol=1e-6)


def test_the_factors_have_the_layout_of_the_contract(trained):
    _, cell, files = trained
    tensors = load_file(files["factors"])
    assert tensors["learning_rates"].dtype == np.float64
    np.testing.assert_array_equal(tensors["learning_rates"], [0.05] * 3)
    np.testing.assert_array_equal(tensors["batch_size"], [16])
    np.testing.assert_array_equal(tensors["train/labels"], cell.train_labels)
    np.testing.assert_array_equal(tensors["validation/labels"], cell.validation_labels)
    factors = load_factors(files["factors"])
    assert factors.epochs == 3
    assert factors.dtype == np.float32
    model = trained[0]
    assert factors.frozen == build(cell, model, complete(model)).frozen_features


def test_the_history_is_brute_force_over_the_factors(trained):
    _, cell, files = trained
    tensors = load_file(files["factors"])
    history = pd.read_parquet(files["history"])
    columns = ["epoch", "learning_rate", "part", "kind", "count", "accuracy", "loss"]
    assert list(history.columns) == columns
    kinds = {"all": range(50), "mislabelled": [3, 8, 20], "anomalous": [5, 30]}
    kinds["clean"] = [i for i in range(50) if cell.kinds[i] == Kind.CLEAN]
    groups = {("train", kind): members for kind, members in kinds.items()} | {
        ("validation", "all"): range(25)
    }
    labels = {"train": cell.train_labels, "validation": cell.validation_labels}
    assert len(history) == 3 * len(groups)
    for row in history.to_dict("records"):
        members, observed = groups[row["part"], row["kind"]], labels[row["part"]]
        p = tensors[f"{row['part']}/probabilities/{row['epoch']:03d}"]
        assert row["count"] == len(members)
        assert row["accuracy"] == pytest.approx(np.mean([p[i].argmax() == observed[i] for i in members]))
        assert row["loss"] == pytest.approx(-np.mean([np.log(p[i, observed[i]]) for i in members]), rel=1e-4)
        assert row["learning_rate"] == 0.05


def test_the_training_learns(trained):
    history = pd.read_parquet(trained[2]["history"])
    clean = history[(history["part"] == "train") & (history["kind"] == "clean")].set_index("epoch")
    assert clean.loc[3, "loss"] < clean.loc[1, "loss"]


def test_refitting_on_the_observed_labels_gives_the_last_checkpoint(trained):
    model, cell, files = trained
    options = {"settings": complete(model), "training": TRAINING, "seed": 0, "evaluation_batch": 20}
    network = fit_cell(cell, cell.train_labels, np.ones(50, dtype=bool), model=model, **options)
    assert not network.training
    for name, tensor in read_checkpoints(files["checkpoints"])[-1].items():
        np.testing.assert_array_equal(network.checkpoint()[name], tensor, err_msg=name)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(cell_files, tmp_path):
    first = run(cell_files, tmp_path / "first", "mlp")
    second = run(cell_files, tmp_path / "second", "mlp")
    other = run(cell_files, tmp_path / "other", "mlp", seed=1)
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes()
        assert path.read_bytes() != other[name].read_bytes()


def test_freezing_the_statistics_changes_the_factors(cell_files, tmp_path):
    drifting = load_file(run(cell_files, tmp_path / "a", "resnet20")["factors"])
    settings = {**complete("resnet20"), "freeze_bn_stats": True}
    frozen = load_file(run(cell_files, tmp_path / "b", "resnet20", settings=settings)["factors"])
    difference = np.abs(drifting["train/probabilities/003"] - frozen["train/probabilities/003"])
    assert difference.max() > 1e-3


def test_statistics_of_frozen_layers_drift_from_epoch_to_epoch(cell_files, tmp_path):
    states = read_checkpoints(run(cell_files, tmp_path, "resnet20")["checkpoints"])
    assert not np.array_equal(states[0]["layer1.0.bn1.running_mean"], states[1]["layer1.0.bn1.running_mean"])
    assert "layer1.0.bn1.weight" not in states[0]


def test_a_frozen_network_is_passed_once(cell_files, monkeypatch):
    """Its features are computed once per part, whatever the number of epochs."""
    from glitchtrace.models.resnet20 import ResNet20

    passed = []
    features = ResNet20.features
    monkeypatch.setattr(ResNet20, "features", lambda self, x: passed.append(len(x)) or features(self, x))
    cell = load_cell(**cell_files, view="pictures")
    options = {
        "settings": complete("resnet20@frozen"),
        "training": TRAINING,
        "seed": 0,
        "evaluation_batch": 20,
    }
    fit_cell(cell, cell.train_labels, np.arange(50), model="resnet20@frozen", **options)
    assert sum(passed) == 50


@pytest.mark.parametrize("keep", [np.arange(50) % 2 == 0, np.arange(0, 50, 2)])
def test_refitting_uses_the_kept_rows_and_given_labels_only(cell_files, keep):
    cell = load_cell(**cell_files, view="vector")
    options = {
        "settings": complete("mlp"),
        "training": TRAINING,
        "seed": 0,
        "evaluation_batch": 20,
        "model": "mlp",
    }
    labels = (cell.train_labels + 1) % CLASSES
    first = fit_cell(cell, labels, keep, **options).checkpoint()
    noise = labels.copy()
    noise[1::2] = 0
    second = fit_cell(cell, noise, keep, **options).checkpoint()
    observed = fit_cell(cell, cell.train_labels, keep, **options).checkpoint()
    np.testing.assert_array_equal(first["head.weight"], second["head.weight"])
    assert not np.array_equal(first["head.weight"], observed["head.weight"])


@pytest.mark.parametrize("model", ["linear", "resnet20"])
def test_a_diverged_training_writes_nothing(cell_files, tmp_path, model):
    with pytest.raises(GlitchtraceError, match="training diverged in epoch"):
        run(cell_files, tmp_path, model, training={**TRAINING, "learning_rate": 1e38})
    assert not list(tmp_path.iterdir())


class Built(Network):
    """A network of somebody's own, right but for what a test gives it."""

    def __init__(self, outputs=CLASSES, layers=("head",), frozen=False, width=5, bias=True):
        super().__init__()
        self.hidden, self.head = torch.nn.Linear(16, 5), torch.nn.Linear(width, outputs, bias)
        self.train_only(layers)
        self.frozen_features = frozen

    def features(self, x):
        return self.hidden(x.flatten(1)[:, :16])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, "build returned NoneType"),
        (lambda: torch.nn.Linear(2, CLASSES), "build returned Linear"),
        (lambda: Built(outputs=CLASSES + 1), f"its head has {CLASSES + 1} outputs for {CLASSES} classes"),
        (lambda: Built(bias=False), "its head has no bias, which the influence counts"),
        (lambda: Built(layers=()), "no parameter is trained"),
        (
            lambda: Built(layers=("hidden", "head"), frozen=True),
            "frozen_features is True, but hidden.weight is",
        ),
        (lambda: Built(width=6), r"Built: features has the shape \(\d+, 5\), its head takes \(…, 6\)"),
        (lambda: Built(width=6, frozen=True), r"Built: features has the shape \(\d+, 5\), its head takes"),
    ],
)
def test_a_network_of_ones_own_is_checked(cell_files, tmp_path, monkeypatch, make, message):
    own = type("Own", (), {"build": staticmethod(lambda *_: make())})
    monkeypatch.setattr(registry, "load", lambda kind, name: own)
    with pytest.raises(GlitchtraceError, match=message):
        run(cell_files, tmp_path, "mlp")
    assert not list(tmp_path.iterdir())


def test_an_unknown_model_and_a_missing_gpu_are_one_line(cell_files, tmp_path, monkeypatch):
    with pytest.raises(GlitchtraceError, match="unknown model 'resnet2'"):
        train_cell(
            **cell_files,
            **outputs(tmp_path),
            model="resnet2",
            settings={},
            training=TRAINING,
            seed=0,
            evaluation_batch=20,
        )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(GlitchtraceError, match="device: cuda, but torch finds no GPU"):
        run(cell_files, tmp_path, "linear", device="cuda")
    assert not list(tmp_path.iterdir())


def test_auto_takes_the_processor_where_there_is_no_gpu(cell_files, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    first = run(cell_files, tmp_path / "cpu", "linear", device="cpu")
    second = run(cell_files, tmp_path / "auto", "linear", device="auto")
    assert first["factors"].read_bytes() == second["factors"].read_bytes()


# --- cells that share their trunk -----------------------------------------------------------------------------------

TRUNKS = {
    "published": {},
    "two blocks": {"trainable_layers": ["layer3.1"]},
    "head": {"trainable_layers": []},
    "fixed statistics": {"freeze_bn_stats": True},
}


@pytest.fixture
def own_files(cell_files, tmp_path):
    """The cell in a results folder of its own."""
    shutil.copytree(cell_files["split"].parent / "sources", tmp_path / "sources")
    return {**cell_files, "features": [tmp_path / "sources/mnist/features.npy"]}


@pytest.mark.parametrize("trained", TRUNKS)
def test_cells_on_a_shared_trunk_have_the_bytes_of_cells_alone(own_files, tmp_path, trained, monkeypatch):
    settings = {**complete("resnet20"), **TRUNKS[trained]}
    options = {"settings": settings, "training": TRAINING, "seed": 0, "evaluation_batch": 20}
    other = pd.read_parquet(own_files["glitch"])
    other["label"] = (other["label"] + 1) % CLASSES
    other.to_parquet(tmp_path / "other.parquet")
    cells = {"first": own_files, "second": {**own_files, "glitch": tmp_path / "other.parquet"}}
    alone = {
        name: run(cell, tmp_path / name / "alone", "resnet20", **options) for name, cell in cells.items()
    }
    assert not (tmp_path / "shared").exists()
    passed = []
    trunk = ResNet20.trunk
    monkeypatch.setattr(ResNet20, "trunk", lambda self, x: passed.append(len(x)) or trunk(self, x))
    for name, cell in cells.items():
        found = run(cell, tmp_path / name / "shared", "resnet20", **options, share=True)
        for file, path in alone[name].items():
            assert path.read_bytes() == found[file].read_bytes(), (name, file)
        # Three epochs of 50 samples in training and 75 in evaluation, and one picture to know the form.
        assert sum(passed) == (3 * 125 + 1 if name == "first" else 1)
        passed.clear()
    data = load_cell(**own_files, view="pictures")
    labels = (data.train_labels + 1) % CLASSES
    for kept, looked_at in ((np.ones(50, dtype=bool), 1), (np.arange(50) > 4, 0)):  # the second cannot share
        first, second = (
            fit_cell(data, labels, kept, model="resnet20", **options, shared=folder)
            for folder in (None, tmp_path / "shared")
        )
        for name, tensor in first.checkpoint().items():
            np.testing.assert_array_equal(second.checkpoint()[name], tensor, err_msg=name)
        assert sum(passed) == looked_at
        passed.clear()


def test_a_trunk_that_is_damaged_or_of_other_pictures_is_not_used(own_files, tmp_path):
    alone = run(own_files, tmp_path / "alone", "resnet20")
    first = run(own_files, tmp_path / "first", "resnet20", share=True)
    (kept,) = (tmp_path / "shared").glob("*/trunk.npy")
    content = bytearray(kept.read_bytes())
    content[5000] ^= 1
    kept.write_bytes(content)
    second = run(own_files, tmp_path / "second", "resnet20", share=True)
    for name, path in alone.items():
        assert path.read_bytes() == first[name].read_bytes() == second[name].read_bytes()
    run(own_files, tmp_path / "seed", "resnet20", share=True, seed=1)
    assert len(list((tmp_path / "shared").glob("*/trunk.npy"))) == 2
    table = pd.read_parquet(own_files["glitch"])
    table.loc[[0, 1], "row"] = table.loc[[1, 0], "row"].to_numpy()
    table.to_parquet(tmp_path / "moved.parquet")
    run({**own_files, "glitch": tmp_path / "moved.parquet"}, tmp_path / "moved", "resnet20", share=True)
    assert len(list((tmp_path / "shared").glob("*/trunk.npy"))) == 2


def test_the_longest_unused_trunk_gives_way(own_files, tmp_path, monkeypatch):
    def kept() -> set:
        return {path.parent for path in (tmp_path / "shared").glob("*/trunk.npy")}

    size = 4 * 3 * 125 * 64 * 2 * 2
    monkeypatch.setattr(trunk_module, "TOGETHER", 2 * size + 4000)
    # What is left of a trunk that another job is about to remove.
    (tmp_path / "shared/half").mkdir(parents=True)
    (tmp_path / "shared/half/trunk.safetensors").touch()
    run(own_files, tmp_path / "cell", "resnet20", share=True, seed=0)
    zero = kept()
    for seed in (1, 0, 2):
        run(own_files, tmp_path / "cell", "resnet20", share=True, seed=seed)
    assert len(kept()) == 2
    assert kept() > zero
    monkeypatch.setattr(trunk_module, "LARGEST", size - 1)
    before = kept()
    run(own_files, tmp_path / "cell", "resnet20", share=True, seed=3)
    assert kept() == before


def test_cells_share_the_features_of_a_network_that_is_frozen_as_a_whole(own_files, tmp_path, monkeypatch):
    """Both trainings and both cross-fits take the pictures that the first of them has passed, to the same bits."""
    settings = {**complete("resnet20"), "trainable_layers": [], "freeze_bn_stats": True}
    options = {"settings": settings, "training": TRAINING, "seed": 0, "evaluation_batch": 20}
    other = pd.read_parquet(own_files["glitch"])
    other["label"] = (other["label"] + 1) % CLASSES
    other.to_parquet(tmp_path / "other.parquet")
    moved = pd.read_parquet(own_files["glitch"])
    moved.loc[[0, 1], "row"] = moved.loc[[1, 0], "row"].to_numpy()
    moved.to_parquet(tmp_path / "moved.parquet")
    passed = []
    features = ResNet20.features
    monkeypatch.setattr(ResNet20, "features", lambda self, x: passed.append(len(x)) or features(self, x))

    def made(cell, folder, **more):
        passed.clear()
        files = run(cell, folder, "resnet20", **options, **more)
        cross_fit(**cell, out_of_fold=folder / "fold", model="resnet20", **options, **more)
        return [path.read_bytes() for path in (*files.values(), folder / "fold")], sum(passed)

    for name, glitch, by_itself, together in (
        ("first", own_files["glitch"], 125, 75),
        ("second", tmp_path / "other.parquet", 125, 0),
        ("moved", tmp_path / "moved.parquet", 125, 125),
    ):
        cell = {**own_files, "glitch": glitch}
        alone, count = made(cell, tmp_path / name / "alone")
        assert count == by_itself, name
        assert made(cell, tmp_path / name / "shared", share=True) == (alone, together), name

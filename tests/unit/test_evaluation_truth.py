"""Training again without some samples, and what an estimator foretold of it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.datasets import load_iris

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.cells import load_cell
from glitchtrace.evaluation import truth
from glitchtrace.influence.metagradient_networks import record_training
from glitchtrace.influence.stage import compute_influence
from glitchtrace.training.sgd import steps
from glitchtrace.training.stage import build, train_cell

TRAINING = {"learning_rate": 0.1, "batch_size": 8, "epochs": 3}
SETTINGS = {"linear": {"head_seed": 42}, "mlp": {"hidden": [6], "head_seed": 42}}
TRAIN, VALIDATION = 40, 12


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The files of a small cell."""
    folder = tmp_path_factory.mktemp("truth")
    iris = load_iris()
    source = folder / "sources/iris"
    files.write_npy(iris.data.astype(np.float32), source / "features.npy")
    files.write_npy(iris.target.astype(np.int64), source / "labels.npy")
    about = {"modality": "table", "classes": list("abc"), "parts": {"all": [0, 150]}}
    files.write_json(about, source / "source.json")
    rows = np.random.default_rng(0).permutation(150)
    parts = np.repeat(["train", "validation", "test"], [TRAIN, VALIDATION, 150 - TRAIN - VALIDATION])
    split = pd.DataFrame({"row": rows, "part": parts, "label": iris.target[rows]})
    files.write_parquet(split, folder / "split.parquet")
    labels = iris.target[rows[:TRAIN]]
    table = pd.DataFrame({"source": "iris", "row": rows[:TRAIN], "label": labels, "true_label": labels})
    files.write_parquet(
        table.assign(source_label=labels, kind=np.int8(0), proposed_label=-1), folder / "glitch.parquet"
    )
    return {
        "features": [source / "features.npy"],
        "split": folder / "split.parquet",
        "glitch": folder / "glitch.parquet",
        "dataset": "iris",
    }


@pytest.mark.parametrize("model", SETTINGS)
def test_the_truth_is_training_again_and_the_metagradient_foretells_it(
    model: str, place: dict[str, object], tmp_path: Path
) -> None:
    common = {**place, "model": model, "training": TRAINING, "seed": 3}
    trained = {name: tmp_path / f"{name}.safetensors" for name in ("checkpoints", "factors")}
    train_cell(
        **common,
        **trained,
        settings=SETTINGS[model],
        history=tmp_path / "history.parquet",
        evaluation_batch=50,
    )
    common |= {"model_settings": SETTINGS[model], "checkpoints": trained["checkpoints"]}
    path = tmp_path / "truth.safetensors"
    truth.retrain_subsets(**common, truth=path, subsets=8, left_out=10)
    found = files.read_tensors(path)
    assert found["removed_0.1"].shape == (8, 4)
    assert found["varied_0.5"].shape == (8, VALIDATION)
    assert len(set(found["left_out"])) == 10
    # One of each, by the recorded training, which runs alone.
    cell = load_cell(**place, view="vector")
    for name, order, number, removed in (
        ("fixed_0.1", "loader", 0, found["removed_0.1"][0]),
        ("varied_0.1", "loader 9", 9, found["removed_0.1"][0]),
        ("fixed_one", "loader", 0, found["left_out"][:1]),
    ):
        network = build(cell, model, {**SETTINGS[model], "head_seed": 42 + number})
        weights = np.ones(TRAIN)
        weights[removed] = 0
        batches = steps(3, TRAIN, 3, 8, draw=order)
        record = record_training(
            network, cell.train, cell.train_labels, batches, np.full(len(batches), 0.1), weights=weights
        )
        for parameter, value in zip(network.trained_parameters(), record.last, strict=True):
            parameter.data.copy_(value)
        logits = network(cell.validation.batch(slice(None))).detach().double().numpy()
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(VALIDATION), cell.validation_labels]
        np.testing.assert_allclose(found[name][0], losses, rtol=2e-5, atol=2e-6)
    compute_influence(
        **common,
        factors=trained["factors"],
        influence=tmp_path / "j.npy",
        estimator="metagradient",
        settings={},
    )
    truth.measure_truth(truth=path, influence=tmp_path / "j.npy", fidelity=tmp_path / "truth.parquet")
    table = files.read_parquet(tmp_path / "truth.parquet")
    means = table.groupby(["measure", "removed", "order"])["value"].mean()
    assert means["lds", "0.1", "fixed"] > 0.9
    assert means["loo_query", "one", "fixed"] > 0.95
    assert means["loo_sample", "one", "fixed"] > 0.95
    assert len(table) == VALIDATION * 8 + 10
    # The measures themselves.
    matrix = np.load(tmp_path / "j.npy").astype(float)
    foretold = [matrix[rows].sum(axis=0)[2] for rows in found["removed_0.5"]]
    chosen = table[(table["removed"] == "0.5") & (table["order"] == "fixed") & (table["item"] == 2)]
    assert chosen["value"].item() == pytest.approx(spearmanr(foretold, found["fixed_0.5"][:, 2]).statistic)
    chosen = table[(table["measure"] == "loo_query") & (table["order"] == "varied") & (table["item"] == 1)]
    expected = pearsonr(matrix[found["left_out"], 1], found["varied_one"][:, 1].astype(float)).statistic
    assert chosen["value"].item() == pytest.approx(expected)
    # The study's table.
    record = tmp_path / "compute_influence.json"
    files.write_record({"cost": {"cpu_seconds": 1.5, "peak_mib": 30, "seconds": 2}}, record)
    truth.summarise_truth(
        tables=[tmp_path / "truth.parquet"],
        records=[record],
        cells=[{"dataset": "iris"}],
        summary=tmp_path / "s",
    )
    summary = files.read_parquet(tmp_path / "s")
    assert len(summary) == 9
    row = summary[(summary["measure"] == "lds") & (summary["removed"] == "0.1")].iloc[0]
    assert row["mean"] == pytest.approx(means["lds", "0.1", "fixed"])
    assert (row["items"], row["missing"], row["cpu_seconds"]) == (VALIDATION, 0, 1.5)
    # Another training than that of the checkpoints is no truth of it.
    with pytest.raises(GlitchtraceError, match="does not end at its last checkpoint"):
        truth.retrain_subsets(**{**common, "seed": 4}, truth=path, subsets=3, left_out=3)


def test_a_correlation_with_what_does_not_vary_is_missing() -> None:
    first = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 4.0]])
    found = truth.correlations(first, np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 5.0]]))
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(1)


def test_matrix_and_truth_of_other_samples_are_refused(tmp_path: Path) -> None:
    files.write_tensors({"losses": np.zeros(3, np.float32)}, tmp_path / "truth.safetensors")
    files.write_npy(np.zeros((5, 4), np.float32), tmp_path / "j.npy")
    with pytest.raises(GlitchtraceError, match="delete both and run again"):
        truth.measure_truth(
            truth=tmp_path / "truth.safetensors", influence=tmp_path / "j.npy", fidelity=tmp_path / "t"
        )

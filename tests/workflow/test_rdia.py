"""RDIA and RDIA-LS through the workflow: a sparse file and a table, from raw data to figures."""

import collections
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from running import folder_with_config, planned, snakemake

STUDY = {
    "grid": [],
    "rdia": [
        {
            "datasets": ["own_libsvm@small"],
            "glitches": ["uniform"],
            "ratios": [0.8],
            "seeds": [0],
            "relabellings": ["erm", "rdia@alpha_0_002"],
        }
    ],
    "rdia_ls": [
        {
            "datasets": ["iris"],
            "models": ["mlp"],
            "glitches": ["none"],
            "ratios": ["clean"],
            "seeds": [0],
            "selections": ["rdia_ls@tiny"],
        }
    ],
    "datasets": {"own_libsvm@small": {"test_size": 60, "holdout_ratio": 0.3}},
    "selections": {"rdia_ls@tiny": {"epochs": 4, "batch_size": 16, "gamma": None, "gammas": [0.2, 0.5]}},
    "figures": {"formats": ["svg"]},
    "data_root": "data",
}
RUN = ("--cores", "2", "--configfile", "rdia.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the study has run; the sparse file has two classes of rows told apart by two columns."""
    found = folder_with_config(tmp_path_factory.mktemp("rdia"))
    (found / "rdia.yaml").write_text(yaml.safe_dump(STUDY))
    (found / "data/LIBSVM").mkdir(parents=True)
    labels = np.random.default_rng(0).permutation(np.repeat([-1, 1], 120))
    lines = [f"{label:+d} {1 if label < 0 else 2}:1 {10 + row}:0.5\n" for row, label in enumerate(labels)]
    (found / "data/LIBSVM/own").write_text("".join(lines))
    snakemake(found, "rdia", "rdia_ls", *RUN)
    return found


def test_a_sparse_file_becomes_gains_tables_and_figures(folder: Path) -> None:
    assert (folder / "results/sources/own_libsvm/features.npz").is_file()
    assert not (folder / "results/sources/own_libsvm/features.npy").exists()
    cell = folder / "results/own_libsvm@small/logistic/uniform-0.8/seed-0/rdia"
    gain = pd.read_parquet(cell / "rdia@alpha_0_002/gain.parquet").set_index("part")
    plain = pd.read_parquet(cell / "erm/gain.parquet").set_index("part")
    assert plain.loc["test", "accuracy"] == 0
    assert gain.loc["test", "accuracy"] == 1
    study = folder / "results/studies/rdia"
    assert set(pd.read_parquet(study / "rdia.parquet")["relabelling"]) == {"erm", "rdia@alpha_0_002"}
    table = pd.read_csv(study / "tables/rdia.csv")
    assert table["name"].tolist() == ["ERM", "RDIA, α = 0.002"]
    assert (study / "figures/rdia.svg").is_file()
    thresholds = pd.read_csv(study / "tables/rdia_thresholds.csv")
    assert thresholds[["alpha", "dataset"]].values.tolist() == [[0.002, "own_libsvm@small"]]
    assert thresholds["log_loss_at_0.8"].item() == pytest.approx(gain.loc["test", "log_loss"], rel=1e-4)
    baselines = pd.read_csv(study / "tables/rdia_baselines.csv")
    assert baselines["relabelling"].tolist() == ["erm", "rdia@alpha_0_002"]
    assert baselines["accuracy_at_0.8"].tolist() == [0, 1]


def test_thresholds_are_asked_of_a_study_that_gives_some(folder: Path) -> None:
    chosen = {**STUDY, "rdia": [{**STUDY["rdia"][0], "relabellings": ["rdia"]}]}
    (folder / "chosen.yaml").write_text(yaml.safe_dump(chosen))
    for target in ("rdia_thresholds", "rdia_baselines"):
        options = ("--cores", "1", "--dry-run", "--configfile", "chosen.yaml")
        refused = snakemake(folder, target, *options, check=False)
        message = f"target {target}: the configuration has no runs for it; add --configfile"
        assert f"{message} config/studies/rdia_mnist17.yaml" in refused.stdout + refused.stderr
    jobs = planned(folder, "rdia", "--configfile", "chosen.yaml")
    assert not {"tabulate_rdia_thresholds", "tabulate_rdia_baselines"} & set(jobs)


def test_clean_data_train_without_nan_and_are_drawn(folder: Path) -> None:
    history = pd.read_parquet(folder / "results/studies/rdia/rdia_ls.parquet")
    assert history["epoch"].tolist() == [0, 1, 2, 3]
    assert history["test_accuracy"].between(0, 1).all()
    assert (history["pure_ratio"].dropna() == 1).all()
    assert history["gamma"].isin([0.2, 0.5]).all()
    assert (folder / "results/studies/rdia/figures/rdia_ls.svg").is_file()
    assert pd.read_csv(folder / "results/studies/rdia/tables/rdia_ls.csv")["epochs"].tolist() == [4]


def test_a_second_call_has_nothing_to_do_and_one_method_can_be_made_again(folder: Path) -> None:
    assert planned(folder, "rdia", "rdia_ls", "--configfile", "rdia.yaml") == collections.Counter()
    cell = folder / "results/own_libsvm@small/logistic/uniform-0.8/seed-0/rdia/erm/gain.parquet"
    content = cell.read_bytes()
    cell.unlink()
    jobs = planned(folder, "rdia", "--configfile", "rdia.yaml")
    assert {rule: jobs[rule] for rule in ("relabel_rdia", "measure_rdia", "fetch_sparse_data")} == {
        "relabel_rdia": 1,
        "measure_rdia": 0,
        "fetch_sparse_data": 0,
    }
    cell.write_bytes(content)

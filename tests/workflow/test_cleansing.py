"""Data cleansing and the fidelity study through the workflow: from raw data to the gains and figures."""

import collections
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from running import folder_with_config, planned, snakemake

STUDY = {
    "grid": [],
    "cleansing": [
        {
            "datasets": ["digits@few"],
            "models": ["linear@brief"],
            "glitches": ["uniform"],
            "ratios": [0.2],
            "seeds": [0],
            "protocols": ["sgd@last"],
            "cleansing_methods": ["sgd_last", "random"],
            "removals": [0, 10],
        }
    ],
    "fidelity": [{"fidelity_tasks": ["digits_3_8"], "networks": ["logistic_regression"], "seeds": [0]}],
    "datasets": {"digits@few": {"subset_size": 100, "test_size": 50}},
    "models": {
        "linear@brief": {"training": {"default": {"learning_rate": 0.1, "batch_size": 16, "epochs": 2}}}
    },
    "protocols": {"sgd@last": {"snapshots": "last"}},
    "figures": {"formats": ["svg"]},
}
RUN = ("cleansing", "--configfile", "cleansing.yaml")
TRAINED = "results/digits@few/linear@brief/uniform-0.2/seed-0/cleansing/sgd@last"
CLEANSED = "results/studies/cleansing/cleansing/digits@few/linear@brief/uniform-0.2/seed-0/sgd@last"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the study has run."""
    found = folder_with_config(tmp_path_factory.mktemp("cleansing"))
    (found / "cleansing.yaml").write_text(yaml.safe_dump(STUDY))
    done = snakemake(found, *RUN, "--cores", "2")
    # The folder of the study's cleansing is not asked for as that of a dataset.
    assert "Traceback" not in done.stdout + done.stderr
    return found


def test_a_recorded_training_becomes_removals_gains_and_figures(folder: Path) -> None:
    removal = pd.read_parquet(folder / CLEANSED / "removal-last.parquet")
    assert set(removal["method"]) == {"sgd_last", "random"}
    assert set(removal["removed"]) == {0, 10}
    scores = pd.read_parquet(folder / CLEANSED / "scores.parquet")
    kinds = pd.read_parquet(folder / "results/digits@few/uniform-0.2/seed-0/glitch.parquet")["kind"]
    first = scores[(scores["method"] == "sgd_last") & (scores["rank"] < 10)]["sample"]
    counted = removal[(removal["method"] == "sgd_last") & (removal["removed"] == 10)]["glitched"]
    assert set(counted) == {(kinds.to_numpy()[first] != 0).sum()}
    study = folder / "results/studies/cleansing"
    assert set(pd.read_parquet(study / "cleansing/gain.parquet")["against"]) == {"none", "random"}
    for name in ("cleansing", "cleansing-cost", "fidelity"):
        assert (study / f"figures/{name}.svg").is_file()
        assert (study / f"tables/{name}.csv").is_file()


def test_every_job_that_measures_leaves_a_record(folder: Path) -> None:
    fidelity = "results/studies/cleansing/fidelity/digits_3_8"
    for path, stage in (
        (f"{TRAINED}/record_training.json", "record_training"),
        (f"{CLEANSED}/score_cleansing.json", "score_cleansing"),
        (f"{CLEANSED}/remove_and_retrain-last.json", "remove_and_retrain"),
        (f"{fidelity}/measure_fidelity-logistic_regression.json", "measure_fidelity"),
    ):
        record = json.loads((folder / path).read_text())
        assert record["stage"] == stage
        assert record["code"]
        assert record["versions"]


def test_long_jobs_say_in_their_logs_how_far_they_are(folder: Path) -> None:
    logs = folder / "results/logs"
    cell = "digits@few/linear@brief/uniform-0.2/seed-0/sgd@last"
    for path, words in (
        (f"{cell}/record_training.log", "2/2"),
        (f"cleansing/results/studies/cleansing/{cell}/score_cleansing.log", "sgd_last"),
        (f"cleansing/results/studies/cleansing/{cell}/remove_and_retrain-last.log", "sgd_last without 10 of"),
        ("fidelity/results/studies/cleansing/digits_3_8/logistic_regression.log", "seed 0"),
    ):
        assert words in (logs / path).read_text(), path


def test_a_second_call_has_nothing_to_do(folder: Path) -> None:
    assert planned(folder, *RUN) == collections.Counter()

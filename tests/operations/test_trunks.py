"""Cells that share their trunk through the workflow: it is passed once, goes when it has served, and nothing reruns."""

from pathlib import Path

import pandas as pd
import yaml
from running import folder_with_config, planned, snakemake

MODEL = "resnet20@random"


def write(folder: Path, ratios: list[float]) -> None:
    """A study of label noise, and of anomalies, which have pictures of their own."""
    common = {"datasets": ["digits@few"], "models": [MODEL], "seeds": [0]}
    study = {
        "grid": [
            {**common, "glitches": ["uniform"], "ratios": ratios},
            {**common, "glitches": ["none"], "ratios": ["clean"]},
            {**common, "glitches": ["far_anomalies"], "ratios": [0.2]},
        ],
        "datasets": {"digits@few": {"subset_size": 50, "test_size": 30}},
        "models": {
            MODEL: {
                "weights": "random",
                "training": {"default": {"learning_rate": 0.1, "batch_size": 16, "epochs": 2}},
            }
        },
        "figures": {"formats": ["svg"]},
    }
    (folder / "trunks.yaml").write_text(yaml.safe_dump(study))


def test_label_noise_is_trained_on_one_pass_of_the_trunk(tmp_path: Path) -> None:
    folder = folder_with_config(tmp_path)
    study = ("--configfile", "trunks.yaml")
    write(folder, [0.2])
    jobs = planned(folder, *study)
    assert (jobs["train"], jobs["retrain"]) == (3, 3)
    snakemake(folder, "--cores", "2", *study)
    assert not (folder / "results/shared").exists()
    assert not planned(folder, *study)
    cell = folder / f"results/digits@few/{MODEL}/uniform-0.2/seed-0"
    before = (cell / "factors.safetensors").read_bytes(), (cell / "tracin/gain.parquet").read_bytes()
    write(folder, [0.1, 0.2])
    jobs = planned(folder, *study)
    assert (jobs["train"], jobs["retrain"]) == (1, 1)
    snakemake(folder, "--cores", "2", *study)
    assert not planned(folder, *study)
    after = (cell / "factors.safetensors").read_bytes(), (cell / "tracin/gain.parquet").read_bytes()
    assert before == after
    assert set(pd.read_parquet(cell / "tracin/gain.parquet")["part"]) == {"validation", "test"}

"""A study on files of one's own: named by path, each variant a source, run again where their content changes."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from running import folder_with_config, planned, snakemake

TRAINING = {"training": {"default": {"learning_rate": 0.1, "batch_size": 16, "epochs": 2}}}


def study(outside: Path, **more: dict) -> dict:
    return {
        "datasets": {
            "table_file@mine": {"path": str(outside / "mine.csv"), "label": "label"},
            "table_file@yours": {"path": str(outside / "yours.csv"), "label": "label"},
            "array_file@theirs": {"path": str(outside / "theirs.npz")},
            **more,
        },
        "models": {"mlp@tiny": TRAINING},
        "grid": [
            {
                "datasets": ["table_file@mine", "table_file@yours", "array_file@theirs"],
                "models": ["mlp@tiny"],
                "glitches": ["uniform"],
                "ratios": [0.2],
                "seeds": [0],
            }
        ],
    }


def test_tables_and_arrays_enter_the_grid_by_path(tmp_path: Path) -> None:
    folder, outside = folder_with_config(tmp_path / "run"), tmp_path / "outside"
    outside.mkdir()
    rng = np.random.default_rng(0)
    for number, name in enumerate(("mine", "yours", "theirs")):
        labels = np.arange(80 + number) % 2
        features = rng.normal(size=(len(labels), 3)) + labels[:, None]
        if name == "theirs":
            np.savez(outside / "theirs.npz", features=features, labels=labels)
        else:
            table = pd.DataFrame(features, columns=["a", "b", "c"]).assign(
                label=np.where(labels, "ill", "well")
            )
            table.to_csv(outside / f"{name}.csv", index=False)
    (folder / "own.yaml").write_text(yaml.safe_dump(study(outside)))
    names = ("table_file@mine", "table_file@yours", "array_file@theirs")
    scores = [f"results/{name}/mlp@tiny/uniform-0.2/seed-0/tracin/scores.parquet" for name in names]
    call = (*scores, "--configfile", "own.yaml")

    snakemake(folder, *call, "--cores", "2")
    assert {path.name for path in (folder / "results/sources").iterdir()} == set(names)
    rows = [len(np.load(folder / f"results/sources/{name}/labels.npy")) for name in names]
    assert rows == [80, 81, 82]
    assert not planned(folder, *call)

    os.utime(outside / "mine.csv")
    assert not planned(folder, *call)
    with open(outside / "mine.csv", "a") as stream:
        stream.write("0.1,0.2,0.3,well\n")
    jobs = planned(folder, *call)
    assert {rule: jobs[rule] for rule in ("fetch_data", "prepare_data", "train", "detect")} == {
        "fetch_data": 1,
        "prepare_data": 1,
        "train": 1,
        "detect": 1,
    }

    (outside / "mine.csv").unlink()
    refused = snakemake(folder, *call, "--cores", "1", "--dry-run", check=False)
    assert refused.returncode
    assert "datasets.table_file@mine.path: there is no" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr

"""Cost of one cell of RDIA, MNIST 1 against 7: fit, influence, relabelling and retraining in one process.

The cell: 9,088 training, 3,895 validation and 2,163 test pictures (tail split), 80 % of the training labels
flipped, C = 0.1, α = 0.0002.  The published program takes 25 s and 800 MB for it.

    GLITCHTRACE_DATA=… python benchmarks/rdia_mnist17.py

prints the CPU seconds of the process after its imports (raw files read and made into a source not included,
cell files read and results written included), its peak memory, and the test log loss.
"""

import json
import tempfile
import time
from pathlib import Path

import pandas as pd
import scipy.linalg
import scipy.sparse
import scipy.stats  # noqa: F401

from glitchtrace.core import registry
from glitchtrace.core.jobs import peak_kib
from glitchtrace.data.fetch import fetch_data
from glitchtrace.data.prepare import prepare_data
from glitchtrace.glitches.stage import inject_glitch
from glitchtrace.papers.rdia.stage import measure_rdia, relabel_rdia

SETTINGS = {"C": 0.1, "units": "code", "solver": "cg", "solver_settings": {}}


def main() -> None:
    """Make the cell's files, then measure the stages of RDIA."""
    registry.load("relabelling", "rdia"), registry.load("learner", "logistic")
    with tempfile.TemporaryDirectory() as name:
        folder, source = Path(name), Path(name) / "sources" / "mnist17"
        paths = {stem: source / stem for stem in ("features.npy", "labels.npy", "source.json")}
        fetch_data(
            dataset="mnist17",
            features=paths["features.npy"],
            labels=paths["labels.npy"],
            description=paths["source.json"],
        )
        split, glitch = folder / "split.parquet", folder / "glitch.parquet"
        prepare_data(
            labels=paths["labels.npy"],
            description=paths["source.json"],
            split=split,
            seed=0,
            settings={"validation_source": "holdout", "holdout_ratio": 0.3, "holdout_order": "tail"},
        )
        inject_glitch(
            split=split,
            labels=[paths["labels.npy"]],
            descriptions=[paths["source.json"]],
            glitch=glitch,
            dataset="mnist17",
            name="uniform",
            ratio="0.8",
            seed=0,
            settings={},
        )
        cell = {"features": [str(paths["features.npy"])], "split": str(split), "glitch": str(glitch)}
        made = {"influence": str(folder / "influence.parquet"), "fit": str(folder / "fit.safetensors")}
        started = time.process_time()
        measure_rdia(**cell, **made, learner="logistic", settings=SETTINGS)
        measured = time.process_time()
        relabel_rdia(
            **cell,
            **made,
            repaired=str(folder / "repaired.parquet"),
            gain=str(folder / "gain.parquet"),
            learner="logistic",
            learner_settings=SETTINGS,
            relabelling="rdia",
            settings={"alpha": 0.0002, "target": "moving"},
            seed=0,
        )
        ended = time.process_time()
        gain = pd.read_parquet(folder / "gain.parquet").set_index("part").loc["test"]
    print(
        json.dumps(
            {
                "fit and influence, CPU seconds": round(measured - started, 2),
                "relabelling and retraining, CPU seconds": round(ended - measured, 2),
                "together": round(ended - started, 2),
                "whole process with imports and raw data": round(time.process_time(), 2),
                "peak MiB": round(peak_kib() / 1024),
                "relabelled": int(gain["relabelled"]),
                "test log loss": round(float(gain["log_loss"]), 4),
            },
            indent=1,
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    main()

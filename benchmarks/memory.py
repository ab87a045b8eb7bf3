"""Memory of the stages of a cell, measured, beside what their rules declare (core/resources.py).

    python benchmarks/memory.py [--table FILE.csv]

Random data of several sizes; each stage in a process of its own with one thread; its peak is VmHWM.  Budgets: what
is declared is within 25 % of the peak, and 1,000 classes at 20,000 training rows take at most 2 GiB.  Ends with
exit status 1 where one is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glitchtrace.core import resources

BUDGET = 0.25
MANY_CLASSES_MIB = 2048


@dataclass(frozen=True)
class Size:
    """A cell: training and validation rows, columns, classes, epochs."""

    rows: int
    validation: int
    columns: int
    classes: int
    epochs: int


# What the constants of core/resources.py were fitted on, and what was measured after they were fixed.
SIZES = {
    "fitted": (
        Size(1000, 250, 10, 2, 5),
        Size(5000, 1250, 64, 10, 5),
        Size(5000, 1250, 64, 10, 100),
        Size(20_000, 5000, 64, 100, 5),
        Size(20_000, 5000, 64, 1000, 5),
        Size(20_000, 5000, 768, 10, 7),
        Size(60_000, 10_000, 784, 10, 7),
    ),
    "held out": (
        Size(2000, 500, 30, 20, 30),
        Size(8000, 2000, 200, 50, 10),
        Size(12_000, 4000, 16, 300, 3),
        Size(30_000, 3000, 512, 2, 20),
        Size(40_000, 8000, 128, 200, 4),
    ),
}
# Rows above which the detectors beyond the signals take minutes, and are not measured.
MOST_ROWS_OF_ALL = 5000
# Stage -> the names of its detectors or policies, where it has some.
STAGES = ("train", "compute_influence", "profile_influence", "detect", "detect all", "repair")
DATASET = "wine"  # the card of a table; its rows are not read


def prepare(folder: Path, size: Size) -> None:
    """Write the files of a cell whose rows are random."""
    import numpy as np
    import pandas as pd

    from glitchtrace.core import files

    rng = np.random.default_rng(0)
    test = size.validation
    rows = size.rows + size.validation + test
    labels = np.arange(rows) % size.classes
    features = rng.normal(size=(rows, size.columns)).astype(np.float32)
    features[:, 0] += labels
    source = folder / "sources" / DATASET
    source.mkdir(parents=True)
    files.write_npy(features, source / "features.npy")
    files.write_npy(labels, source / "labels.npy")
    names = [f"column {place}" for place in range(size.columns)]
    description = {
        "modality": "table",
        "classes": [str(label) for label in range(size.classes)],
        "columns": names,
        "categories": {},
        "parts": {"all": [0, rows]},
        "checksums": {},
    }
    files.write_record(description, source / "source.json")
    parts = np.repeat(["train", "validation", "test"], [size.rows, size.validation, test])
    files.write_parquet(
        pd.DataFrame({"row": np.arange(rows), "part": parts, "label": labels}), folder / "split.parquet"
    )
    true = labels[: size.rows]
    wrong = rng.random(size.rows) < 0.1
    observed = np.where(wrong, (true + 1) % size.classes, true)
    samples = pd.DataFrame(
        {
            "sample": np.arange(size.rows),
            "source": DATASET,
            "row": np.arange(size.rows),
            "label": observed,
            "true_label": true,
            "kind": wrong.astype(np.int8),
        }
    )
    files.write_parquet(samples, folder / "glitch.parquet")


def run(stage: str, folder: Path, size: Size) -> None:
    """Call a stage function as its job does."""
    cell: dict[str, Any] = {
        "features": [folder / "sources" / DATASET / "features.npy"],
        "split": folder / "split.parquet",
        "glitch": folder / "glitch.parquet",
    }
    trained = {
        "checkpoints": folder / "checkpoints.safetensors",
        "factors": folder / "factors.safetensors",
    }
    model = {"dataset": DATASET, "model": "linear"}
    settings = {"head_seed": 0}
    evidence = {"glitch": cell["glitch"], "seed": 0, "estimator_settings": {"mi_orientation": "positive"}}
    if stage == "train":
        from glitchtrace.training.stage import train_cell

        training = {"learning_rate": 0.01, "batch_size": 128, "epochs": size.epochs}
        train_cell(
            **cell, **trained, **model, history=folder / "history.parquet", settings=settings,
            training=training, seed=0, evaluation_batch=100,
        )  # fmt: skip
    elif stage in ("compute_influence", "profile_influence"):
        from glitchtrace.influence import stage as influence

        output = {"influence": folder / "influence.npy"}
        if stage == "profile_influence":
            output = {"profile": folder / "profile.safetensors"}
        getattr(influence, stage)(
            **cell, **trained, **model, **output, model_settings=settings, estimator="tracin", settings={}
        )
    elif stage.startswith("detect"):
        from glitchtrace.core import registry
        from glitchtrace.detectors.stage import detect_cell

        every = stage == "detect all"
        names = [
            name for name in registry.chosen("detector", [*registry.names("detector")] if every else ["default"])
            if not {"out_of_fold", "pictures"} & {*registry.card("detector", name)["needs"]}
        ]  # fmt: skip
        detect_cell(
            **evidence, detectors=names, settings={}, profile=[folder / "profile.safetensors"],
            factors=[trained["factors"]], scores=folder / "scores.parquet",
        )  # fmt: skip
    else:
        from glitchtrace.core import registry
        from glitchtrace.repair import asking
        from glitchtrace.repair.proposals import repair_cell

        policies = {name: _defaults("policy", name) for name in registry.chosen("policy", ["default"])}
        detectors, counters = asking.asked(policies)
        repair_cell(
            **evidence, policies=policies, detectors={name: {} for name in detectors}, counters=counters,
            profile=[str(folder / "profile.safetensors")], factors=[str(trained["factors"])],
            repaired=folder / "repaired.parquet",
        )  # fmt: skip


def _defaults(kind: str, name: str) -> dict[str, Any]:
    from glitchtrace.core import registry

    return {key: value["default"] for key, value in registry.card(kind, name).get("settings", {}).items()}


def declared(stage: str, size: Size) -> int:
    """MiB that the rule asks for."""
    stage, _, every = stage.partition(" ")
    return resources.mib(stage, families=bool(every), **asdict(size))


def measured() -> Iterator[dict[str, Any]]:
    """A row per size and stage."""
    for part, size in ((part, size) for part, sizes in SIZES.items() for size in sizes):
        with tempfile.TemporaryDirectory() as folder:
            _own_process("prepare", folder, size)
            for stage in STAGES:
                if stage == "detect all" and size.rows > MOST_ROWS_OF_ALL:
                    continue
                peak = _own_process(stage, folder, size)
                asked = declared(stage, size)
                yield {
                    "stage": stage, "size": part, **asdict(size), "peak MiB": round(peak), "declared MiB": asked,
                    "declared / peak": round(asked / peak, 2),
                }  # fmt: skip


def _own_process(stage: str, folder: str, size: Size) -> float:
    command = [sys.executable, "-W", "ignore", __file__, "--measure", stage, folder, json.dumps(asdict(size))]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{stage} of {size}: {done.stderr}")
    return float(done.stdout.split()[-1])


def main() -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", help="a CSV to write")
    parser.add_argument("--measure", nargs=3, metavar=("STAGE", "FOLDER", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        from glitchtrace.core.jobs import peak_kib

        stage, folder, size = options.measure
        cell = Size(**json.loads(size))
        prepare(Path(folder), cell) if stage == "prepare" else run(stage, Path(folder), cell)
        print(peak_kib() / 1024)
        return 0
    import pandas as pd

    rows = []
    for row in measured():
        rows.append(row)
        print(*row.values(), sep="\t", flush=True)
    table = pd.DataFrame(rows)
    if options.table:
        table.to_csv(options.table, index=False)
    missed = table[(table["declared / peak"] - 1).abs() > BUDGET]
    many = table[(table["classes"] >= 1000) & (table["peak MiB"] > MANY_CLASSES_MIB)]
    for name, found in (("declared outside 25 % of the peak", missed), ("1,000 classes above 2 GiB", many)):
        print(f"{name}: {len(found)} of {len(table)}")
    return int(bool(len(missed) or len(many)))


if __name__ == "__main__":
    raise SystemExit(main())

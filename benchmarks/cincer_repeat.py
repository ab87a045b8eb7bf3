"""Cost of one repeat of CINCER: 100 arriving samples, Top Fisher, published settings.

Breast cancer with the fully connected network, and MNIST with the convolutional one.  Every figure is of a process
of its own on one thread: CPU seconds of the repeat, of the whole process with imports and data, and peak memory.
Then two repeats run at the same time, and their wall time is compared with that of one; of the convolutional
network these are repeats of ten arriving samples.

    GLITCHTRACE_DATA=… python benchmarks/cincer_repeat.py
    python docs/cincer.py

The first writes docs/tables/cincer_cost.csv, the second takes it into docs/cincer.md.

Budget: 6 CPU seconds for breast cancer, 9 CPU minutes for the convolutional network.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROBLEMS = {"breast": ("breast_cancer", "fullnet"), "convnet": ("mnist", "convnet")}
TARGET = Path(__file__).parents[1] / "docs/tables/cincer_cost.csv"
AT_ONCE = 2
ITERATIONS = 100
# Arriving samples where repeats at the same time are compared with one.
COMPARED = {"breast": 100, "convnet": 10}
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}


def repeat(folder: Path, problem: str, number: int, iterations: int) -> dict[str, float]:
    """One repeat of the published run with Top Fisher, read from and written to ``folder``."""
    from glitchtrace.core.files import read_parquet
    from glitchtrace.core.jobs import peak_kib
    from glitchtrace.operations.jobs import read_config
    from glitchtrace.papers.cincer.stage import clean_interactively

    dataset, model = PROBLEMS[problem]
    settings = read_config(f"config/studies/cincer_{problem}.yaml")["settings"]
    trace = folder / f"trace-{number}.parquet"
    started, wall = time.process_time(), time.perf_counter()
    clean_interactively(
        features=str(folder / dataset / "features.npy"),
        trace=str(trace),
        questions=str(folder / f"questions-{number}.parquet"),
        model=model,
        model_settings=settings["model"][model],
        protocol={**settings["loop"]["interactive@published"], "iterations": iterations},
        noise="random",
        ratio="0.2",
        inspector="margin",
        inspector_settings=settings["inspector"]["margin"],
        threshold=0.2,
        negotiator="top_fisher",
        negotiator_settings=settings["negotiator"]["top_fisher"],
        seed=1,
        repeat=number,
    )
    ended, over = time.process_time(), time.perf_counter()
    last = read_parquet(trace).iloc[-1]
    return {
        "repeat": ended - started,
        "process": time.process_time(),
        "wall": over - wall,
        "memory": peak_kib() / 1024,
        "f1": float(last["f1"]),
        "cleaned": int(last["n_cleaned"]),
    }


def prepared(folder: Path, problem: str) -> None:
    """Fetch the data of a problem."""
    from glitchtrace.data.fetch import fetch_data

    dataset = PROBLEMS[problem][0]
    source = folder / dataset
    source.mkdir()
    fetch_data(
        dataset=dataset,
        features=source / "features.npy",
        labels=source / "labels.npy",
        description=source / "source.json",
    )


def run_together(folder: Path, problem: str, numbers: range, iterations: int) -> list[dict[str, float]]:
    """Repeats in processes of their own, all at the same time."""
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--repeat", str(folder), problem, str(number), str(iterations)],
            env={**os.environ, **ONE_THREAD},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in numbers
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"{problem}: a repeat failed")
    return [json.loads(output) for output in outputs]


def measure(problem: str) -> dict[str, Any]:
    """The row of the table for one problem."""
    dataset, model = PROBLEMS[problem]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder, problem)
        (one,) = run_together(folder, problem, range(1), ITERATIONS)
        compared = COMPARED[problem]
        (alone,) = [one] if compared == ITERATIONS else run_together(folder, problem, range(1), compared)
        several = run_together(folder, problem, range(AT_ONCE), compared)
    wall = max(found["wall"] for found in several)
    return {
        "dataset": dataset,
        "model": model,
        "cpu_seconds": one["repeat"],
        "process_cpu_seconds": one["process"],
        "wall_seconds": one["wall"],
        "peak_mib": one["memory"],
        "samples_at_once": compared,
        "cpu_seconds_at_once": sum(found["repeat"] for found in several) / AT_ONCE,
        "cpu_seconds_alone": alone["repeat"],
        "speed_at_once": AT_ONCE * alone["wall"] / wall,
        "load_before": os.getloadavg()[0],
    }


def main() -> None:
    """Measure both problems and write the table."""
    import pandas as pd

    from glitchtrace.reporting.tables import write_csv

    if sys.argv[1:2] == ["--repeat"]:
        _, _, folder, problem, number, iterations = sys.argv
        print(json.dumps(repeat(Path(folder), problem, int(number), int(iterations))))
        return
    write_csv(pd.DataFrame([measure(problem) for problem in PROBLEMS]), TARGET)


if __name__ == "__main__":
    main()

"""Cases of whole commands: the demo, the demo with nothing to do, the plan of the full grid, and many small cells.

They run in a clone of the committed state, below the folder of the run, with the environment of the checkout.
"""

import contextlib
import os
import pickle
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
# A cluster on this machine, for the tests of the profiles.
SLURM = Path(os.environ.get("LOCAL_SLURM", ROOT.parent / "shared/tools/local-slurm"))
# The version for which the goals were set.
THEN = "b406272"
# What is the same byte for byte whatever it cost.
COMPARED = (".parquet", ".safetensors", ".npy", ".svg", ".png", ".pdf", ".csv")
# The one script of the workflow, with every job kept: what there is to be done, without Snakemake.
SCRIPT = """import os, pickle, time
from pathlib import Path
from glitchtrace.core.client import run
jobs = Path("jobs")
jobs.mkdir(exist_ok=True)
job = snakemake if isinstance(snakemake, bytes) else pickle.dumps(snakemake)
(jobs / f"{time.time_ns()}-{os.getpid()}").write_bytes(job)
run(snakemake)
"""
# The same for that version, whose frame of all jobs takes the stage function beside the job.
FRAME = """
_run = run


def run(snakemake, function):
    import pickle

    jobs = Path("jobs")
    jobs.mkdir(exist_ok=True)
    (jobs / f"{time.time_ns()}-{os.getpid()}").write_bytes(pickle.dumps((snakemake, function)))
    _run(snakemake, function)
"""
# Its stages, one after the other in one process.
ALONE = """import pickle, sys
from pathlib import Path
from glitchtrace.jobs import run
for file in sorted(Path(sys.argv[1]).iterdir()):
    job, function = pickle.loads(file.read_bytes())
    for written in (*job.output, *job.log):
        Path(written).parent.mkdir(parents=True, exist_ok=True)
    run(job, function)
"""
Results = dict[str, np.ndarray]


def demo(cores: int) -> Callable[[], Results]:
    """Every job of config/config.yaml."""
    folder = clone("demo")
    return lambda: snakemake(folder, "--cores", str(cores))


def demo_then(cores: int) -> Callable[[], Results]:
    """The same by the version for which the goal was set."""
    folder = clone("demo_then", THEN)
    return lambda: snakemake(folder, "--cores", str(cores))


def nothing_to_do() -> Callable[[], Results]:
    """The same again, all results at hand."""
    folder = Path("demo")
    if not list(folder.glob("results/figures")):
        folder = clone("demo")
        snakemake(folder, "--cores", "2")
    return lambda: snakemake(folder, "--cores", "2")


def dry_run() -> Callable[[], Results]:
    """The plan of the largest study, of a version that has planned another before."""
    return _dry_run(clone("plan"))


def dry_run_then() -> Callable[[], Results]:
    """The same by the version for which the goal was set, with its own grid."""
    return _dry_run(clone("then", THEN))


def _dry_run(folder: Path) -> Callable[[], Results]:
    plan = ["-n", "--cores", "16"]
    snakemake(folder, *plan)
    return lambda: snakemake(folder, *plan, "--configfile", "config/studies/full_grid.yaml")


def small_cells(cells: int) -> Callable[[], Results]:
    """A study of so many cells of seconds, each of a split of its own, on one core of this machine."""
    folder = _small(cells)
    return lambda: _made(folder, "--cores", "1", "--configfile", "small.yaml")


def small_cells_submitted(cells: int) -> Callable[[], Results]:
    """The same on a Slurm of this machine; its start and end count."""
    folder = _small(cells)
    return lambda: _on_a_cluster(folder, "--cores", "2", "--configfile", "small.yaml")


def small_cells_alone(cells: int) -> Callable[[], Results]:
    """The stages of the jobs of the subject before, one after the other in one process, imports included."""
    kept = [pickle.loads(file.read_bytes()) for file in sorted(Path("small/jobs").iterdir())]
    folder = clone("alone")
    return lambda: _alone(kept, folder)


def small_cells_then(cells: int) -> Callable[[], Results]:
    """The same study by the version for which the goal was set."""
    folder = _small(cells, THEN)
    return lambda: snakemake(folder, "--cores", "1", "--configfile", "small.yaml")


def small_cells_then_alone(cells: int) -> Callable[[], Results]:
    """The stages of its jobs, one after the other in one process."""
    kept, folder = Path("small_then/jobs").absolute(), clone("alone_then", THEN)
    command = [sys.executable, "-c", ALONE, str(kept)]
    variables = os.environ | {"PYTHONPATH": str(folder / "src")}
    return lambda: subprocess.run(command, cwd=folder, env=variables, check=True) and {}


def _small(cells: int, version: str = "") -> Path:
    if version:
        folder = clone("small_then", version)
        with open(folder / "src/glitchtrace/jobs.py", "a", encoding="utf-8") as frame:
            frame.write(FRAME)
    else:
        folder = clone("small")
        (folder / "workflow/scripts/run_stage.py").write_text(SCRIPT, encoding="utf-8")
    axes = "datasets: [iris], models: [linear], glitches: [uniform], ratios: [0.1]"
    study = f"grid: [{{{axes}, seeds: {list(range(cells))}}}]\nrepair: false\nmatrix_entries: 0\n"
    (folder / "small.yaml").write_text(study, encoding="utf-8")
    return folder


def _on_a_cluster(folder: Path, *arguments: str) -> Results:
    """Start a cluster, submit as profiles/slurm_short does, and end the cluster."""
    cluster = Path(f"/tmp/glitchtrace-slurm-{os.getpid()}")
    tool = [str(SLURM), "-d", str(cluster)]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings = {"LOCAL_SLURM_PORT": str(probe.getsockname()[1]), "LOCAL_SLURM_CPUS": "2"}
    subprocess.run([*tool, "start"], env=os.environ | settings, check=True, stdout=sys.stderr)
    try:
        quick = ["--latency-wait", "5", "--seconds-between-status-checks", "5"]
        profile = ["--profile", "profiles/slurm_short", "--resources", "mem_mb=8000", *quick]
        commands = {"SLURM_CONF": f"{cluster}/etc/slurm.conf", "PATH": f"{cluster}/bin:{os.environ['PATH']}"}
        found = _made(folder, *profile, *arguments, environment=commands)
    finally:
        subprocess.run([*tool, "purge"], check=True, stdout=sys.stderr)
    return found | {"submissions": np.array(len(list(folder.glob(".snakemake/cluster/*.log"))))}


def _made(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Results:
    snakemake(folder, *arguments, environment=environment)
    return _checksums(folder)


def _alone(kept: list[Any], folder: Path) -> Results:
    from glitchtrace.core import jobs

    with contextlib.chdir(folder):
        for job in kept:
            for file in (*job.output, *job.log):
                Path(file).parent.mkdir(parents=True, exist_ok=True)
            jobs.run(job)
    return _checksums(folder)


def _checksums(folder: Path) -> Results:
    """Of all results but costs, as one array in the order of their paths."""
    files = [file for file in sorted(folder.glob("results/**/*")) if file.suffix in COMPARED]
    files = [file for file in files if "cost" not in file.stem]
    return {"bytes": np.array([zlib.crc32(file.read_bytes()) for file in files])}


def clone(name: str, version: str = "HEAD") -> Path:
    """A committed state in a folder of its own, in the place of one that is there."""
    folder = Path(name).absolute()
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    subprocess.run(["git", "checkout", "--quiet", version], cwd=folder, check=True)
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    return folder


def snakemake(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Results:
    """Run it to its end; nothing is compared."""
    variables = {**os.environ, "PYTHONPATH": str(folder / "src"), **(environment or {})}
    command = [".venv/bin/snakemake", "--quiet", "all", *arguments]
    subprocess.run(command, cwd=folder, env=variables, check=True, stdout=sys.stderr)
    return {}

"""Cases of whole commands: the demo, the demo with nothing to do, and the plan of the full grid.

They run in a clone of the committed state, below the folder of the run, with the environment of the checkout.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
Results = dict[str, np.ndarray]


def demo(cores: int) -> Callable[[], Results]:
    """Every job of config/config.yaml."""
    folder = clone("demo")
    return lambda: snakemake(folder, "--cores", str(cores))


def nothing_to_do() -> Callable[[], Results]:
    """The same again, all results at hand."""
    folder = Path("demo")
    if not list(folder.glob("results/figures")):
        folder = clone("demo")
        snakemake(folder, "--cores", "2")
    return lambda: snakemake(folder, "--cores", "2")


def dry_run() -> Callable[[], Results]:
    """The plan of the largest study."""
    folder = clone("plan")
    return lambda: snakemake(folder, "-n", "--cores", "16", "--configfile", "config/studies/full_grid.yaml")


def clone(name: str) -> Path:
    """The committed state in a folder of its own, in the place of one that is there."""
    folder = Path(name).absolute()
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    return folder


def snakemake(folder: Path, *arguments: str) -> Results:
    """Run it to its end; nothing is compared."""
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    command = [".venv/bin/snakemake", "--quiet", "all", *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=sys.stderr)
    return {}

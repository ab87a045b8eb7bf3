"""The workflow as a user runs it, in a folder of its own: calls, planned and finished jobs, files to compare."""

import collections
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = str(Path(sys.executable).with_name("snakemake"))
SNAKEMAKE = [PROGRAM, "--snakefile", str(ROOT / "Snakefile")]
SMOKE = ["--configfile", str(ROOT / "config/studies/smoke.yaml")]
# Stages that run once per cell of the detection grid.
CELL_STAGES = (
    "train",
    "compute_influence",
    "profile_influence",
    "detect",
    "evaluate_cell",
    "repair_cell",
    "retrain",
)
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".snakemake", "results", "__pycache__", ".*_cache", "*.egg-info"
)


def folder_with_config(folder: Path) -> Path:
    """A working folder in which the workflow runs without touching the checkout."""
    folder.mkdir(exist_ok=True)
    (folder / "config").symlink_to(ROOT / "config")
    return folder


def copy_of_the_checkout(folder: Path) -> Path:
    """A copy of the repository, whose code and configuration a test may change."""
    shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
    return folder


def snakemake(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run this checkout's workflow in a folder."""
    return finish([*SNAKEMAKE, *arguments], folder, check=check)


def finish(
    command: list[str], folder: Path, *, check: bool = True, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; AssertionError with its output where it fails and ``check`` is true."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1500, check=False
    )
    if check and done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return done


def planned(folder: Path, *arguments: str) -> collections.Counter[str]:
    """Jobs per rule that a call would run."""
    return planned_jobs(snakemake(folder, *arguments, "--cores", "2", "--dry-run"))


def planned_jobs(dry_run: subprocess.CompletedProcess[str]) -> collections.Counter[str]:
    """Jobs per rule in the table that a dry run prints."""
    text = dry_run.stdout + dry_run.stderr
    if "Nothing to be done" in text:
        return collections.Counter()
    table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\ntotal", text, re.DOTALL)
    assert table, text
    return collections.Counter({line.split()[0]: int(line.split()[1]) for line in table[1].splitlines()})


def started_jobs(run: subprocess.CompletedProcess[str]) -> collections.Counter[str]:
    """Jobs per rule that a run started, without the target rules."""
    return collections.Counter(re.findall(r"^(?:local)?rule (\w+):$", run.stdout + run.stderr, re.MULTILINE))


class Checkout:
    """A copy of the repository with its results, run with its own package and nothing of the test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of a run; a path that is given as PYTHONPATH follows the package's."""
        paths = [str(self.folder / "src"), variables.pop("PYTHONPATH", "")]
        return {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}

    def command(self, *arguments: str, study: str = "config/studies/smoke.yaml", cores: int = 2) -> list[str]:
        """The call of the workflow: targets first, then the study."""
        return [PROGRAM, *arguments, "--configfile", study, "--cores", str(cores)]

    def run(
        self, *arguments: str, check: bool = True, variables: dict[str, str] | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run the workflow of the copy on a study, by default the smoke study."""
        command = self.command(*arguments, **options)  # type: ignore[arg-type]
        return finish(command, self.folder, check=check, environment=self.environment(**(variables or {})))

    def planned(self, *arguments: str, **options: object) -> collections.Counter[str]:
        """Jobs per rule that a call would run."""
        return planned_jobs(self.run(*arguments, "--dry-run", **options))

    def copy(self, folder: Path) -> "Checkout":
        """The same elsewhere, with its results and what Snakemake knows of them."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Checkout(folder)

    def jobs(self) -> dict[str, list[str]]:
        """Rule -> the files of one of its jobs, of the data set wine where the rule has several."""
        lines = [line.split("\t") for line in self.run("--summary").stdout.splitlines()]
        rows = [dict(zip(lines[0], line, strict=False)) for line in lines[1:]]
        rows.sort(key=lambda row: "wine" not in row["output_file"])
        logs = {row["rule"]: row["log-file(s)"] for row in reversed(rows)}
        return {
            rule: sorted(row["output_file"] for row in rows if row["log-file(s)"] == log)
            for rule, log in logs.items()
        }


def contents(folder: Path) -> dict[str, bytes]:
    """Result files by their path below ``folder``: all that must be equal byte for byte.

    Costs, benchmarks, logs and the records, which hold costs, are no part of it.
    """
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(_comparable(folder))}


def _comparable(folder: Path) -> Iterator[Path]:
    suffixes = {".parquet", ".safetensors", ".npy", ".svg", ".png", ".pdf", ".csv", ".md"}
    for path in (folder / "results").rglob("*"):
        if path.suffix in suffixes and not path.name.startswith(".") and "cost" not in path.stem:
            yield path

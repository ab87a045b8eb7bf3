"""The workflow as a user runs it, in a folder of its own: calls, planned and finished jobs, files to compare."""

import atexit
import collections
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
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


def snakemake(
    folder: Path, *arguments: str, check: bool = True, starts_jobs: bool | None = None
) -> subprocess.CompletedProcess[str]:
    """Run this checkout's workflow in a folder; by default what is neither a plan nor a lint starts jobs."""
    command = [*SNAKEMAKE, *arguments]
    if starts_jobs is None:
        starts_jobs = not {"--dry-run", "--lint"} & set(arguments)
    if starts_jobs:
        return finish(command, folder, check=check)
    done = _planner()(command, folder)
    if check and done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return done


# A process that has imported Snakemake with its plugins and read the code of every stage; each call is a child of it,
# so that a plan does not pay for them again.
_PLANNER = """
import gc, json, os, sys
import snakemake.cli
snakemake.cli.parse_args(["--dry-run"])
from glitchtrace.core import provenance, registry, resources
for kind in registry.kinds():
    for name in registry.names(kind):
        provenance.fingerprint(f"{kind}={name}")
gc.freeze()
for line in sys.stdin:
    command, folder, environment, output = json.loads(line)
    child = os.fork()
    if child == 0:
        for number, name in ((0, os.devnull), (1, f"{output}/stdout"), (2, f"{output}/stderr")):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = command
        sys.exit(snakemake.cli.main())
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class _Planner:
    """Calls of Snakemake that start no job, each in a child of one process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PLANNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(self.close)

    def __call__(self, command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """The answer to a call in a folder."""
        assert self.process.stdin
        assert self.process.stdout
        with tempfile.TemporaryDirectory() as output:
            asked = [command, str(folder), dict(os.environ), output]
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
            status = int(self.process.stdout.readline())
            texts = [Path(output, name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(command, status, *texts)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@functools.cache
def _planner() -> _Planner:
    return _Planner()


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
    return planned_jobs(
        snakemake(folder, *arguments, "--cores", "2", "--dry-run", "--quiet", "rules", "reason")
    )


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

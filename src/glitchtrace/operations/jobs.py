"""The jobs of a study as Snakemake sees them, with their files and how they are."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glitchtrace.core import configuration, paths
from glitchtrace.core.errors import GlitchtraceError

PENDING, MISSING, WHOLE = "update pending", "missing", "ok"


@dataclass(frozen=True)
class Job:
    """One job: its rule and files, for each file why it is not as it should be (``ok``, ``missing``, a change)."""

    rule: str
    files: tuple[str, ...]
    states: tuple[str, ...]
    pending: bool
    wildcards: Mapping[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why the job is pending: missing files, what has changed, or that an earlier job will run."""
        if MISSING in self.states:
            return MISSING
        return next((state for state in self.states if state != WHOLE), "follows an earlier job")


def program() -> list[str]:
    """The call of the Snakemake beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("snakemake")
    return [str(beside) if beside.exists() else "snakemake"]


def options(study: str | None) -> list[str]:
    """The options by which Snakemake is given a study's file."""
    return ["--configfile", study] if study else []


def read_jobs(study: str | None) -> list[Job]:
    """Every job of a study, by the file of its configuration (None: the default), in the current folder.

    Raises GlitchtraceError where the workflow refuses the configuration.
    """
    # Two questions at once: how each file is, and which files one job makes (the summary knows that, by the log,
    # only of files that exist).
    summary, forced = (_ask(study, option) for option in (["--summary"], ["--dry-run", "--forceall"]))
    return parse_jobs(_answer(summary), _answer(forced))


def _ask(study: str | None, question: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*program(), *question, "--nolock", *options(study)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )


def _answer(asked: subprocess.Popen[str]) -> str:
    output, errors = asked.communicate()
    if asked.returncode:
        lines = [line for line in errors.splitlines() if line.strip()] or ["no message"]
        raise GlitchtraceError(f"snakemake refuses the study: {lines[-1].strip()}")
    return output


def parse_jobs(summary: str, forced: str) -> list[Job]:
    """The jobs in the output of ``--summary`` (a row per file) and ``--dry-run --forceall`` (a block per job)."""
    lines = [line.split("\t") for line in summary.splitlines() if "\t" in line]
    rows = {line[0]: dict(zip(lines[0], line, strict=False)) for line in lines[1:]}
    jobs = []
    for rule, block in re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n?)+)", forced, re.MULTILINE):
        said = dict(re.findall(r"^    (\w+): (.*)$", block, re.MULTILINE))
        if "output" not in said:
            continue
        files = tuple(said["output"].split(", "))
        own = [rows[file] for file in files]
        states = tuple(row["status"] for row in own)
        wildcards = dict(re.findall(r"(\w+)=([^,]*)", said.get("wildcards", "")))
        jobs.append(Job(rule, files, states, any(row["plan"] == PENDING for row in own), wildcards))
    return jobs


def cell_of(file: str, results: Path) -> str | None:
    """The folder of the cell that a file belongs to, below dataset, model, glitch and seed; None outside of cells.

    What a study's own folder holds of the cleansing of a cell belongs to that cell; a repeat of the leave-one-out
    study, which lies in no other folder, to a cell of its own.
    """
    root, reserved = re.escape(str(results)), "|".join(paths.RESERVED)
    cleansing = re.match(rf"{root}/(?:studies/[^/]+/)?cleansing/(.*)", file)
    if cleansing:
        file = f"{results}/{cleansing[1]}"
    found = re.match(
        rf"({root}/(?:studies/[^/]+/)?(?!(?:{reserved})/)[^/]+/[^/]+/.+/seed-\d+)/",
        file,
    )
    return found[1] if found else None


def read_config(study: str | None) -> dict[str, Any]:
    """The complete configuration of a study in the current folder; see ``configuration.resolve``.

    Raises GlitchtraceError where there is no workflow in the folder, no such study, or one that the schema refuses.
    """
    if not Path("Snakefile").exists():
        raise GlitchtraceError(
            "there is no Snakefile in this folder; call glitchtrace where the workflow lies"
        )
    if study and not Path(study).exists():
        raise GlitchtraceError(f"{study} does not exist; studies lie in config/studies")
    default = configuration.read(configuration.DEFAULT)
    config = configuration.merge(default, configuration.read(study)) if study else default
    given_by: list[str | Path] = [configuration.DEFAULT, *([study] if study else [])]
    return configuration.complete(config, default, given_by=given_by)


def results_folder(config: dict[str, Any]) -> Path:
    """The results folder of a configuration."""
    return Path(config["pathvars"].get("results", "results"))


def names(jobs: Sequence[Job]) -> list[str]:
    """The rules of some jobs, each once, in their order."""
    return list(dict.fromkeys(job.rule for job in jobs))

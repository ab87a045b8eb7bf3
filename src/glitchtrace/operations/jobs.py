"""The jobs of a study as Snakemake sees them, with their files and how they are."""

import itertools
import json
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
from glitchtrace.core.registry import PACKAGE

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


# Snakemake's summary with what it does not say, from the same plan: the files and wildcards of each job, in an order
# in which they can run.  It leaves nothing: no log, and where nothing was run yet no folder .snakemake.
_LISTING = """
import json, pathlib, tempfile
from snakemake.cli import main
from snakemake.dag import DAG
from snakemake.logging import LoggerManager
from snakemake.persistence import PersistenceBase
LoggerManager.setup_logfile = lambda *_, **__: None
begin = PersistenceBase.__init__
def begun(self, **settings):
    begin(self, **settings if pathlib.Path(".snakemake").is_dir() else {**settings, "path": pathlib.Path(aside)})
PersistenceBase.__init__ = begun
summary = DAG.summary
async def listed(dag, detailed=False):
    async for line in summary(dag, detailed):
        yield line
    for level in dag.toposorted():
        for job in sorted(level, key=lambda job: (job.rule.name, [str(file) for file in job.output])):
            yield json.dumps([job.rule.name, [str(file) for file in job.output], dict(job.wildcards_dict)])
DAG.summary = listed
with tempfile.TemporaryDirectory() as aside:
    main()
"""


def shipped() -> Path:
    """The folder of the workflow: inside an installed package, or the checkout."""
    for folder in (PACKAGE / "shipped", PACKAGE.parents[1]):
        if (folder / "workflow/Snakefile").is_file():
            return folder
    raise GlitchtraceError(
        f"{PACKAGE}: the package was installed without its workflow; install the wheel, or work in a checkout"
    )


def root() -> Path:
    """The folder of the workflow that is asked about: the current one, else that of the package."""
    return Path() if Path("Snakefile").exists() else shipped()


def default_file() -> Path:
    """The file of the default study: that of the current folder, else that of the workflow."""
    return configuration.DEFAULT if configuration.DEFAULT.exists() else root() / configuration.DEFAULT


def read_jobs(study: str | None) -> list[Job]:
    """Every job of a study, by the file of its configuration (None: the default), in the current folder.

    Raises GlitchtraceError where the workflow refuses the configuration.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-c", _LISTING, "--summary", "--nolock"),
            *("--snakefile", str(root() / "Snakefile")),
            *options(study),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    if done.returncode:
        raise GlitchtraceError(f"snakemake refuses the study: {reason(done.stderr)}")
    return parse_jobs(done.stdout)


def reason(output: str) -> str:
    """Why Snakemake has ended, in one line: what stands between the name of its last error and the places in code."""
    lines = [line for line in output.splitlines() if line.strip()] or ["no message"]
    named = [at for at, line in enumerate(lines) if re.match(r"\w+(Error|Exception)\b.*:$", line)]
    if not named:
        return lines[-1].strip()
    said = itertools.takewhile(
        lambda line: not re.match(r'(Traceback:|Wildcards:|  File ")', line), lines[named[-1] + 1 :]
    )
    return " ".join(line.strip() for line in said) or lines[named[-1]].strip()


def parse_jobs(listing: str) -> list[Job]:
    """The jobs in a summary (a row per file) that is followed by a line of JSON per job; see ``read_jobs``."""
    rows = [line.split("\t") for line in listing.splitlines() if "\t" in line]
    files = {row[0]: dict(zip(rows[0], row, strict=False)) for row in rows[1:]}
    jobs = []
    for line in listing.splitlines():
        if not line.startswith("["):
            continue
        rule, output, wildcards = json.loads(line)
        own = [files[file] for file in output]
        states = tuple(row["status"] for row in own)
        if own:
            pending = any(row["plan"] == PENDING for row in own)
            jobs.append(Job(rule, tuple(output), states, pending, wildcards))
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

    Raises GlitchtraceError where there is no such study, or one that the schema refuses.
    """
    if study and not Path(study).exists():
        raise GlitchtraceError(f"{study} does not exist; studies lie in config/studies")
    default = configuration.read(default_file())
    config = configuration.merge(default, configuration.read(study)) if study else default
    given_by: list[str | Path] = [default_file(), *([study] if study else [])]
    return configuration.complete(config, default, root(), given_by)


def results_folder(config: dict[str, Any]) -> Path:
    """The results folder of a configuration."""
    return Path(config["pathvars"].get("results", "results"))


def names(jobs: Sequence[Job]) -> list[str]:
    """The rules of some jobs, each once, in their order."""
    return list(dict.fromkeys(job.rule for job in jobs))

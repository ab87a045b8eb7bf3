"""Recompute one cell of a study elsewhere and compare its files byte for byte."""

import random
import subprocess
import tempfile
from pathlib import Path

import yaml

from glitchtrace.core import configuration
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.operations.jobs import (
    cell_of,
    default_file,
    options,
    program,
    read_config,
    read_jobs,
    results_folder,
    root,
)

# Records, benchmarks and tables of costs hold times, which never come again.
_COMPARED = (".parquet", ".safetensors", ".npy")
# Settings that name a file or folder of the user's own, from the folder that Snakemake runs in: table, setting.
_OWN_FILES = (("datasets", "path"), ("models", "weights"))


def verify(study: str | None, seed: int, cores: int) -> str:
    """Recompute a whole cell, drawn by ``seed``, in a temporary folder; return what was compared.

    All that the cell is made from is made anew but for the sources, which are taken as they are; its files but for
    costs are compared.  Raises GlitchtraceError where no cell is whole, where the run fails, and for the first file
    that differs.
    """
    config = read_config(study)
    results = results_folder(config)
    cells = whole_cells(study, results)
    if not cells:
        raise GlitchtraceError("no cell of the study is whole yet; run it first")
    cell = random.Random(seed).choice(sorted(cells))
    files = cells[cell]
    with tempfile.TemporaryDirectory(prefix="glitchtrace-verify-") as name:
        folder = Path(name)
        (folder / "config").mkdir()
        (folder / "results").mkdir()
        (folder / "results/sources").symlink_to((results / "sources").resolve())
        _copy_with_results_here(default_file(), folder / "config/config.yaml")
        if study:
            _copy_with_results_here(study, folder / Path(study).name)
        anew = {file: f"results/{Path(file).relative_to(results)}" for file in files}
        command = [*program(), *anew.values(), "--snakefile", str((root() / "Snakefile").resolve())]
        command += [
            "--directory",
            name,
            "--cores",
            str(cores),
            *options(study and str(folder / Path(study).name)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise GlitchtraceError(f"{cell} cannot be recomputed:\n{done.stdout}{done.stderr}")
        for file, other in anew.items():
            if (folder / other).read_bytes() != Path(file).read_bytes():
                raise GlitchtraceError(
                    f"{file} differs from what the same code and data give now; "
                    "run `glitchtrace status`, or delete it and run the same command again"
                )
    return f"{cell}: {len(files)} files recomputed, all equal byte for byte"


def _copy_with_results_here(file: str | Path, copy: Path) -> None:
    """Copy a file of the configuration, which is then read from elsewhere: files that it names stay where they lie.

    Where it names a results folder, that is the one beside the copy.
    """
    content = configuration.read(file)
    if content.get("components"):
        content["components"] = [_absolute(place) for place in content["components"]]
    if content.get("data_root"):
        content["data_root"] = _absolute(content["data_root"])
    for table, key in _OWN_FILES:
        for settings in (content.get(table) or {}).values():
            if key in (settings or {}):
                settings[key] = _absolute(settings[key])
    if "results" in (content.get("pathvars") or {}):
        content["pathvars"]["results"] = "results"
    copy.write_text(yaml.safe_dump(content), encoding="utf-8")


def _absolute(place: str) -> str:
    """The whole path of a file or folder; what is none, such as a module, as it is."""
    return str(Path(place).resolve()) if Path(place).exists() else place


def whole_cells(study: str | None, results: Path) -> dict[str, list[str]]:
    """Cell -> its files to compare, for every cell of which no file is missing or stale."""
    found: dict[str, list[str]] = {}
    broken = set()
    for job in read_jobs(study):
        for file in job.files:
            cell = cell_of(file, results)
            if cell and job.pending:
                broken.add(cell)
            elif cell and file.endswith(_COMPARED) and Path(file).stem != "cost":
                found.setdefault(cell, []).append(file)
    return {cell: sorted(files) for cell, files in found.items() if cell not in broken}

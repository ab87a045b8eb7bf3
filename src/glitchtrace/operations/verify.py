"""Recompute one cell of a study elsewhere and compare its files byte for byte."""

import random
import subprocess
import tempfile
from pathlib import Path

from glitchtrace.errors import GlitchtraceError
from glitchtrace.operations.jobs import cell_of, options, program, read_config, read_jobs, results_folder

# Records, benchmarks and tables of costs hold times, which never come again.
_COMPARED = (".parquet", ".safetensors", ".npy")


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
        (folder / "config").symlink_to(Path("config").resolve())
        (folder / results).mkdir(parents=True)
        (folder / results / "sources").symlink_to((results / "sources").resolve())
        command = [*program(), *files, "--snakefile", str(Path("Snakefile").resolve()), "--directory", name]
        command += ["--cores", str(cores), *options(study and str(Path(study).resolve()))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise GlitchtraceError(f"{cell} cannot be recomputed:\n{done.stdout}{done.stderr}")
        for file in files:
            if (folder / file).read_bytes() != Path(file).read_bytes():
                raise GlitchtraceError(
                    f"{file} differs from what the same code and data give now; "
                    "run `glitchtrace status`, or delete it and run the same command again"
                )
    return f"{cell}: {len(files)} files recomputed, all equal byte for byte"


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

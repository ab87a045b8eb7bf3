"""The workflow as a user runs it, in a folder of its own."""

import collections
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SNAKEMAKE = [str(Path(sys.executable).with_name("snakemake")), "--snakefile", str(ROOT / "Snakefile")]
SMOKE = ["--configfile", str(ROOT / "config/studies/smoke.yaml")]


def folder_with_config(folder: Path) -> Path:
    """A working folder in which the workflow runs without touching the checkout."""
    folder.mkdir(exist_ok=True)
    (folder / "config").symlink_to(ROOT / "config")
    return folder


def snakemake(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run this checkout's workflow in a folder; AssertionError with its output where it fails and ``check`` is true."""
    done = subprocess.run(
        [*SNAKEMAKE, *arguments], cwd=folder, capture_output=True, text=True, timeout=500, check=False
    )
    if check and done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return done


def planned(folder: Path, *arguments: str) -> collections.Counter[str]:
    """Jobs per rule that a call would run."""
    output = snakemake(folder, *arguments, "--cores", "2", "--dry-run")
    text = output.stdout + output.stderr
    if "Nothing to be done" in text:
        return collections.Counter()
    table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\ntotal", text, re.DOTALL)
    assert table, text
    return collections.Counter({line.split()[0]: int(line.split()[1]) for line in table[1].splitlines()})

"""The same seed gives the same bytes, whatever the number of cores; the demo's numbers stay where they were."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from running import ROOT, Checkout, contents, copy_of_the_checkout, finish

from glitchtrace.core import client

GOLDEN = ROOT / "tests/golden/demo_f1.csv"
# F1 at the known ratio moves in steps of one glitch of 36.
TOLERANCE = 0.03
DEMO_PART = {
    "study": "demo_part",
    "grid": [
        {
            "datasets": ["breast_cancer"],
            "models": ["linear"],
            "glitches": ["uniform", "class_dependent"],
            "ratios": [0.1],
            "seeds": [0, 1, 2],
        }
    ],
    "repair": False,
}


def glitchtrace(checkout: Checkout, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Call the console command in a checkout."""
    command = [sys.executable, "-m", "glitchtrace", *arguments, "--configfile", "config/studies/smoke.yaml"]
    return finish(command, checkout.folder, check=check, environment=checkout.environment())


@pytest.mark.parametrize("cores", [1, 4])
def test_the_number_of_cores_changes_no_byte(cores: int, finished: Checkout, tmp_path: Path) -> None:
    other = Checkout(copy_of_the_checkout(tmp_path / "run"))
    other.run(cores=cores)
    ours, theirs = contents(other.folder), contents(finished.folder)
    assert ours.keys() == theirs.keys()
    assert [path for path, content in ours.items() if content != theirs[path]] == []


def test_a_worker_and_fresh_processes_write_the_same_bytes(finished: Checkout, tmp_path: Path) -> None:
    other = Checkout(copy_of_the_checkout(tmp_path / "run"))
    other.run(variables={client.ENVIRONMENT: client.OFF})
    ours, theirs = contents(other.folder), contents(finished.folder)
    assert ours.keys() == theirs.keys()
    assert [path for path, content in ours.items() if content != theirs[path]] == []


def demo_f1(checkout: Checkout) -> pd.DataFrame:
    """F1 of every signal in a part of the demo: glitch, seed, signal, f1."""
    (checkout.folder / "demo_part.yaml").write_text(yaml.safe_dump(DEMO_PART))
    checkout.run("results/studies/demo_part/summary.parquet", study="demo_part.yaml")
    table = pd.read_parquet(checkout.folder / "results/studies/demo_part/summary.parquet")
    found = table[(table["metric"] == "f1") & (table["signal"] != "")]
    return found[["glitch", "seed", "signal", "value"]].rename(columns={"value": "f1"}).reset_index(drop=True)


def test_the_f1_of_the_demo_is_what_it_was(tmp_path: Path) -> None:
    found = demo_f1(Checkout(copy_of_the_checkout(tmp_path / "run")))
    expected = pd.read_csv(GOLDEN, dtype={"seed": found["seed"].dtype})
    both = expected.merge(found, on=["glitch", "seed", "signal"], suffixes=("_then", "_now"), how="left")
    drifted = both[~((both["f1_then"] - both["f1_now"]).abs() <= TOLERANCE)]
    assert drifted.empty, f"the demo has drifted:\n{drifted.to_string(index=False)}"


def test_verify_recomputes_a_cell_and_finds_a_changed_one(copy: Checkout) -> None:
    assert "all equal byte for byte" in glitchtrace(copy, "verify", "--seed", "3").stdout
    for file in copy.folder.glob("results/*/linear/*/seed-*/tracin/scores.parquet"):
        stamp = file.stat()
        table = pd.read_parquet(file)
        table["SI"] = table["SI"] * 2
        table.to_parquet(file, index=False)
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    changed = glitchtrace(copy, "verify", "--seed", "3", check=False)
    assert changed.returncode == 1
    assert "scores.parquet differs from what the same code and data give now" in changed.stderr
    assert "Traceback" not in changed.stderr


def test_status_and_plan_count_what_is_left(copy: Checkout) -> None:
    whole = glitchtrace(copy, "status").stdout
    assert "cells: 3 of 3 whole, 0 left" in whole
    (copy.folder / "results/wine/linear/uniform-0.1/seed-0/tracin/scores.parquet").unlink()
    partly = glitchtrace(copy, "status").stdout
    assert "cells: 2 of 3 whole, 1 left" in partly
    row = next(line.split() for line in partly.splitlines() if line.split()[:1] == ["detect"])
    assert row[1:] == ["3", "2", "1", "1", "missing"]
    planned = glitchtrace(copy, "plan", "--cores", "16").stdout
    # Tables and figures of a study leave no record of their cost.
    assert re.search(r"10 left; at least .* of CPU, .* on 16 cores \(8 of them without", planned), planned
    assert "disk:" in planned


def test_status_says_what_is_stale_and_why(copy: Checkout) -> None:
    file = copy.folder / "config/variants/models.yaml"
    config = yaml.safe_load(file.read_text())
    config["models"]["linear"]["training"]["default"]["learning_rate"] /= 2
    file.write_text(yaml.safe_dump(config))
    page = glitchtrace(copy, "status").stdout
    assert "cells: 0 of 3 whole, 3 left" in page
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in page.splitlines() if line.strip()}
    assert rows["train"] == "3 0 3 3 params changed"
    assert rows["detect"] == "3 0 3 3 follows an earlier job"
    assert rows["inject_glitch"] == "3 3 0"


def test_the_plan_of_a_study_that_was_never_begun_counts_its_jobs_as_snakemake_does(copy: Checkout) -> None:
    shutil.rmtree(copy.folder / "results")
    lines = [line.split() for line in glitchtrace(copy, "plan").stdout.splitlines()]
    counted = {line[0]: int(line[1]) for line in lines[1 : lines.index([])]}
    assert counted == {rule: count for rule, count in copy.planned().items() if rule != "all"}

"""Components outside the checkout: found in jobs of a cluster and elsewhere, and noticed when changed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from running import PROGRAM, ROOT, finish, planned_jobs

EXAMPLES = re.findall(
    r"^`([\w/.]+)`\n\n```(?:python|yaml)\n(.*?)^```", (ROOT / "docs/extending.md").read_text(), re.M | re.S
)
# A scheduler in one line: it starts the job script in the background and prints a number.
SUBMIT = f"{sys.executable} {Path(__file__).parents[1] / 'helpers/submit.py'}"


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A folder with the examples of docs/extending.md, and nothing of the checkout."""
    for path, content in EXAMPLES:
        (tmp_path / "own" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / path).write_text(content)
    finish([sys.executable, "my/write_moons.py"], tmp_path / "own")
    return tmp_path / "own"


def workflow(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The scores of the study, called from elsewhere."""
    command = [PROGRAM, "scores", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(folder / "moons.yaml"), *arguments]
    return finish(command, folder.parent)


def test_components_of_a_folder_are_found_by_jobs_of_a_cluster_and_noticed_when_changed(
    stranger: Path,
) -> None:
    cluster = ("--executor", "cluster-generic", "--cluster-generic-submit-cmd", SUBMIT, "--jobs", "4")
    cluster += ("--seconds-between-status-checks", "1", "--latency-wait", "20")
    workflow(stranger, *cluster)
    found = stranger.glob("results/moons/random_features/collapse*/seed-0/tracin*/scores.parquet")
    assert len(list(found)) == 2
    assert not planned_jobs(workflow(stranger, "--cores", "1", "--dry-run"))

    detector = stranger / "my/other_classes.py"
    detector.write_text(detector.read_text() + "\n# a comment\n")
    assert not planned_jobs(workflow(stranger, "--cores", "1", "--dry-run"))
    detector.write_text(detector.read_text().replace("return profiles", "return 2 * profiles"))
    jobs = planned_jobs(workflow(stranger, "--cores", "1", "--dry-run"))
    assert {rule: count for rule, count in jobs.items() if rule != "scores"} == {"detect": 2}

    # Another content of the same size and date is another content.
    table = stranger / "my/moons.csv"
    was = table.stat()
    table.write_text(table.read_text().replace("0.1", "0.2", 1))
    os.utime(table, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert planned_jobs(workflow(stranger, "--cores", "1", "--dry-run"))["fetch_data"] == 1

"""Reading Snakemake's summary, and estimating costs from what was measured."""

import json
from pathlib import Path

import pytest

from glitchtrace import command
from glitchtrace.operations.costs import Costs
from glitchtrace.operations.jobs import Job, cell_of, parse_jobs

CELL = "results/{}/linear/uniform-0.1/seed-0"
SUMMARY = "\n".join(
    "\t".join(row)
    for row in [
        ("output_file", "date", "rule", "log-file(s)", "status", "plan"),
        ("a/checkpoints", "today", "train", "a.log", "ok", "no update"),
        ("a/factors", "today", "train", "a.log", "ok", "no update"),
        ("c/checkpoints", "-", "train", "-", "missing", "update pending"),
        ("c/factors", "-", "train", "-", "missing", "update pending"),
        ("b/checkpoints", "-", "train", "-", "missing", "update pending"),
        ("b/factors", "today", "train", "b.log", "params changed since last execution", "update pending"),
        ("sum", "today", "summarise", "s.log", "ok", "update pending"),
    ]
)
FORCED = """
[Sat Nov 21 20:14:42 2026]
rule train:
    input: split
    output: a/checkpoints, a/factors
    log: a.log
    reason: Forced execution
rule train:
    output: b/checkpoints, b/factors
    jobid: 2
rule train:
    output: c/checkpoints, c/factors
[Sat Nov 21 20:14:43 2026]
localrule summarise:
    input: a/checkpoints, b/checkpoints, c/checkpoints
    output: sum
localrule all:
    input: sum
    reason: Forced execution
"""


def test_the_jobs_of_a_study_with_their_files_and_states() -> None:
    first, second, third, last = parse_jobs(SUMMARY, FORCED)
    assert first == Job("train", ("a/checkpoints", "a/factors"), ("ok", "ok"), pending=False)
    assert (second.pending, second.reason) == (True, "missing")
    # Files that were never made have no log: what they have in common is the job alone.
    assert third == Job("train", ("c/checkpoints", "c/factors"), ("missing", "missing"), pending=True)
    assert (last.pending, last.reason) == (True, "follows an earlier job")


@pytest.mark.parametrize(
    ("file", "cell"),
    [
        (
            "results/iris/linear/uniform-0.1/seed-0/tracin/gain.parquet",
            "results/iris/linear/uniform-0.1/seed-0",
        ),
        ("results/iris/linear/uniform-0.1/seed-0/history.parquet", "results/iris/linear/uniform-0.1/seed-0"),
        ("results/iris/uniform-0.1/seed-0/glitch.parquet", None),
        ("results/iris/seed-0/split.parquet", None),
        ("results/summary.parquet", None),
    ],
)
def test_the_cell_of_a_file(file: str, cell: str | None) -> None:
    assert cell_of(file, Path("results")) == cell


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Costs:
    """Two trainings on iris of 1 and 3 CPU seconds; iris has 100 samples, wine 200."""
    monkeypatch.chdir(tmp_path)
    for seed, seconds in ((0, 1.0), (1, 3.0)):
        folder = Path(f"results/iris/linear/uniform-0.1/seed-{seed}")
        folder.mkdir(parents=True)
        (folder / "train.json").write_text(json.dumps({"cost": {"cpu_seconds": seconds}}))
        (folder / "factors.safetensors").write_bytes(b"x" * 1000)
    (Path("results") / "note.json").write_text("[]")
    return Costs(Path("results"), {"iris": 100, "wine": 200}.get)


def job(rule: str, dataset: str, *names: str) -> Job:
    return Job(
        rule, tuple(f"{CELL.format(dataset)}/{name}" for name in names), ("missing",) * len(names), True
    )


def test_an_estimate_is_the_mean_of_the_nearest_jobs_scaled_by_samples(measured: Costs) -> None:
    assert measured.seconds(job("train", "iris", "factors.safetensors")) == 2
    assert measured.seconds(job("train", "wine", "factors.safetensors")) == 4
    assert measured.bytes(job("train", "wine", "factors.safetensors")) == 2000


def test_what_was_never_measured_has_no_estimate(measured: Costs) -> None:
    assert measured.seconds(job("retrain", "iris", "gain.parquet")) is None
    assert measured.bytes(job("train", "iris", "factors.safetensors", "new.parquet")) is None
    assert measured.seconds(job("train", "unknown", "factors.safetensors")) is None


def test_the_command_says_in_one_line_where_it_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["status"]) == 1
    assert "there is no Snakefile in this folder" in capsys.readouterr().err

"""Reading Snakemake's summary, and estimating costs from what was measured."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from running import ROOT

from glitchtrace import command
from glitchtrace.core import files, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.operations import jobs, report, verify
from glitchtrace.operations.costs import Costs, training_samples
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
LISTED = """
["train", ["a/checkpoints", "a/factors"], {}]
["train", ["b/checkpoints", "b/factors"], {"dataset": "b", "ratio": "0.1", "seed": "0"}]
["train", ["c/checkpoints", "c/factors"], {}]
["summarise", ["sum"], {}]
["all", [], {}]
"""


def test_the_jobs_of_a_study_with_their_files_and_states() -> None:
    first, second, third, last = parse_jobs(SUMMARY + LISTED)
    assert first == Job("train", ("a/checkpoints", "a/factors"), ("ok", "ok"), pending=False)
    assert (second.pending, second.reason) == (True, "missing")
    assert second.wildcards == {"dataset": "b", "ratio": "0.1", "seed": "0"}
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
        ("results/iris/linear/seed-0/test_features.json", None),
        # What a study removes from a training is the study's own; the cell is that of the training.
        (
            "results/iris/linear/uniform-0.1/seed-0/cleansing/sgd/trace.safetensors",
            "results/iris/linear/uniform-0.1/seed-0",
        ),
        (
            "results/studies/mine/cleansing/iris/linear/uniform-0.1/seed-0/sgd/removal-all.parquet",
            "results/iris/linear/uniform-0.1/seed-0",
        ),
        (
            "results/cleansing/iris/linear/uniform-0.1/seed-0/sgd/scores.parquet",
            "results/iris/linear/uniform-0.1/seed-0",
        ),
        ("results/studies/mine/cleansing/removal.parquet", None),
        (
            "results/iris/logreg/cincer/interactive/random-0.2/margin-0.2/no_ce/seed-0/repeat-1/trace.parquet",
            "results/iris/logreg/cincer/interactive/random-0.2/margin-0.2/no_ce/seed-0",
        ),
        (
            "results/studies/mine/iris/cincer/logreg/leave-one-out/interactive/random-0.2/optimum/seed-0/repeat-1.parquet",
            "results/studies/mine/iris/cincer/logreg/leave-one-out/interactive/random-0.2/optimum/seed-0",
        ),
        ("results/studies/mine/iris/cincer/logreg/traces.parquet", None),
        ("results/studies/mine/figures/iris/uniform-0.1/linear/seed-0/signals.svg", None),
        ("results/figures/iris/uniform-0.1/linear/seed-0/signals.svg", None),
    ],
)
def test_the_cell_of_a_file(file: str, cell: str | None) -> None:
    assert cell_of(file, Path("results")) == cell


def write_record(file: str, stage: str, seconds: float, **wildcards: str) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    files.write_record({"stage": stage, "wildcards": wildcards, "cost": {"cpu_seconds": seconds}}, file)


def write_benchmark(file: str, rule: str, seconds: float | None, **wildcards: str) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    line = {"rule_name": rule, "wildcards": wildcards, "cpu_time": seconds}
    Path(file).write_text(json.dumps(line) + "\n")


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Costs:
    """What lies below a results folder after some jobs; iris has 100 samples, wine 200."""
    monkeypatch.chdir(tmp_path)
    iris = {"dataset": "iris", "model": "linear"}
    for seed, seconds in ((0, 1.0), (1, 3.0)):
        folder = f"results/iris/linear/uniform-0.1/seed-{seed}"
        write_record(f"{folder}/train.json", "train", seconds, **iris)
        Path(f"{folder}/factors.safetensors").write_bytes(b"x" * 1000)
        # A benchmark says the same less exactly.
        write_benchmark(f"results/benchmarks/iris/seed-{seed}/train.jsonl", "train", 50.0, **iris)
    removed = "results/studies/first/cleansing/iris/linear/uniform-0.1/seed-0/sgd"
    write_record(f"{removed}/remove_and_retrain-last.json", "remove_and_retrain", 10.0, **iris)
    Path(f"{removed}/removal-last.parquet").write_bytes(b"x" * 100)
    write_record("results/sources/iris/fetch_data.json", "fetch_data", 0.5, source="iris")
    for network, seconds in (("dnn", 7.0), ("logistic_regression", 3.0), ("short", None)):
        file = f"results/benchmarks/fidelity/{network}.jsonl"
        write_benchmark(file, "measure_fidelity", seconds, task="digits", network=network)
    (Path("results") / "note.json").write_text("[]")
    (Path("results/benchmarks") / "half.jsonl").write_text('{"rule_name": "measure_fi')
    return Costs(Path("results"), {"iris": 100, "wine": 200}.get)


def job(rule: str, dataset: str, *names: str) -> Job:
    made = tuple(f"{CELL.format(dataset)}/{name}" for name in names)
    return Job(rule, made, ("missing",) * len(names), True, {"dataset": dataset, "model": "linear"})


def removal(study: str, dataset: str) -> Job:
    file = f"results/studies/{study}/cleansing/{dataset}/linear/uniform-0.1/seed-0/sgd/removal-last.parquet"
    return Job("remove_and_retrain", (file,), ("missing",), True, {"dataset": dataset, "model": "linear"})


def test_an_estimate_is_the_mean_of_the_nearest_jobs_scaled_by_samples(measured: Costs) -> None:
    assert measured.seconds(job("train", "iris", "factors.safetensors")) == 2
    assert measured.seconds(job("train", "wine", "factors.safetensors")) == 4
    assert measured.bytes(job("train", "wine", "factors.safetensors")) == 2000


def test_a_dataset_of_another_study_is_scaled_by_its_recorded_settings(measured: Costs) -> None:
    whole = {key: spec["default"] for key, spec in registry.kinds()["dataset"]["settings"].items()}
    Path("results/settings/dataset").mkdir(parents=True)
    files.write_record(
        {"settings": {**whole, "subset_ratio": 0.5}}, "results/settings/dataset/wine@half.json"
    )
    # Of a release that had fewer settings.
    files.write_record({"settings": {"subset_ratio": 0.5}}, "results/settings/dataset/wine@early.json")
    Path("own.csv").write_text("a,b\n" + "1,x\n2,y\n" * 40)
    own = {"path": "own.csv", "label": "b", "test_size": 20}
    files.write_record({"settings": own}, "results/settings/dataset/table_file@early.json")
    samples = training_samples({"dataset": {"wine": whole}}, Path("results"))
    names = ("wine", "wine@half", "wine@early", "table_file@early", "iris")
    assert [samples(name) for name in names] == [115, 57, 57, 50, None]


def test_what_a_study_keeps_for_itself_is_estimated_by_dataset_and_model_too(measured: Costs) -> None:
    assert measured.seconds(removal("first", "iris")) == measured.seconds(removal("second", "iris")) == 10
    assert measured.seconds(removal("second", "wine")) == 20
    assert measured.bytes(removal("second", "wine")) == 200


def test_a_rule_without_a_record_is_estimated_from_its_benchmarks(measured: Costs) -> None:
    for network, seconds in (("dnn", 7.0), ("other", 5.0)):
        wildcards = {"task": "digits", "network": network}
        made = (f"results/studies/second/fidelity/digits/{network}.parquet",)
        assert measured.seconds(Job("measure_fidelity", made, ("missing",), True, wildcards)) == seconds


def test_fetching_another_source_is_not_scaled(measured: Costs) -> None:
    source = Job("fetch_data", ("results/sources/wine/features.npy",), ("missing",), True, {"source": "wine"})
    assert measured.seconds(source) == 0.5


def test_what_was_never_measured_has_no_estimate(measured: Costs) -> None:
    assert measured.seconds(job("retrain", "iris", "gain.parquet")) is None
    assert measured.bytes(job("train", "iris", "factors.safetensors", "new.parquet")) is None
    assert measured.seconds(job("train", "unknown", "factors.safetensors")) is None
    left = [job("train", "iris", "factors.safetensors")]
    assert "; about 2 s of CPU" in report._left(left, measured, 2)
    assert "; at least 2 s of CPU" in report._left(
        [*left, job("retrain", "iris", "gain.parquet")], measured, 2
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "bad.yaml: holds no keys"),
        ("- grid", "bad.yaml:1: holds no keys"),
        ("grid: [\nseeds: ]]", "bad.yaml:2: no YAML"),
        (
            "grid: [{datasets: [wein], models: [linear], glitches: [uniform], ratios: [0.1], seeds: [0]}]",
            "bad.yaml:1: unknown dataset 'wein'",
        ),
        ("gird: []", "bad.yaml:1: config: unknown key 'gird'; did you mean 'grid'?"),
        (
            "models: {linear: {training: {default: {epochs: 2}}}}",
            "bad.yaml:1: models.linear: a study may not",
        ),
        (
            "grid: [{datasets: [wine], models: [linear], glitches: [uniform], ratios: [clean], seeds: [0]}]",
            "bad.yaml:1: grid[0]: glitch uniform needs a ratio such as 0.1, not clean",
        ),
    ],
)
@pytest.mark.parametrize("question", ["status", "plan", "verify"])
def test_a_study_that_cannot_be_read_is_refused_in_one_line_that_names_it(
    question: str,
    text: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    study = tmp_path / "bad.yaml"
    study.write_text(text)
    assert command.main([question, "--configfile", str(study)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert message in said[0]


@pytest.mark.parametrize("cores", ["0", "-2", "all"])
def test_no_cores_are_refused(cores: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["plan", f"--cores={cores}"])
    assert f"'{cores}' is no number of cores; write 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "no message"),
        ("Config file a is extended.\nWorkflowError:\nPathvars are wrong\n", "Pathvars are wrong"),
        (
            'Using profile p.\nWorkflowError in file "common.smk", line 54:\nmine.yaml:2: no\n  File "a", line 1\n',
            "mine.yaml:2: no",
        ),
        (
            "InputFunctionException in rule a in file b, line 4:\nError:\n  KeyError: 'mlp'\nWildcards:\n  c=9\n",
            "Error: KeyError: 'mlp'",
        ),
    ],
)
def test_the_reason_is_what_snakemake_says_last_of_all_but_the_places_in_code(
    output: str, reason: str
) -> None:
    assert jobs.reason(output) == reason


def test_a_folder_without_a_snakefile_is_asked_by_that_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text((ROOT / "config/studies/smoke.yaml").read_text())
    assert command.main(["plan", "--configfile", "mine.yaml"]) == 0
    assert "cells: 0 of 3 whole, 3 left" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()


# A Snakemake in whose place every target is written, where the copy of the study puts the results.
WRITING = """
import pathlib, sys, yaml
call = sys.argv[1:]
folder = pathlib.Path(call[call.index("--directory") + 1])
study = yaml.safe_load(pathlib.Path(call[call.index("--configfile") + 1]).read_text())
assert (folder / study["pathvars"]["results"] / "sources/iris").is_dir()
for target in call[: call.index("--snakefile")]:
    file = folder / target
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"anew")
"""


def test_verify_recomputes_beside_results_that_lie_outside_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "elsewhere"
    (results / "sources/iris").mkdir(parents=True)
    made = Path(CELL.format("iris").replace("results", str(results))) / "scores.parquet"
    made.parent.mkdir(parents=True)
    made.write_bytes(b"anew")
    study = yaml.safe_load((ROOT / "config/studies/smoke.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**study, "pathvars": {"results": str(results)}}))
    (tmp_path / "writing.py").write_text(WRITING)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(verify, "program", lambda: [sys.executable, str(tmp_path / "writing.py")])
    monkeypatch.setattr(verify, "read_jobs", lambda study: [Job("score", (str(made),), ("ok",), False)])
    assert "1 files recomputed" in verify.verify(str(tmp_path / "mine.yaml"), seed=0, cores=1)
    made.write_bytes(b"once")
    with pytest.raises(GlitchtraceError, match=r"scores\.parquet differs"):
        verify.verify(str(tmp_path / "mine.yaml"), seed=0, cores=1)


def test_what_a_study_names_beside_it_is_found_from_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.csv", "mine.safetensors", "part.py"):
        (tmp_path / name).touch()
    (tmp_path / "raw").mkdir()
    study = {
        "data_root": "raw",
        "components": ["part.py", "their.module"],
        "datasets": {"table_file@mine": {"path": "mine.csv"}, "iris@part": {"subset_size": 60}},
        "models": {"vit_b16@mine": {"weights": "mine.safetensors"}, "vit_b16@any": {"weights": "random"}},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    verify._copy_with_results_here("study.yaml", tmp_path / "copy.yaml")
    assert yaml.safe_load((tmp_path / "copy.yaml").read_text()) == {
        "data_root": str(tmp_path / "raw"),
        "components": [str(tmp_path / "part.py"), "their.module"],
        "datasets": {
            "table_file@mine": {"path": str(tmp_path / "mine.csv")},
            "iris@part": {"subset_size": 60},
        },
        "models": {
            "vit_b16@mine": {"weights": str(tmp_path / "mine.safetensors")},
            "vit_b16@any": {"weights": "random"},
        },
    }


def test_a_plan_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "study.yaml").write_bytes((ROOT / "config/studies/smoke.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert "train" in {job.rule for job in jobs.read_jobs("study.yaml")}
    assert [file.name for file in tmp_path.iterdir()] == ["study.yaml"]

"""The workflow as a user runs it: bad configurations, a smoke run, partial reruns."""

import collections
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from running import (
    CELL_STAGES,
    ROOT,
    SMOKE,
    Checkout,
    copy_of_the_checkout,
    folder_with_config,
    planned,
    snakemake,
)

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the smoke study has run to its end."""
    folder = folder_with_config(tmp_path_factory.mktemp("smoke"))
    done = snakemake(folder, *SMOKE, "--cores", "2")
    (folder / "said.txt").write_text(done.stdout + done.stderr)
    return folder


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished folder that a test may change."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder, symlinks=True)
    return folder


# --- text of the workflow -------------------------------------------------------------------------------------------


def test_lint_is_clean(tmp_path: Path) -> None:
    output = snakemake(folder_with_config(tmp_path / "run"), "--lint")
    assert "Congratulations" in output.stdout + output.stderr


def test_snakefmt_is_content() -> None:
    command = [str(Path(sys.executable).with_name("snakefmt")), "--check", "Snakefile", "workflow"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_compute_rule_runs_its_stage_by_the_one_script() -> None:
    assert [file.name for file in (ROOT / "workflow/scripts").iterdir() if file.suffix] == ["run_stage.py"]
    for file in (ROOT / "workflow/rules").rglob("*.smk"):
        rules = re.findall(r"^rule (\w+):\n(.*?)(?=^\w|\Z)", file.read_text(), re.DOTALL | re.MULTILINE)
        for rule, body in rules:
            target = "localrule: True" in body
            assert target or ("**stage(" in body and 'scripts/run_stage.py"' in body), rule


def test_the_process_of_a_job_sends_it_on_without_snakemake(tmp_path: Path) -> None:
    copy = Checkout(copy_of_the_checkout(tmp_path / "copy"))
    script = copy.folder / "workflow/scripts/run_stage.py"
    seen = (
        "import sys\nopen('seen', 'w').write(f\"{type(snakemake).__name__} {'snakemake' in sys.modules}\")\n"
    )
    script.write_text(seen + script.read_text())
    copy.run("results/sources/iris/source.json")
    assert (copy.folder / "seen").read_text() == "bytes False"


# --- bad configuration: one line, nothing started ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gird: []\n", "unknown key 'gird'; did you mean 'grid'?"),
        ("models: {linear: {training: {default: {epochs: 2}}}}\n", "name a variant"),
        (
            "grid: [{datasets: [wine], models: [linear], glitches: [far_anomalies], ratios: [0.1], seeds: [0]}]\n",
            "far_anomalies takes image data",
        ),
        (
            "grid: [{datasets: [../up], models: [linear], glitches: [uniform], ratios: [0.1], seeds: [0]}]\n",
            "'../up' is not a legal name",
        ),
        (
            "grid: [{datasets: [wine], models: [linear], glitches: [uniform], ratios: ['0.10', 0.1], seeds: [0]}]\n",
            "0.10 and 0.1 are the same ratio",
        ),
    ],
)
def test_a_bad_configuration_stops_before_any_job(text: str, message: str, tmp_path: Path) -> None:
    folder = folder_with_config(tmp_path / "run")
    (folder / "mine.yaml").write_text(text)
    done = snakemake(folder, "--configfile", "mine.yaml", "--cores", "1", check=False, starts_jobs=False)
    assert done.returncode
    lines = [line for line in (done.stdout + done.stderr).splitlines() if message in line]
    assert len(lines) == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (folder / "results").exists()


def test_a_diverged_training_says_so_in_one_line_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    folder = folder_with_config(tmp_path / "run")
    study = yaml.safe_load((ROOT / "config/studies/smoke.yaml").read_text())
    study["grid"] = [{**study["grid"][1], "models": ["linear@wild"]}]
    study["models"] = {"linear@wild": {"training": {"default": {"learning_rate": 1e38}}}}
    (folder / "wild.yaml").write_text(yaml.safe_dump(study))
    done = snakemake(folder, "scores", "--cores", "1", "--configfile", "wild.yaml", check=False)
    assert done.returncode
    output = done.stdout + done.stderr
    line = next(line for line in output.splitlines() if line.startswith("error in train:"))
    assert "diverged in epoch 1 at learning rate 1e+38" in line
    assert "learning_rate" in line.split(";")[1], "the remedy names the key"
    assert "Traceback" not in output
    assert not list(folder.rglob("*.safetensors"))


# --- commands of the README ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", re.findall(r"^snakemake (.*?) *(?:#.*)?$", README, re.M))
def test_a_call_that_the_readme_shows_has_jobs(command: str, tmp_path: Path) -> None:
    assert planned(folder_with_config(tmp_path / "run"), *shlex.split(command)).total()


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"(?:^|`)make ([a-z_-]+(?: STUDY=\w+)?)", README, re.M)))
)
def test_a_target_of_make_that_the_readme_names_exists(target: str) -> None:
    make = ["make", "--dry-run", "--assume-old=.venv/ready", *target.split()]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- the smoke run ----------------------------------------------------------------------------------------------


def test_the_smoke_run_makes_every_target(finished: Path) -> None:
    study = finished / "results/studies/smoke"
    summary = pd.read_parquet(study / "summary.parquet")
    assert set(summary["dataset"]) == {"iris", "wine"}
    f1 = summary[(summary["metric"] == "f1") & (summary["signal"] == "CNCI")]
    assert len(f1) == 3
    assert f1["value"].between(0, 1).all()
    assert list((study / "figures").rglob("*.svg"))
    assert len(list(finished.rglob("influence.npy"))) == 3


def test_a_run_ends_with_what_the_readme_says_that_it_found(finished: Path) -> None:
    (example,) = re.findall(r"^```\n(What was found.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert example in (finished / "said.txt").read_text()


def test_a_second_call_has_nothing_to_do(finished: Path) -> None:
    assert planned(finished, *SMOKE) == collections.Counter()


def test_a_deleted_signal_file_re_runs_exactly_its_cone(results: Path) -> None:
    (results / "results/iris/linear/uniform-0.1/seed-0/tracin/scores.parquet").unlink()
    jobs = planned(results, *SMOKE)
    once = {rule: jobs.pop(rule) for rule in ("detect", "evaluate_cell")}
    assert set(once.values()) == {1}
    assert jobs.pop("summarise_dataset") == 1
    assert not {
        "train",
        "profile_influence",
        "compute_influence",
        "inject_glitch",
        "repair_cell",
        "retrain",
    } & set(jobs)
    assert jobs.pop("summarise_study") == 1


def test_one_dataset_can_be_asked_for_alone(results: Path) -> None:
    shutil.rmtree(results / "results")
    jobs = planned(results, "results/studies/smoke/wine/summary.parquet", *SMOKE)
    assert jobs["summarise_dataset"] == 1
    assert jobs["train"] == 1
    assert jobs["fetch_data"] == 1


def test_another_study_on_the_same_cells_leaves_the_first_untouched(results: Path) -> None:
    other = {
        "grid": [
            {"datasets": ["iris"], "models": ["linear", "linear@slow"], "glitches": ["uniform"]}
            | {"ratios": [0.1], "seeds": [0]}
        ],
        "models": {"linear@slow": {"training": {"default": {"learning_rate": 0.01}}}},
        "repair": False,
        "detectors": ["SI", "CNCI"],
    }
    (results / "other.yaml").write_text(yaml.safe_dump(other))
    second = ["--configfile", "other.yaml"]
    jobs = planned(results, *second)
    assert jobs["train"] == 1, "the cell that both studies share is trained once"
    done = snakemake(results, "results/studies/other/summary.parquet", *second, "--cores", "2", "--verbose")
    assert planned(results, *SMOKE) == collections.Counter()
    # The scheduler looks for jobs when one has finished, and at no other time.
    assert 0 < (done.stdout + done.stderr).count("Ready jobs: ") <= jobs.total()


def test_one_more_seed_adds_its_cells_only(results: Path) -> None:
    text = (ROOT / "config/studies/smoke.yaml").read_text().replace("[0, 1]", "[0, 1, 2]")
    (results / "smoke.yaml").write_text(text)
    jobs = planned(results, "--configfile", "smoke.yaml")
    assert {rule: jobs[rule] for rule in CELL_STAGES} == dict.fromkeys(CELL_STAGES, 1)
    assert jobs["fetch_data"] == 0

"""The workflow as a user runs it: dry runs of every shipped study, a smoke run, partial reruns, kill and resume."""

import collections
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from running import ROOT, SMOKE, SNAKEMAKE, contents, folder_with_config, planned, snakemake

CELL_STAGES = (
    "train",
    "compute_influence",
    "profile_influence",
    "score_signals",
    "evaluate_cell",
    "repair_cell",
    "retrain",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the smoke study has run to its end."""
    folder = folder_with_config(tmp_path_factory.mktemp("smoke"))
    snakemake(folder, *SMOKE, "--cores", "2")
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
    command = [str(Path(sys.executable).with_name("snakefmt")), "--check", "Snakefile", "workflow/rules"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_compute_rule_has_a_thin_shim_of_its_name() -> None:
    shims = {file.stem: file.read_text() for file in (ROOT / "workflow/scripts").glob("*.py")}
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        text = file.read_text()
        for rule, body in re.findall(r"^rule (\w+):\n(.*?)(?=^\w|\Z)", text, re.DOTALL | re.MULTILINE):
            assert f'"../scripts/{rule}.py"' in body, rule
            assert len(shims.pop(rule).splitlines()) <= 15
    assert not shims, f"shims without a rule: {sorted(shims)}"


# --- dry runs of every shipped configuration --------------------------------------------------------------------


def resolved(file: Path | None) -> dict:
    """A configuration with every default, as Snakemake merges it."""
    from glitchtrace import configuration

    base = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config = configuration.merge(base, yaml.safe_load(file.read_text())) if file else base
    return configuration.resolve(config, configuration.load_schema(ROOT / configuration.SCHEMAS))


def different(cells: list[dict], *keys: str) -> int:
    """How many different values the keys take."""
    return len({tuple(cell[key] for key in keys) for cell in cells})


def small_matrices(cells: list[dict], config: dict) -> int:
    """How many cells have a matrix that is small enough to be among the targets."""
    from glitchtrace import grid

    sizes = [grid.sizes(cell["dataset"], config["settings"]["dataset"][cell["dataset"]]) for cell in cells]
    return sum(rows * columns <= config["matrix_entries"] for rows, columns in sizes)


def with_first_seed(file: Path, folder: Path) -> Path:
    """A copy of a study with the first seed of each block of cells: the plan of a seed is that of all."""
    study = yaml.safe_load(file.read_text())
    for block in study.get("grid", ()):
        block["seeds"] = block["seeds"][:1]
    folder.mkdir()
    (folder / file.name).write_text(yaml.safe_dump(study))
    return folder / file.name


@pytest.mark.parametrize(
    "file",
    [None, *sorted((ROOT / "config/studies").glob("*.yaml"))],
    ids=lambda file: file.stem if file else "default",
)
def test_a_shipped_configuration_plans_each_stage_once_per_cell(file: Path | None, tmp_path: Path) -> None:
    from glitchtrace import grid, registry
    from glitchtrace.repair.cincer import cells as cincer
    from glitchtrace.repair.cleansing import cells as cleansing
    from glitchtrace.repair.rdia import cells as rdia
    from glitchtrace.repair.rdia_ls import cells as rdia_ls

    folder = folder_with_config(tmp_path / "run")
    # The full grid is planned whole: its size is a promise.
    if file and file.stem != "full_grid":
        file = with_first_seed(file, tmp_path / "study")
    jobs = planned(folder, *(["--configfile", str(file)] if file else []))
    config = resolved(file)
    settings = config["settings"]
    cells = grid.rows(grid.cells(config["grid"], settings))
    relabelled, selected = rdia.cells(config["rdia"], settings), rdia_ls.cells(config["rdia_ls"], settings)
    frozen = [c for c in cells if registry.card("model", c["model"])["view"] == "features"]
    training = ("dataset", "model", "glitch", "ratio", "seed")
    expected = dict.fromkeys(CELL_STAGES, len(cells))
    expected |= {"train": different(cells, *training), "compute_influence": small_matrices(cells, config)}
    expected |= {"extract_features": different(frozen, *training)}
    expected |= {} if config["repair"] else {"repair_cell": 0, "retrain": 0}
    assert {stage: jobs[stage] for stage in expected} == expected
    assert sum(jobs.values()) < 10_000
    assert jobs["relabel_rdia"] == len(relabelled)
    assert jobs["measure_rdia"] == different(relabelled, "dataset", "learner", "glitch", "ratio", "seed")
    assert jobs["train_selection"] == len(selected)
    loops = cincer.cells(config["cincer"], settings)
    assert jobs["clean_interactively"] == len(loops)
    assert jobs["summarise_loops"] == bool(loops)
    cleansed = [cell.wildcards() for cell in cleansing.cells(config["cleansing"], settings)]
    for stage in ("record_training", "score_cleansing"):
        assert jobs[stage] == len(cleansed)
    assert jobs["measure_fidelity"] == len(cleansing.fidelity_cells(config["fidelity"]))
    every = cells + relabelled + selected + cleansed
    assert jobs["inject_glitch"] == different(every, "dataset", "glitch", "ratio", "seed")
    assert jobs["prepare_data"] == different(every, "dataset", "seed")
    assert jobs["summarise_dataset"] == different(cells, "dataset")
    for stage, its_cells in (
        ("study", cells),
        ("rdia", relabelled),
        ("rdia_ls", selected),
        ("cleansing", cleansed),
    ):
        assert jobs[f"summarise_{stage}"] == bool(its_cells)
    assert jobs["pretrain"] == 0


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
    done = snakemake(folder, "--configfile", "mine.yaml", "--cores", "1", check=False)
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
    done = snakemake(folder, "signals", "--cores", "1", "--configfile", "wild.yaml", check=False)
    assert done.returncode
    output = done.stdout + done.stderr
    line = next(line for line in output.splitlines() if line.startswith("error in train:"))
    assert "diverged in epoch 1 at learning rate 1e+38" in line
    assert "learning_rate" in line.split(";")[1], "the remedy names the key"
    assert "Traceback" not in output
    assert not list(folder.rglob("*.safetensors"))


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


def test_a_second_call_has_nothing_to_do(finished: Path) -> None:
    assert planned(finished, *SMOKE) == collections.Counter()


def test_a_deleted_signal_file_re_runs_exactly_its_cone(results: Path) -> None:
    (results / "results/iris/linear/uniform-0.1/seed-0/tracin/signals.parquet").unlink()
    jobs = planned(results, *SMOKE)
    once = {rule: jobs.pop(rule) for rule in ("score_signals", "evaluate_cell", "repair_cell", "retrain")}
    assert set(once.values()) == {1}
    assert jobs.pop("summarise_dataset") == 1
    assert not {"train", "profile_influence", "compute_influence", "inject_glitch"} & set(jobs)
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
        "signals": ["SI", "CNCI"],
    }
    (results / "other.yaml").write_text(yaml.safe_dump(other))
    second = ["--configfile", "other.yaml"]
    jobs = planned(results, *second)
    assert jobs["train"] == 1, "the cell that both studies share is trained once"
    snakemake(results, "results/studies/other/summary.parquet", *second, "--cores", "2")
    assert planned(results, *SMOKE) == collections.Counter()


def test_one_more_seed_adds_its_cells_only(results: Path) -> None:
    text = (ROOT / "config/studies/smoke.yaml").read_text().replace("[0, 1]", "[0, 1, 2]")
    (results / "smoke.yaml").write_text(text)
    jobs = planned(results, "--configfile", "smoke.yaml")
    assert {rule: jobs[rule] for rule in CELL_STAGES} == dict.fromkeys(CELL_STAGES, 1)
    assert jobs["fetch_data"] == 0


def test_a_killed_run_resumes_and_ends_with_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    folder = folder_with_config(tmp_path / "run")
    process = subprocess.Popen(
        [*SNAKEMAKE, *SMOKE, "--cores", "2"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 200
    while not list(folder.rglob("split.parquet")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    snakemake(folder, *SMOKE, "--unlock")
    snakemake(folder, *SMOKE, "--cores", "2")
    assert planned(folder, *SMOKE) == collections.Counter()
    ours = contents(folder)
    assert ours
    for path, content in ours.items():
        assert content == (finished / path).read_bytes(), path

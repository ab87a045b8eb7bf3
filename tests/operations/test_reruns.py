"""The recipes of docs/running.md for running a part again: the jobs that each of them starts are counted."""

import collections
import os
import random
import shutil
import time
from pathlib import Path

import yaml
from running import CELL_STAGES, Checkout, copy_of_the_checkout

SUMMARY = "results/studies/smoke/{}summary.parquet"
BEFORE_SIGNALS = {
    "fetch_data",
    "prepare_data",
    "inject_glitch",
    "train",
    "compute_influence",
    "profile_influence",
}


def cells(checkout: Checkout) -> int:
    return len(list(checkout.folder.glob("results/*/linear/*/seed-*/")))


def edit(checkout: Checkout, module: str, before: str, after: str) -> None:
    file = checkout.folder / "src/glitchtrace" / module
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def slower(checkout: Checkout) -> None:
    """Change a hyper-parameter of the model of all cells."""
    file = checkout.folder / "config/variants/models.yaml"
    config = yaml.safe_load(file.read_text())
    config["models"]["linear"]["training"]["default"]["learning_rate"] /= 2
    file.write_text(yaml.safe_dump(config))


def test_one_dataset_again_from_its_start(copy: Checkout) -> None:
    shutil.rmtree(copy.folder / "results/wine")
    shutil.rmtree(copy.folder / "results/studies/smoke/wine")
    jobs = copy.planned(SUMMARY.format("wine/"))
    assert {jobs[rule] for rule in ("prepare_data", "inject_glitch", "train", "evaluate_cell")} == {1}
    assert not {"fetch_data", "summarise_study"} & set(jobs)
    everything = copy.planned()
    assert {everything[rule] for rule in CELL_STAGES} == {1}, "the other dataset is whole"


def test_one_cell_again(copy: Checkout) -> None:
    shutil.rmtree(copy.folder / "results/iris/linear/uniform-0.1/seed-1")
    jobs = copy.planned()
    assert {rule: jobs[rule] for rule in CELL_STAGES} == dict.fromkeys(CELL_STAGES, 1)
    assert not {"fetch_data", "prepare_data", "inject_glitch"} & set(jobs)


def test_one_detector_added_in_a_folder_of_the_users(copy: Checkout) -> None:
    """It is scored and evaluated; nothing is trained, no influence computed and no repair made anew."""
    own = copy.folder / "mine/margin.py"
    own.parent.mkdir()
    own.write_text(
        '"""A detector of one\'s own."""\n\nKIND = "detector"\n'
        'CARD = {"label": "mine", "summary": "An example.", "needs": ["profile"], "finds": "label"}\n\n\n'
        "def detect(evidence):\n"
        '    """The self influence."""\n'
        "    return evidence.profiles.self_influence\n"
    )
    study = copy.folder / "config/studies/smoke.yaml"
    study.write_text(study.read_text() + "\ncomponents: [mine]\ndetectors: [default, margin]\n")
    jobs = copy.planned()
    assert jobs["detect"] == jobs["evaluate_cell"] == cells(copy)
    assert not {*BEFORE_SIGNALS, "repair_cell", "retrain"} & set(jobs)


def test_one_seed_added(copy: Checkout) -> None:
    study = copy.folder / "config/studies/smoke.yaml"
    study.write_text(study.read_text().replace("seeds: [0, 1]", "seeds: [0, 1, 2]"))
    jobs = copy.planned()
    assert {rule: jobs[rule] for rule in CELL_STAGES} == dict.fromkeys(CELL_STAGES, 1)
    assert jobs["prepare_data"] == jobs["inject_glitch"] == 1
    assert jobs["fetch_data"] == 0


def test_one_hyper_parameter_of_one_model_changed(copy: Checkout) -> None:
    file = copy.folder / "config/variants/models.yaml"
    config = yaml.safe_load(file.read_text())
    config["models"]["mlp"]["training"]["default"]["learning_rate"] /= 2
    file.write_text(yaml.safe_dump(config))
    assert set(copy.planned()) <= {"describe_study", "all"}, "no cell of the study has this model"
    slower(copy)
    jobs = copy.planned()
    assert jobs["train"] == jobs["retrain"] == cells(copy)
    assert not {"fetch_data", "prepare_data", "inject_glitch"} & set(jobs)


def test_a_library_edit_in_one_stage(copy: Checkout) -> None:
    edit(copy, "evaluation/stage.py", "_COSTS = (", "_COSTS = () + (")
    jobs = copy.planned()
    assert jobs["evaluate_cell"] == cells(copy)
    assert not ({*BEFORE_SIGNALS, "detect", "repair_cell", "retrain"}) & set(jobs)


def test_a_comment_edit_runs_nothing(copy: Checkout) -> None:
    for file in (copy.folder / "src/glitchtrace").rglob("*.py"):
        file.write_text("# a comment\n" + file.read_text())
    assert copy.planned() == collections.Counter()


def test_two_studies_share_their_cells(copy: Checkout) -> None:
    study = yaml.safe_load((copy.folder / "config/studies/smoke.yaml").read_text())
    study["grid"][0]["seeds"] = [1, 5]
    (copy.folder / "mine.yaml").write_text(yaml.safe_dump(study))
    jobs = copy.planned(study="mine.yaml")
    assert jobs["train"] == jobs["retrain"] == 1, "only seed 5 is new"
    assert jobs["summarise_study"] == 1, "summaries are the study's own"


def test_results_moved_to_another_machine(finished: Checkout, copy: Checkout, tmp_path: Path) -> None:
    assert copy.planned() == collections.Counter(), "the whole folder, elsewhere"
    fresh = Checkout(copy_of_the_checkout(tmp_path / "clone"))
    for name in ("results", ".snakemake/metadata"):
        shutil.copytree(finished.folder / name, fresh.folder / name)
    new_dates(fresh.folder, "results", "src", "workflow", "envs", "config")
    assert fresh.planned() == collections.Counter(), (
        "a fresh clone and the results, whose dates are in no order"
    )
    slower(fresh)
    assert fresh.planned()["train"] == cells(fresh), "what a file was made with came along"


def new_dates(folder: Path, *names: str) -> None:
    """Give all files dates of the last quarter of an hour, in no order: as a clone and a copy do."""
    draw, now = random.Random(0), time.time()
    for name in names:
        for file in sorted((folder / name).rglob("*")):
            date = now - draw.uniform(0, 900)
            os.utime(file, (date, date))


def test_without_what_snakemake_noted_a_change_is_not_seen(copy: Checkout) -> None:
    shutil.rmtree(copy.folder / ".snakemake/metadata")
    slower(copy)
    assert copy.planned()["train"] == 0, "as the page warns"


def test_a_file_that_is_touched_or_changed_and_changed_back_runs_nothing(copy: Checkout) -> None:
    for name in ("workflow", "src", "envs", "config", "profiles"):
        for file in (copy.folder / name).rglob("*"):
            file.touch()
    module = copy.folder / "src/glitchtrace/evaluation/stage.py"
    before = module.read_text()
    edit(copy, "evaluation/stage.py", "_COSTS = (", "_COSTS = () + (")
    module.write_text(before)
    source = copy.folder / "results/sources/wine/labels.npy"
    source.touch()
    assert copy.planned() == collections.Counter()
    source.write_bytes(source.read_bytes() + b" ")
    assert copy.planned()["prepare_data"] == 1, "another content"


def test_results_whose_times_were_lost(copy: Checkout) -> None:
    for number, file in enumerate(sorted((copy.folder / "results").rglob("*"), reverse=True)):
        os.utime(file, (number, number))
    shutil.rmtree(copy.folder / ".snakemake/metadata")
    assert copy.planned()
    copy.run("--touch")
    assert copy.planned() == collections.Counter()

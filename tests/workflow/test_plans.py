"""Dry runs of every shipped configuration: each stage is planned once per cell."""

from pathlib import Path

import pytest
import yaml
from running import CELL_STAGES, ROOT, SMOKE, folder_with_config, planned, snakemake


def resolved(file: Path | None) -> dict:
    """A configuration with every default, as Snakemake merges it."""
    from glitchtrace.core import configuration

    default = configuration.read(ROOT / configuration.DEFAULT)
    config = configuration.merge(default, configuration.read(file)) if file else default
    return configuration.complete(config, default, ROOT)


def different(cells: list[dict], *keys: str) -> int:
    """How many different values the keys take."""
    return len({tuple(cell[key] for key in keys) for cell in cells})


def small_matrices(cells: list[dict], config: dict) -> int:
    """How many cells have a matrix that is small enough to be among the targets."""
    from glitchtrace.core import grid

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
    from glitchtrace.core import grid, registry
    from glitchtrace.papers.cincer import cells as cincer
    from glitchtrace.papers.cleansing import cells as cleansing
    from glitchtrace.papers.rdia import cells as rdia
    from glitchtrace.papers.rdia_ls import cells as rdia_ls

    folder = folder_with_config(tmp_path / "run")
    seeds = 1
    if file:
        blocks = yaml.safe_load(file.read_text()).get("grid", ())
        seeds = max((len(block["seeds"]) for block in blocks), default=1)
        file = with_first_seed(file, tmp_path / "study")
    jobs = planned(folder, *(["--configfile", str(file)] if file else []))
    config = resolved(file)
    settings = config["settings"]
    cells = [cell.wildcards() for cell in grid.cells(config["grid"], settings)]
    relabelled, selected = rdia.cells(config["rdia"], settings), rdia_ls.cells(config["rdia_ls"], settings)
    frozen = [c for c in cells if registry.card("model", c["model"])["view"] == "features"]
    training = ("dataset", "model", "glitch", "ratio", "seed")
    expected = dict.fromkeys(CELL_STAGES, len(cells))
    expected |= {"train": different(cells, *training), "compute_influence": small_matrices(cells, config)}
    expected |= {"extract_features": different(frozen, *training)}
    expected |= {} if config["repair"] else {"repair_cell": 0, "retrain": 0}
    assert {stage: jobs[stage] for stage in expected} == expected
    assert sum(jobs.values()) * seeds < 10_000, "a seed adds no more jobs than the first one has"
    assert jobs["relabel_rdia"] == len(relabelled)
    assert jobs["measure_rdia"] == different(relabelled, "dataset", "learner", "glitch", "ratio", "seed")
    assert jobs["train_selection"] == len(selected)
    loops = cincer.cells(config["cincer"], settings)
    assert jobs["clean_interactively"] == len(loops)
    assert jobs["summarise_loops"] == bool(loops)
    left_out = cincer.influence_cells(config["cincer_influence"], settings)
    assert jobs["measure_leave_one_out"] == len(left_out)
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
    assert jobs["describe_study"] == 1, "every report holds configuration and provenance"


@pytest.mark.parametrize(
    ("changes", "compared", "gained"),
    [
        ({}, 1, 1),
        ({"detectors": "CNCI"}, 0, 1),
        ({"policies": ["none"]}, 1, 0),
        ({"repair": False, "policies": ["oracle"]}, 1, 0),
        ({"glitches": ["none"], "ratios": ["clean"]}, 0, 0),
    ],
)
def test_what_has_nothing_to_compare_is_not_asked_for(
    changes: dict, compared: int, gained: int, tmp_path: Path
) -> None:
    folder = folder_with_config(tmp_path / "run")
    block = {
        "datasets": ["iris"],
        "models": ["linear"],
        "glitches": ["uniform"],
        "ratios": [0.1],
        "seeds": [0],
    }
    study = {key: value for key, value in changes.items() if key not in block}
    study["grid"] = [{**block, **{key: value for key, value in changes.items() if key in block}}]
    (folder / "own.yaml").write_text(yaml.safe_dump(study))
    jobs = planned(folder, "--configfile", "own.yaml")
    assert (jobs["compare_signals"], jobs["plot_gain"]) == (compared, gained)
    assert jobs["describe_findings"] == 1


OUTSIDE = {
    "results/iris/mlp/uniform-0.1/seed-0/tracin/influence.npy": "the model 'mlp'",
    "results/digits/linear/uniform-0.1/seed-0/tracin/scores.parquet": "the dataset 'digits'",
    "results/iris/linear/unifrom-0.1/seed-0/factors.safetensors": "the glitch 'unifrom'",
    "results/studies/smoke/digits/summary.parquet": "the dataset 'digits'",
}


@pytest.mark.parametrize("target", OUTSIDE)
def test_a_target_outside_the_study_is_told_with_what_the_study_has(target: str, tmp_path: Path) -> None:
    folder = folder_with_config(tmp_path / "run")
    refused = snakemake(folder, target, "--dry-run", *SMOKE, check=False)
    assert refused.returncode
    output = refused.stdout + refused.stderr
    assert "KeyError" not in output
    (said,) = [line for line in output.splitlines() if "the target names" in line]
    assert f"{OUTSIDE[target]}, which is not in this study (it has " in said
    assert "--configfile" in said


@pytest.mark.parametrize(
    ("study", "stages"),
    [
        ("cleansing_smoke", {"record_training", "score_cleansing", "remove_and_retrain"}),
        ("cleansing_fidelity", {"measure_fidelity"}),
        ("cincer_smoke", {"clean_interactively"}),
        ("cincer_influence", {"measure_leave_one_out"}),
        ("rdia_digits", {"measure_rdia", "relabel_rdia", "train_selection"}),
    ],
)
def test_the_provenance_of_a_study_without_a_detection_grid_is_made_from_its_own_jobs(
    study: str, stages: set[str], tmp_path: Path
) -> None:
    folder = folder_with_config(tmp_path / "run")
    table = f"results/studies/{study}/tables/provenance.csv"
    jobs = planned(folder, table, "--configfile", str(ROOT / f"config/studies/{study}.yaml"))
    assert stages <= set(jobs)


# Target -> a study that has its runs, the last rule.
QUESTIONS = {
    "cincer_q1_q3_pictures": ("cincer_convnet", "plot_loops"),
    "cincer_q1_q3_tables": ("cincer_adult", "plot_loops"),
    "cincer_q2": ("cincer_precision", "summarise_loops"),
    "cincer_eval_ce": ("cincer_precision", "plot_loop_precision"),
    "cincer_eval_influence": ("cincer_influence", "plot_loop_influence"),
    "cincer_thresholds": ("cincer_thresholds", "plot_loop_thresholds"),
    "rdia_thresholds": ("rdia_mnist17", "tabulate_rdia_thresholds"),
    "rdia_baselines": ("rdia_digits", "tabulate_rdia_baselines"),
    "rdia_ls_accuracy": ("rdia_digits", "plot_rdia_ls"),
}


@pytest.mark.parametrize("target", QUESTIONS)
def test_a_research_question_has_a_target_and_other_studies_say_which_file_it_needs(
    target: str, tmp_path: Path
) -> None:
    study, last = QUESTIONS[target]
    folder = folder_with_config(tmp_path / "run")
    jobs = planned(folder, target, "--configfile", str(ROOT / f"config/studies/{study}.yaml"))
    assert jobs[last] >= 1
    drawn = {name for name in jobs if name.startswith("plot_")}
    assert drawn <= {last}, "a target makes what answers its question, and nothing else"
    other = "cincer_smoke" if target != "cincer_q1_q3_tables" else "cincer_influence"
    options = ("--cores", "1", "--dry-run", "--configfile", str(ROOT / f"config/studies/{other}.yaml"))
    refused = snakemake(folder, target, *options, check=False)
    assert refused.returncode
    assert f"target {target}: the configuration has no runs for it" in refused.stdout + refused.stderr

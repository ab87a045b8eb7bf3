"""The targets of the glitch papers: which study answers which, by dry runs and by the table that they are made from."""

import json
import re
from pathlib import Path

import pytest
import yaml
from running import PROGRAM, ROOT, finish, folder_with_config, planned, snakemake

from glitchtrace.core import configuration

# Target -> the study that an error names, and the names of the figures or tables, in each of their folders.
PAPER_TARGETS = {
    "signals_on_tables": ("tables", {"signals-uniform", "signals-class_dependent", "signals-near_anomalies"}),
    "signals_on_pictures": (
        "pictures",
        {
            "signals-uniform",
            "signals-class_dependent",
            "signals-far_anomalies",
            "signals-corruption@brightness",
            "signals-corruption@stripe",
        },
    ),
    "ratio_ablation": ("ratios", {"ratios-uniform", "ratios-near_anomalies", "ratios-far_anomalies"}),
    "f1_per_epoch": ("epochs", {"epochs-uniform", "epochs-near_anomalies", "epochs-far_anomalies"}),
    "clustered_accuracy": ("clustered_anomalies", {"clustered_anomalies"}),
    "all_classes_noise": ("all_classes", {"signals-class_dependent@all_classes"}),
    "mixtures_characterisation": ("mixtures", {"characterisation", "mixed"}),
    "corruption_signals": ("corruptions", {"signals-corruption@brightness", "signals-corruption@stripe"}),
    "clean_and_dirty_validation": ("dirty_validation", {"dirty_validation"}),
    "validation_accuracy": ("pictures", {"accuracy"}),
    "clean_training_change": ("pictures", {"accuracy"}),
    "self_influence_and_accuracy": (
        "self_influence",
        {"self-influence-uniform", "self-influence-far_anomalies"},
    ),
    "cost_by_phase": ("mnist", {"cost"}),
    "label_repair_accuracy": ("label_repair", {"label_repair"}),
}
EVERY_STUDY = {"validation_accuracy", "cost_by_phase"}


# One workflow that uses ours as a module under each study: a single call of Snakemake tells the files of all targets.
ASKED = sorted({study for study, _ in PAPER_TARGETS.values()} | {"human_labels", "cincer_smoke"})
ONE_STUDY = """
module {study}:
    snakefile: "{root}/workflow/Snakefile"
    config: configs["{study}"]
use rule * from {study} as {study}_*
answers["{study}"] = {{target: files() for target, (_, files) in {study}.GLITCH_TARGETS.items()}}
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, set[str]]]:
    """Study -> target -> names of its files, of the targets that the study answers."""
    folder = tmp_path_factory.mktemp("targets")
    base = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    configs = {
        study: configuration.merge(base, yaml.safe_load((ROOT / f"config/studies/{study}.yaml").read_text()))
        for study in ASKED
    }
    (folder / "configs.json").write_text(json.dumps(configs))
    parts = ["import json", "configs, answers = json.load(open('configs.json')), {}"]
    parts += [ONE_STUDY.format(study=study, root=ROOT) for study in ASKED]
    parts += ["json.dump(answers, open('answers.json', 'w'))"]
    (folder / "Snakefile").write_text("\n".join(parts))
    finish([PROGRAM, "--list-rules"], folder)
    found = json.loads((folder / "answers.json").read_text())
    return {
        study: {target: {Path(file).stem for file in files} for target, files in targets.items() if files}
        for study, targets in found.items()
    }


@pytest.mark.parametrize("target", PAPER_TARGETS)
def test_a_figure_of_the_glitch_papers_has_a_target_that_its_study_answers(
    target: str, answers: dict[str, dict[str, set[str]]]
) -> None:
    named, names = PAPER_TARGETS[target]
    assert answers[named][target] == names


def test_a_study_answers_no_other_target(answers: dict[str, dict[str, set[str]]]) -> None:
    # Human labels are glitches of pictures, but of none of the figures; a study without cells has no cost.
    assert set(answers["human_labels"]) == EVERY_STUDY
    assert not answers["cincer_smoke"]
    # No accuracy has changed where there is no clean training.
    assert set(answers["tables"]) == EVERY_STUDY | {"signals_on_tables", "clustered_accuracy"}
    # The same glitch in every class is no glitch of one class.
    assert set(answers["all_classes"]) == EVERY_STUDY | {"all_classes_noise"}


def test_a_target_of_the_glitch_papers_makes_its_figure_and_nothing_else(tmp_path: Path) -> None:
    folder = folder_with_config(tmp_path / "run")
    file = ROOT / "config/studies/mixtures.yaml"
    jobs = planned(folder, "mixtures_characterisation", "--configfile", str(file))
    drawn = {name for name in jobs if name.startswith(("plot_", "tabulate_", "compare_", "describe_"))}
    assert drawn == {"plot_characterisation", "tabulate_mixed"}
    options = ("--cores", "1", "--dry-run", "--configfile", str(file))
    refused = snakemake(folder, "ratio_ablation", *options, check=False)
    assert refused.returncode
    assert (
        "target ratio_ablation: the configuration has no runs for it; "
        "add --configfile config/studies/ratios.yaml"
    ) in refused.stdout + refused.stderr


def test_the_page_lists_the_targets_of_the_glitch_papers_with_their_studies() -> None:
    page = (ROOT / "docs/running.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|[^|]*\| `(\w+)`", page, re.MULTILINE)
    assert {target: study for target, _, study in rows} == {
        target: study for target, (study, _) in PAPER_TARGETS.items()
    }
    for _, figure, study in rows:
        title = (ROOT / f"config/studies/{study}.yaml").read_text().split("\n", 1)[0]
        number = re.search(r"Fig\. \d|Table \d", figure)
        assert number is None or number[0] in title


def test_a_dirty_validation_set_is_drawn_only_beside_its_clean_one(tmp_path: Path) -> None:
    folder = folder_with_config(tmp_path / "run")
    study = yaml.safe_load((ROOT / "config/studies/dirty_validation.yaml").read_text())
    block = {**study["grid"][0], "seeds": [0]}
    drawn = {}
    for name, datasets in {
        "both": ["mnist@clean_validation", "mnist@dirty_validation"],
        "alone": ["mnist@dirty_validation"],
        "strangers": ["fmnist@clean_validation", "mnist@dirty_validation"],
    }.items():
        (tmp_path / "own.yaml").write_text(
            yaml.safe_dump({"grid": [{**block, "datasets": datasets}], "repair": False})
        )
        jobs = planned(folder, "figures", "--configfile", str(tmp_path / "own.yaml"))
        drawn[name] = jobs["plot_dirty_validation"]
    assert drawn == {"both": 1, "alone": 0, "strangers": 0}

"""Make docs/reproduction.md: every published number and statement beside ours, with a verdict.

python docs/reproduction.py         from the committed tables docs/tables/*.csv, after updating those of every study
                                    that has been run below results/studies
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import yaml

from glitchtrace import configuration, grid, registry
from glitchtrace.files import replacing
from glitchtrace.reporting.style import human_name
from glitchtrace.reproduction import published
from glitchtrace.reproduction.published import Number
from glitchtrace.reproduction.statements import Statement
from glitchtrace.reproduction.statements import statements as published_statements
from glitchtrace.reproduction.tables import Tables, study_table
from glitchtrace.reproduction.verdicts import judge_change, judge_number, judge_statement

PAGE = Path("docs/reproduction.md")
CONFIG = Path("config/config.yaml")
FOLDER = Path("docs/tables")
STUDIES = Path("results/studies")
# CPU seconds of one cell, training, influence and signals: ResNet-20 measured (10 % of MNIST), the others estimated.
SECONDS = {
    "resnet20": 90,
    "vit_b16": 600,
    "convnext_tiny": 250,
    "tabular_mlp": 15,
    "tabular_resnet": 30,
    "ft_transformer": 300,
}
SECONDS_OF_A_REPAIR = 80
INTRODUCTION = Path("docs/reproduction_introduction.md")


def main() -> None:
    """Update the tables and write the page."""
    collect()
    with replacing(PAGE) as temporary:
        temporary.write_text(page(read()), encoding="utf-8")


def collect() -> None:
    """Make the table of every shipped study that has been run below ``results``."""
    for summary in sorted(STUDIES.glob("*/summary.parquet")):
        study = summary.parent
        if (CONFIG.parent / "studies" / f"{study.name}.yaml").is_file():
            epochs = sorted(study.glob("tables/*/epochs-*.csv"))
            table = study_table(summary, study / "cost.parquet", epochs)
            FOLDER.mkdir(exist_ok=True)
            table.round(6).to_csv(FOLDER / f"{study.name}.csv", index=False)


def read() -> Tables:
    """The committed tables."""
    tables = [
        pd.read_csv(file, dtype={"ratio": str}, keep_default_na=False, na_values={"mean": [""], "std": [""]})
        for file in sorted(FOLDER.glob("*.csv"))
    ]
    return Tables(pd.concat(tables, ignore_index=True))


def page(tables: Tables) -> str:
    """The text of the page."""
    sections = [
        ("Validation accuracy with glitches in training", numbers(published.validation_accuracies(), tables)),
        ("Training accuracy by kind of sample, ResNet-20", numbers(published.training_accuracies(), tables)),
        (
            "Change of validation accuracy against clean training, percentage points",
            numbers(published.changes(), tables, judge=judge_change),
        ),
        ("Accuracy on clustered anomalies", numbers(published.clustered(), tables)),
        ("F1 on MNIST, measured with the published code", numbers(published.measured(), tables)),
        ("Statements", statements(published_statements(), tables)),
        ("Order of running", running()),
    ]
    introduction = INTRODUCTION.read_text(encoding="utf-8")
    return introduction + "".join(f"\n## {title}\n\n{text}\n" for title, text in sections)


def numbers(
    rows: Sequence[Number],
    tables: Tables,
    judge: Callable[[Number, Tables], tuple[str, str] | None] = judge_number,
) -> str:
    """A Markdown table of published numbers."""
    lines = ["| dataset | model | what | published | ours | verdict |", "|:--|:--|:--|:--|:--|:--|"]
    for row in rows:
        ours, verdict = judge(row, tables) or ("–", row.missing or not_run(row.study))
        model = human_name("model", row.model)
        lines.append(f"| {row.dataset} | {model} | {row.words()} | {row.given()} | {ours} | {verdict} |")
    return "\n".join(lines)


def statements(rows: Sequence[Statement], tables: Tables) -> str:
    """A Markdown table of published statements."""
    lines = ["| statement | where | ours | verdict |", "|:--|:--|:--|:--|"]
    for row in rows:
        ours, verdict = judge_statement(row, tables) or ("–", row.missing or not_run(row.study))
        lines.append(f"| {row.what} | {row.where} | {ours} | {verdict} |")
    return "\n".join(lines)


def not_run(study: str) -> str:
    """What remains to be run for a row, and how long that takes."""
    names = study.split(" and ")
    return f"not yet run: {' and '.join(f'`{name}`' for name in names)}, about {sum(map(hours, names)):.1f} CPU hours"


@functools.cache
def hours(study: str) -> float:
    """Estimated CPU hours of a study from nothing: its trainings, and three retrainings of a repaired cell."""
    schema = configuration.load_schema()
    base = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    own = yaml.safe_load((CONFIG.parent / "studies" / f"{study}.yaml").read_text(encoding="utf-8"))
    config = configuration.resolve(configuration.merge(base, own), schema)
    cells = grid.cells(config["grid"], config["settings"])
    trained = {(cell.dataset, cell.model, cell.glitch, cell.ratio, cell.seed) for cell in cells}
    seconds = sum(SECONDS[registry.base_name(model)] for _, model, *_ in trained)
    return (seconds + (3 * SECONDS_OF_A_REPAIR * len(cells) if config["repair"] else 0)) / 3600


def running() -> str:
    """Studies in the order in which they are worth running, with their estimated hours."""
    order = (
        "mnist",
        "mnist_anomalies",
        "mnist_mixed",
        "mnist_published_code",
        "fmnist",
        "fmnist_anomalies",
        "cifar10_lossless",
        "cifar10_lossless_anomalies",
        "cifar10_jpeg",
        "cifar10_jpeg_anomalies",
        "mixtures",
        "one_class",
        "all_classes",
        "pictures_clean",
        "ratios",
        "corruptions",
        "tables",
        "covtype_tenth",
        "epsilon_smoke",
        "clustered_anomalies",
        "epochs",
        "dirty_validation",
        "label_repair",
        "self_influence",
        "pictures_models",
        "full_grid",
    )
    done = {file.stem for file in FOLDER.glob("*.csv")}
    lines = ["| study | CPU hours, estimated | run |", "|:--|--:|:--|"]
    lines += [f"| `{name}` | {hours(name):.1f} | {'yes' if name in done else 'no'} |" for name in order]
    note = (
        "One cell of ResNet-20 takes about 90 CPU seconds, a retraining 80 (measured); tables and frozen backbones "
        "are estimates, the latter with their share of the features, which each picture passes for once. Studies "
        "share cells: together they take less than the sum."
    )
    return "\n".join([*lines, "", note])


if __name__ == "__main__":
    main()

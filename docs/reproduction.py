"""Make docs/reproduction.md: every published number and statement beside ours, with a verdict.

python docs/reproduction.py         from the committed tables docs/tables/*.csv, after updating those of every study
                                    that has been run below results/studies
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from glitchtrace.core import configuration, paths
from glitchtrace.core.files import replacing
from glitchtrace.papers.glitches import published
from glitchtrace.papers.glitches.hours import Hours
from glitchtrace.papers.glitches.losses import last_losses
from glitchtrace.papers.glitches.published import Number
from glitchtrace.papers.glitches.statements import Statement
from glitchtrace.papers.glitches.statements import statements as published_statements
from glitchtrace.papers.glitches.tables import Found, Tables, fidelity_table, study_table
from glitchtrace.papers.glitches.verdicts import SEEDS, judge_number, judge_statement
from glitchtrace.reporting.style import human_name

PAGE = Path("docs/reproduction.md")
FOLDER = Path("docs/tables")
STUDIES = Path("results/studies")
LOSSES = "double_softmax"
INTRODUCTION = Path("docs/reproduction_introduction.md")
# Studies in the order in which they are worth running.
ORDER = (
    "mnist",
    "mnist_anomalies",
    "mnist_mixed",
    "mnist_label_rule",
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
    "pictures",
    "ratios",
    "corruptions",
    "more_corruptions",
    "published_corruptions",
    "human_labels",
    "tables",
    "covtype_tenth",
    "epsilon_smoke",
    "clustered_anomalies",
    "epochs_tables",
    "epochs",
    "dirty_validation",
    "label_repair",
    "self_influence",
    "pictures_models",
    "tables_full",
    "full_grid",
)


def main() -> None:
    """Update the tables and write the page."""
    collect()
    with replacing(PAGE) as temporary:
        temporary.write_text(page(read()), encoding="utf-8")


def collect() -> None:
    """Make the table of every study of this page that has been run below ``results``."""
    for summary in sorted(STUDIES.glob("*/summary.parquet")):
        study = summary.parent
        if study.name in ORDER or (FOLDER / f"{study.name}.csv").is_file():
            epochs = sorted(study.glob("tables/*/epochs-*.csv"))
            table = study_table(summary, study / "cost.parquet", epochs)
            FOLDER.mkdir(exist_ok=True)
            table.round(6).to_csv(FOLDER / f"{study.name}.csv", index=False)
    for agreement in sorted(STUDIES.glob("*/tables/fidelity.csv")):
        name = agreement.parents[1].name
        if (configuration.DEFAULT.parent / "studies" / f"{name}.yaml").is_file():
            fidelity_table(agreement).round(6).to_csv(FOLDER / f"{name}.csv", index=False)
    if found := losses():
        pd.DataFrame(found).round(6).to_csv(FOLDER / f"{LOSSES}.csv", index=False)


def losses() -> list[dict[str, object]]:
    """The published training losses of the cells that have been trained, a row each: the mean over their seeds."""
    rows = []
    for row in published.losses():
        cell = {"dataset": row.dataset, "model": row.model, "glitch": row.glitch, "ratio": row.ratio}
        seeds = {}
        for seed in range(SEEDS):
            factors, glitch = (
                Path(paths.fill(path, **cell, seed=seed)) for path in (paths.FACTORS, paths.GLITCH)
            )
            if factors.is_file():
                seeds[seed] = last_losses(factors, glitch)[row.metric.rpartition("_")[2]]
        if seeds:
            values = pd.Series(seeds)
            found = {"mean": values.mean(), "std": values.std(), "n": len(values)}
            listed = " ".join(f"{value:.6g}" for value in values)
            keys = {**cell, "estimator": row.estimator, "signal": "", "metric": row.metric}
            rows.append({**keys, **found, "values": listed})
    return rows


def read() -> Tables:
    """The committed tables of studies; those of other pages have other columns."""
    tables = [
        pd.read_csv(
            file, dtype={"ratio": str}, keep_default_na=False, na_values={"mean": [""], "std": [""]}
        ).assign(table=file.stem)
        for file in sorted(FOLDER.glob("*.csv"))
    ]
    studies = [table for table in tables if {"glitch", "signal", "metric", "mean"} <= set(table)]
    return Tables(pd.concat(studies, ignore_index=True))


def page(tables: Tables) -> str:
    """The text of the page."""
    hours = Hours(tables)
    sections = [
        (
            "Validation accuracy with glitches in training",
            numbers(published.validation_accuracies(), tables, hours),
        ),
        (
            "Training accuracy by kind of sample, ResNet-20",
            numbers(published.training_accuracies(), tables, hours),
        ),
        ("Training loss by kind of sample, ResNet-20", numbers(published.losses(), tables, hours)),
        (
            "Change of validation accuracy against clean training, percentage points",
            numbers(published.changes(), tables, hours),
        ),
        ("Accuracy on clustered anomalies", numbers(published.clustered(), tables, hours)),
        ("F1 on MNIST, measured with the published code", numbers(published.measured(), tables, hours)),
        ("Statements", statements(published_statements(), tables, hours)),
        ("Order of running", running(hours)),
    ]
    introduction = INTRODUCTION.read_text(encoding="utf-8")
    whole = "".join(f"\n## {title}\n\n{text}\n" for title, text in sections)
    return f"{introduction}\n## Verdicts\n\n{verdicts(whole)}\n{whole}"


def verdicts(text: str) -> str:
    """How many rows have each verdict."""
    found = [line.split(" | ")[-2].partition(":")[0] for line in text.splitlines() if line.endswith(" |")]
    kinds = ("reproduced", "differs", "undecided", "not yet run", "not reproducible here", "a smoke test")
    counts = {kind: sum(verdict.startswith(kind) for verdict in found) for kind in kinds}
    lines = ["| verdict | rows |", "|:--|--:|", *(f"| {name} | {count} |" for name, count in counts.items())]
    return "\n".join([*lines, f"| all | {sum(counts.values())} |"])


def numbers(rows: Sequence[Number], tables: Tables, hours: Hours) -> str:
    """A Markdown table of published numbers."""
    lines = [
        "| dataset | model | what | published | ours | verdict | seeds |",
        "|:--|:--|:--|:--|:--|:--|:--|",
    ]
    for row in rows:
        tables.seen.clear()
        ours, verdict = judge_number(row, tables) or ("–", row.missing or not_run(row.study, hours))
        cells = (row.dataset, human_name("model", row.model), row.words(), row.given(), ours, verdict)
        lines.append(f"| {' | '.join(cells)} | {seeds(tables.seen)} |")
    return "\n".join(lines)


def statements(rows: Sequence[Statement], tables: Tables, hours: Hours) -> str:
    """A Markdown table of published statements."""
    lines = ["| statement | where | ours | verdict | seeds |", "|:--|:--|:--|:--|:--|"]
    for row in rows:
        tables.seen.clear()
        judged = judge_statement(row, tables)
        ours, verdict = judged or ("–", row.missing or not_run(row.study, hours))
        lines.append(
            f"| {row.what} | {row.where} | {ours} | {verdict} | {seeds(tables.seen if judged else [])} |"
        )
    return "\n".join(lines)


def seeds(seen: Sequence[Found]) -> str:
    """Where the values of the seeds behind a row lie."""
    names = sorted({found.table for found in seen if found.table})
    return ", ".join(f"[{name}](tables/{name}.csv)" for name in names) or "–"


def not_run(study: str, hours: Hours) -> str:
    """What remains to be run for a row, and how long that takes."""
    return f"not yet run: `{study}`, about {hours.of(study):.1f} CPU hours"


def running(hours: Hours) -> str:
    """Studies in the order in which they are worth running, with their estimated hours."""
    done = {file.stem for file in FOLDER.glob("*.csv")}
    lines = ["| study | CPU hours, estimated | run |", "|:--|--:|:--|"]
    lines += [f"| `{name}` | {hours.of(name):.1f} | {'yes' if name in done else 'no'} |" for name in ORDER]
    note = (
        "Hours are estimated from the CPU seconds of the cells that were run, of the same dataset and model or of the "
        "same model by its seconds per training sample; ViT-B/16 and ConvNeXt-Tiny from their speed with random "
        "weights, each picture passing once. Studies share cells: together they take less than the sum."
    )
    return "\n".join([*lines, "", note])


if __name__ == "__main__":
    main()

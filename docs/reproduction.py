"""Make docs/reproduction.md: every published number and statement beside ours, with a verdict.

python docs/reproduction.py         from the committed tables docs/tables/*.csv, after updating those of every study
                                    that has been run below results/studies
"""

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import published
import reproduction_tables
import yaml
from published import Number, Statement
from reproduction_tables import Found, Tables

from glitchtrace import configuration, grid, registry
from glitchtrace.files import replacing
from glitchtrace.reporting.style import human_name

PAGE = Path("docs/reproduction.md")
CONFIG = Path("config/config.yaml")
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
SEEDS = 5
# Differences up to here are rounding of the published numbers.
ROUNDING = 0.01
# A larger difference is not called reproduced, however wide the spread over seeds.
WIDE = 0.05

INTRODUCTION = Path("docs/reproduction_introduction.md")


def main() -> None:
    """Update the tables and write the page."""
    reproduction_tables.collect()
    with replacing(PAGE) as temporary:
        temporary.write_text(page(reproduction_tables.read()), encoding="utf-8")


def page(tables: Tables) -> str:
    """The text of the page."""
    sections = [
        ("Validation accuracy with glitches in training", numbers(published.validation_accuracies(), tables)),
        ("Training accuracy by kind of sample, ResNet-20", numbers(published.training_accuracies(), tables)),
        (
            "Change of validation accuracy against clean training, percentage points",
            numbers(published.changes(), tables, compare=change),
        ),
        ("Accuracy on clustered anomalies", numbers(published.clustered(), tables)),
        ("F1 on MNIST, measured with the published code", numbers(published.measured(), tables)),
        ("Statements", statements(published.statements(), tables)),
        ("Order of running", running()),
    ]
    introduction = INTRODUCTION.read_text(encoding="utf-8")
    return introduction + "".join(f"\n## {title}\n\n{text}\n" for title, text in sections)


def numbers(
    rows: Sequence[Number],
    tables: Tables,
    compare: Callable[[Number, Tables], tuple[str, str] | None] | None = None,
) -> str:
    """A Markdown table of published numbers."""
    lines = ["| dataset | model | what | published | ours | verdict |", "|:--|:--|:--|:--|:--|:--|"]
    for row in rows:
        what = f"{row.what}, {registry.card('signal', row.signal)['label']}" if row.signal else row.what
        given = f"{row.published:g}" + (f" ± {row.deviation:.2f}" if row.deviation is not None else "")
        found = (compare or value)(row, tables)
        ours, verdict = found or ("–", row.missing or not_run(row.study))
        lines.append(
            f"| {row.dataset} | {human_name('model', row.model)} | {what} | {given} | {ours} | {verdict} |"
        )
    return "\n".join(lines)


def value(row: Number, tables: Tables) -> tuple[str, str] | None:
    """Our mean beside the published number, and the verdict."""
    found = row.found(tables)
    if found is None:
        return None
    spread = math.hypot(row.deviation or 0, 0 if math.isnan(found.deviation) else found.deviation)
    difference = found.mean - row.published
    if abs(difference) <= max(ROUNDING, 2 * spread):
        wide = abs(difference) > WIDE
        return text(found), f"within the spread, which is wide ({difference:+.3f})" if wide else "reproduced"
    return text(found), f"differs by {difference:+.3f}" + (f": {row.why}" if row.why else "")


def change(row: Number, tables: Tables) -> tuple[str, str] | None:
    """The change of accuracy in percentage points; reproduced where zero or the published change is within reach."""
    found = row.found(tables)
    clean = tables.value(row.dataset, row.model, *(row.minus or ()), row.signal, row.metric)
    if not (found and clean):
        return None
    points = 100 * (found.mean - clean.mean)
    spread = 100 * math.hypot(found.deviation, clean.deviation)
    ours = f"{points:+.2f} ± {spread:.2f}"
    if abs(points - row.published) <= max(100 * ROUNDING, 2 * spread):
        return ours, "reproduced"
    return ours, f"differs by {points - row.published:+.2f} points: {row.why}"


def statements(rows: Sequence[Statement], tables: Tables) -> str:
    """A Markdown table of published statements."""
    lines = ["| statement | where | ours | verdict |", "|:--|:--|:--|:--|"]
    for row in rows:
        tables.seeds_seen.clear()
        found = row.check(tables)
        if found:
            few = min(tables.seeds_seen)
            ours = found[0] + (f" ({few} seed{'s' if few > 1 else ''})" if few < SEEDS else "")
            verdict = "reproduced" if found[1] else "differs"
        else:
            ours, verdict = "–", row.missing or not_run(row.study)
        lines.append(f"| {row.what} | {row.where} | {ours} | {verdict} |")
    return "\n".join(lines)


def text(found: Found) -> str:
    """Mean ± standard deviation and the number of seeds."""
    if math.isnan(found.deviation):
        return f"{found.mean:.3f} (1 seed)"
    return f"{found.mean:.3f} ± {found.deviation:.3f} ({found.seeds} seeds)"


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
        "clustered_anomalies",
        "epochs",
        "dirty_validation",
        "label_repair",
        "self_influence",
        "pictures_models",
        "full_grid",
    )
    done = {file.stem for file in reproduction_tables.FOLDER.glob("*.csv")}
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

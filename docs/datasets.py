"""Put the facts of every dataset, from its card and its raw files, into docs/datasets.md (``make docs``).

The accuracies by learning rate are those of docs/tables/tabular_rates.csv.
"""

import re
from pathlib import Path

import pandas as pd

from glitchtrace.core import configuration, files, registry
from glitchtrace.reporting.style import human_name
from glitchtrace.reporting.tables import markdown_table

PAGE = Path(__file__).with_suffix(".md")
RATES = PAGE.parent / "tables/tabular_rates.csv"


def facts(name: str) -> str:
    """Content, size, licence, citation and checksums of one dataset, as Markdown."""
    card = registry.card("dataset", name)
    rows = [f"{count:,} {'rows' if part == 'all' else part}" for part, count in card["rows"].items()]
    size = f"{', '.join(rows) or 'as many rows as the files hold'}; {card['classes'] or 'its'} classes"
    lines = [card["summary"], "", f"* {size}", f"* licence: {card['licence']}"]
    lines += [f"* {card['citation']}"] if card["citation"] != "none" else []
    lines += [f"* source: {card['source']}"]
    raw_files = getattr(registry.load("dataset", name), "files", ())
    lines += [f"* `{raw.path}`, {raw.checksum.replace(':', ' ')}" for raw in raw_files]
    return "\n".join(lines)


def rates() -> str:
    """Validation accuracy after the last epoch at each learning rate; bold: the rate that is the default."""
    found = pd.read_csv(RATES)
    models = configuration.variants(PAGE.parents[1])["models"]
    last = [name for name in found if name.startswith("accuracy_")][-1]
    rows = []
    for (dataset, model), part in found.groupby(["dataset", "model"]):
        training = models[model]["training"]
        chosen = {**training["default"], **training.get(dataset, {})}["learning_rate"]
        row = {"data, network": f"{human_name('dataset', dataset)}, {human_name('model', model)}"}
        for rate, accuracy in zip(part["rate"], part[last], strict=True):
            shown = "diverged" if pd.isna(accuracy) else f"{accuracy:.3f}"
            row[f"{rate:g}"] = f"**{shown}**" if rate == chosen else shown
        rows.append(row)
    return markdown_table(pd.DataFrame(rows))


def add_section(name: str) -> None:
    """Give a dataset that the page does not know a section of its own, at its place by name."""
    text = PAGE.read_text(encoding="utf-8")
    later = [other for other in re.findall(r"^## (\w+)$", text, re.MULTILINE) if other > name]
    before, heading, after = text.partition(f"## {later[0] if later else 'Other data'}\n")
    section = f"## {name}\n\n<!-- {name}: begin -->\n<!-- {name}: end -->\n\n"
    PAGE.write_text(f"{before}{section}{heading}{after}", encoding="utf-8")


if __name__ == "__main__":
    for dataset in registry.names("dataset"):
        if f"<!-- {dataset}: begin -->" not in PAGE.read_text(encoding="utf-8"):
            add_section(dataset)
        files.replace_section(PAGE, dataset, facts(dataset))
    files.replace_section(PAGE, "rates", rates())

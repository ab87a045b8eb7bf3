"""The report of a study as one page: findings first, then every figure with its caption and its table.

Plain HTML without scripts: it opens offline, prints, and can be read on a telephone.
"""

import base64
import html
import mimetypes
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_text
from glitchtrace.reporting.style import human_name

FINDINGS = "Findings"
# Categories in the order of a reader's questions; others follow by name, provenance comes last.
_FIRST = (FINDINGS, "Detection", "Gallery", "Characterisation", "Repair", "Training", "Reproduction")
_LAST = ("Cost", "Provenance")
_NAMED = {
    "dataset": "dataset", "model": "model", "glitch": "glitch", "estimator": "estimator", "signal": "detector",
    "policy": "policy",
}  # fmt: skip
_HEADS = {"signal": "detector", "std": "standard deviation", "n": "seeds", "cpu_seconds": "CPU seconds"}
# What a result is called, by the name of its caption.
TITLES = {
    "accuracy": "How well the networks are trained",
    "characterisation": "Which kind each glitch was said to be",
    "cleansing": "Cleansing",
    "cleansing_cost": "Cost of cleansing",
    "clustered_anomalies": "Accuracy on clustered anomalies",
    "configuration": "Configuration of the study",
    "cost": "CPU time of one cell",
    "dirty_validation": "Clean and dirty validation samples",
    "epochs": "Detection after each epoch",
    "fidelity": "Estimated and true influence",
    "findings": "Findings",
    "gain": "What each repair brought",
    "gallery": "Most suspicious pictures",
    "history": "Training, epoch by epoch",
    "label_repair": "Right labels proposed",
    "loop_gallery": "Pictures that were asked about",
    "loop_influence": "Influence of counter-examples",
    "loop_precision": "Precision of counter-examples",
    "loop_thresholds": "Thresholds of suspicion",
    "loops": "Interactive cleaning",
    "mixed": "Detection and kinds in mixtures",
    "provenance": "What the results were made from",
    "ratios": "Detection by share of glitches",
    "rdia": "Relabelling by influence",
    "rdia_baselines": "Relabelling beside other repairs",
    "rdia_ls": "Relabelling by loss",
    "rdia_thresholds": "Thresholds of relabelling",
    "reproduction": "Published numbers and ours",
    "self_influence": "Self influence and accuracy",
    "signals": "How many glitches each detector finds",
}
# A wider figure is scrolled in its frame on a small screen rather than shrunk until nobody can read it.
_READABLE_PIXELS = 620


@dataclass
class Section:
    """What one job adds to the report: figures and tables with one caption (HTML)."""

    category: str
    title: str
    caption: str
    files: list[Path] = field(default_factory=list)


def write_page(path: str | Path, sections: Iterable[Section], description: str) -> None:
    """Write the page of these sections; ``description`` (HTML) explains how to read it.

    Raises GlitchtraceError where ``path`` is not an .html file, or a file of a section is of a kind that no page
    can show.
    """
    if Path(path).suffix != ".html":
        raise GlitchtraceError(f"{path} is not the name of a page; choose one that ends in .html")
    by_category: dict[str, list[Section]] = {}
    for section in sections:
        by_category.setdefault(section.category, []).append(section)
    names = sorted(by_category, key=_place)
    links = "".join(f'<li><a href="#{_anchor(name)}">{html.escape(name)}</a></li>' for name in names)
    parts = [_category(name, by_category[name]) for name in names]
    css = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>glitchtrace: report of a study</title>
<style>{css}</style>
</head>
<body>
<nav aria-label="Sections"><ul>{links}<li><a href="#reading">How to read it</a></li></ul></nav>
<header><h1>Glitches in training data: what was found, and what repairing was worth</h1></header>
<main>
{"".join(parts)}
<section id="reading"><h2>How to read it</h2>{_without_scripts(description)}</section>
</main>
</body>
</html>
"""
    write_text(text, path)


def title(caption: str, cell: Mapping[str, str]) -> str:
    """The title of a result: what its caption is about, and for which component of the ``cell``, in words."""
    names = [human_name(axis, name) for axis, name in cell.items() if axis in _NAMED and axis != "estimator"]
    if cell.get("ratio", "")[:1].isdigit():
        names.append(f"{100 * float(cell['ratio']):g} %")
    return ": ".join(filter(None, [TITLES.get(caption, caption.replace("_", " ")), ", ".join(names)]))


def _place(category: str) -> tuple[int, str]:
    if category in _FIRST:
        return _FIRST.index(category), ""
    return len(_FIRST) + (1 + _LAST.index(category) if category in _LAST else 0), category


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def _category(name: str, sections: list[Section]) -> str:
    if name == FINDINGS:  # its files bring headings of their own
        inner = "".join(_shown(path, "") for section in sections for path in section.files)
    else:
        inner, said = f"<h2>{html.escape(name)}</h2>", set()
        for one in sorted(sections, key=lambda one: one.title):
            # A dozen figures of one kind have one caption: it stands under the first of them.
            caption = "<p>Caption as above.</p>" if one.caption in said else _without_scripts(one.caption)
            said.add(one.caption)
            inner += f"<h3>{html.escape(one.title)}</h3>"
            inner += "".join(_shown(path, one.title) for path in sorted(one.files, key=_figures_first))
            inner += f'<div class="caption">{caption}</div>'
    return f'<section id="{_anchor(name)}">{inner}</section>\n'


def _figures_first(path: Path) -> tuple[bool, str]:
    return path.suffix == ".csv", path.name


def _without_scripts(text: str) -> str:
    """HTML of a caption without the links that only Snakemake's own page can follow."""
    return re.sub(r'<a [^>]*href="(?:javascript|mailto):[^>]*>(.*?)</a>', r"\1", text, flags=re.DOTALL)


def _shown(path: Path, title: str) -> str:
    """A file as a piece of the page."""
    if path.suffix == ".csv":
        return _table(path)
    if path.suffix == ".html":
        return re.sub(r".*<body>|</body>.*", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    mime = mimetypes.guess_type(path.name)[0] or ""
    if not mime.startswith("image/"):
        raise GlitchtraceError(
            f"{path}: a page shows pictures, CSV and HTML; put svg or png first in figures: formats"
        )
    width = _width(path)
    style = f"max-width:{width}px;min-width:{min(width, _READABLE_PIXELS)}px"
    return (
        f'<div class="wide figure" tabindex="0" role="group" aria-label="{html.escape(title)}">'
        f'<img alt="{html.escape(title)}" loading="lazy" style="{style}" src="{_uri(path, mime)}"></div>'
    )


def _width(path: Path) -> int:
    """The natural width of a picture in pixels of a screen."""
    if path.suffix == ".svg":
        found = re.search(r'<svg[^>]*\swidth="([\d.]+)pt"', path.read_text(encoding="utf-8")[:4000])
        return round(float(found[1]) * 4 / 3) if found else _READABLE_PIXELS
    return 2 * _READABLE_PIXELS


def _uri(path: Path, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _table(path: Path) -> str:
    """A CSV as a folded table in words, and the file itself."""
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    rows = "row" if len(table) == 1 else "rows"
    return (
        f"<details><summary>Table, {len(table)} {rows}</summary>"
        f'<p class="note"><a download="{html.escape(path.name)}" href="{_uri(path, "text/csv")}">Save as CSV</a></p>'
        f"{html_table(in_words(table))}</details>"
    )


def in_words(table: pd.DataFrame) -> pd.DataFrame:
    """A table for readers: components by their usual names, heads without underscores.

    Numbers have four significant digits; those of five or six digits are whole.
    """
    told = {
        column: [
            _word(_NAMED[column], value) if column in _NAMED else _number(value) for value in table[column]
        ]
        for column in table
    }
    heads = {name: _HEADS.get(name, name.replace("_", " ")) for name in map(str, table)}
    return pd.DataFrame(told).rename(columns=heads)


def _word(kind: str, name: str) -> str:
    try:
        return human_name(kind, name)
    except GlitchtraceError:  # a table of another system, which uses the word otherwise
        return name


def _number(value: str) -> str:
    if not re.fullmatch(r"-?\d+(\.\d+(e[-+]\d+)?|e[-+]\d+)", value):
        return value
    number = float(value)
    return f"{number:.0f}" if 9999.5 <= abs(number) < 999_999.5 else f"{number:.4g}"


def html_table(table: pd.DataFrame, marked: Iterable[bool] = ()) -> str:
    """A table of texts as HTML in a frame that scrolls by itself; ``marked`` rows stand out."""
    numeric = {
        column: all(re.fullmatch(r"[-+−]?[\d.,]+(e[-+]?\d+)?( %)?|–|", str(value)) for value in table[column])
        for column in table
    }
    classes = {column: ' class="number"' if numeric[column] else "" for column in table}
    head = "".join(f'<th scope="col"{classes[column]}>{html.escape(str(column))}</th>' for column in table)
    flags = list(marked) or [False] * len(table)
    body = "".join(
        ('<tr class="harm">' if flag else "<tr>")
        + "".join(_entry(value, classes[column]) for column, value in zip(table, row, strict=True))
        + "</tr>"
        for flag, row in zip(flags, table.itertuples(index=False, name=None), strict=True)
    )
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="table"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _entry(value: object, kind: str) -> str:
    text = str(value)
    long = ' class="long"' if len(text) > 40 else kind
    return f"<td{long}>{html.escape(text)}</td>"

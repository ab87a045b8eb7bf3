"""What pages with numbers share: small tables taken from results, and sections filled from these tables alone.

A study writes large results below ``results/``, which nobody commits.  ``take`` keeps of them the small tables that a
page needs, below docs/tables/; ``fill`` then writes the page from these, so that everybody can recompute its numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from glitchtrace.core.files import read_parquet, replace_section
from glitchtrace.reporting.tables import write_csv

FOLDER = Path("docs/tables")
STUDIES = Path("results/studies")
UNBACKED = "*Measured by an earlier version; no table of it is kept. To measure it again: {command}.*"
# Columns that look like numbers and are names.
NAMES = {"ratio": str, "noise": str, "threshold": str}


@dataclass(frozen=True)
class Section:
    """A section of a page: the committed tables that it is made of, the function of them, and what remakes them."""

    tables: tuple[str, ...]
    text: Callable[..., str]
    command: str


def remake(
    page: str, tables: Mapping[str, Callable[[], pd.DataFrame | None]], sections: Mapping[str, Section]
) -> None:
    """Take every table whose study has been run, fill the page, and name what no table backs."""
    for name, take in tables.items():
        found = take()
        if found is not None and len(found):
            write_csv(found, FOLDER / f"{name}.csv")
    for name, text in texts(page, sections).items():
        replace_section(page, name, text)
    if kept := unbacked(sections):
        print(f"{page}: no table for {', '.join(kept)}")


def texts(page: str, sections: Mapping[str, Section]) -> dict[str, str]:
    """The text of each section: made from its tables, or as it stands under a sentence that says so."""
    found = {}
    for name, section in sections.items():
        frames = [table(name) for name in section.tables]
        if all(frame is not None for frame in frames):
            found[name] = section.text(*frames)
        else:
            sentence = UNBACKED.format(command=section.command)
            found[name] = f"{sentence}\n\n{standing(page, name).removeprefix(sentence).strip()}"
    return found


def unbacked(sections: Mapping[str, Section]) -> list[str]:
    """The sections that no committed table backs."""
    return [name for name, section in sections.items() if any(table(file) is None for file in section.tables)]


def table(name: str) -> pd.DataFrame | None:
    """A committed table; None where there is none."""
    file = FOLDER / f"{name}.csv"
    return pd.read_csv(file, dtype=NAMES, keep_default_na=False, na_values=[""]) if file.is_file() else None


def standing(page: str, section: str) -> str:
    """What stands in a section of a page."""
    _, _, rest = Path(page).read_text(encoding="utf-8").partition(f"<!-- {section}: begin -->")
    return rest.partition(f"<!-- {section}: end -->")[0].strip()


def result(study: str, file: str) -> pd.DataFrame | None:
    """A table of a study's results, Parquet or CSV; None where the study has not been run."""
    path = STUDIES / study / file
    if not path.is_file():
        return None
    return pd.read_csv(path, dtype=NAMES) if path.suffix == ".csv" else read_parquet(path)

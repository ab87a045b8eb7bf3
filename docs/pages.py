"""What pages with numbers share: small tables taken from results, and sections filled from these tables alone.

A study writes large results below ``results/``, which nobody commits.  ``take`` keeps of them the small tables that a
page needs, below docs/tables/; ``remake`` then writes the page from these, so that everybody can recompute its numbers.
Of measurements by an earlier version, whose results are gone, the rows that the page showed are kept in
docs/tables/earlier/; they stand on the page, and say so, until the study is run again.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from glitchtrace.core.files import read_parquet, replace_section
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.reporting.tables import markdown_table, write_csv

FOLDER = Path("docs/tables")
STUDIES = Path("results/studies")
EARLIER = FOLDER / "earlier"
UNBACKED = "*Measured by an earlier version; [these rows]({file}) are all that is left. To measure again: {command}.*"
# Columns that look like numbers and are names.
NAMES = {"ratio": str, "noise": str, "threshold": str}


@dataclass(frozen=True)
class Section:
    """A section of a page: the committed tables that it is made of, the function of them, and what remakes them.

    ``words``: the sentences below the rows, whose numbers it takes from the rows as they are shown.
    """

    tables: tuple[str, ...]
    text: Callable[..., str | pd.DataFrame]
    command: str
    words: Callable[[pd.DataFrame], str] | None = None


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
    """The text of each section: made from its tables, or of the rows of an earlier version, which it says."""
    found = {}
    for name, section in sections.items():
        frames, line = [table(name) for name in section.tables], ""
        shown: str | pd.DataFrame
        if all(frame is not None for frame in frames):
            shown = section.text(*frames)
        else:
            file = EARLIER / f"{Path(page).stem}_{name.replace(' ', '_')}.csv"
            shown = pd.read_csv(file, dtype=str, keep_default_na=False)
            shown = shown.rename(columns=lambda head: "" if head.startswith("Unnamed: ") else head)
            link = file.relative_to(Path(page).parent)
            line = f"{UNBACKED.format(file=link, command=section.command)}\n\n"
        if isinstance(shown, pd.DataFrame):
            words = section.words(shown.astype(str)) if section.words else ""
            shown = markdown_table(shown) + (f"\n\n{words}" if words else "")
        found[name] = line + shown
    return found


def mean_of(cell: str) -> float:
    """The first number of a cell such as ``0.843 ± 0.018``; NaN where there is none."""
    try:
        return float(cell.replace(",", "").split(" ")[0])
    except ValueError:
        return float("nan")


def error_of(cell: str) -> float:
    """What stands behind the ± of a cell; NaN where nothing does."""
    return mean_of(cell.partition(" ± ")[2])


def apart(first: str, second: str) -> float:
    """The distance of two means with their errors in standard errors of the difference; 0 without errors."""
    gap, error = mean_of(first) - mean_of(second), math.hypot(error_of(first), error_of(second))
    return gap / error if error else 0.0


def interval_of(cell: str) -> tuple[float, float]:
    """The bounds of a cell such as ``+0.1 [-0.2, +0.4]``."""
    low, high = cell.partition("[")[2].strip("]").split(", ")
    return float(low), float(high)


def unbacked(sections: Mapping[str, Section]) -> list[str]:
    """The sections that no committed table backs."""
    return [name for name, section in sections.items() if any(table(file) is None for file in section.tables)]


def table(name: str) -> pd.DataFrame | None:
    """A committed table; None where there is none."""
    file = FOLDER / f"{name}.csv"
    return pd.read_csv(file, dtype=NAMES, keep_default_na=False, na_values=[""]) if file.is_file() else None


def keep_larger(name: str, found: pd.DataFrame, keys: list[str], count: str) -> pd.DataFrame:
    """A committed table with new rows, each in the place of one of the same ``keys`` that counts no more."""
    old = table(name)
    if old is not None:
        both = pd.concat([old, found]).fillna(dict.fromkeys(keys, ""))
        found = both.sort_values(count, kind="stable").drop_duplicates(keys, keep="last")
    return found.sort_values(keys, kind="stable")


def by_seed(summary: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A measure of every detector in every cell, a column per seed."""
    found = summary[(summary["metric"] == metric) & (summary["signal"] != "")]
    found = found.assign(seed="seed_" + found["seed"].astype(str))
    return found.pivot_table(index=[*CELL_KEYS, "signal"], columns="seed", values="value").reset_index()


def seed_columns(wide: pd.DataFrame) -> list[str]:
    """The columns of ``by_seed`` that hold the values."""
    return [name for name in wide if name.startswith("seed_")]


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

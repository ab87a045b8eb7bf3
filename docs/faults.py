"""Write the tables of docs/faults.md: the faults noted by a run of tests/operations, and docs/tables/fuzz.csv.

``make faults`` names the notes of the run; without them the table of the flipped bits alone is written (``make fuzz``).
"""

import sys
from xml.etree import ElementTree

import pandas as pd

from glitchtrace.core import files
from glitchtrace.reporting.tables import markdown_table

PAGE = "docs/faults.md"
FUZZ = "docs/tables/fuzz.csv"
COLUMNS = ("fault", "stage", "outcome", "next command", "jobs computed again")


def rows(result_files: list[str]) -> list[list[str]]:
    """The notes of the passed cases, sorted by fault, in the order of the tests within a fault."""
    found = []
    for case in (case for file in result_files for case in ElementTree.parse(file).iter("testcase")):
        if case.find("failure") is None and case.find("error") is None:
            notes = [item.get("value", "") for item in case.iter("property") if item.get("name") == "fault"]
            found += [note.split(" | ") for note in notes]
    return sorted(found, key=lambda row: row[0])


def flipped() -> str:
    """A sentence and the table of what became of one bit at random in every kind of file."""
    table = pd.read_csv(FUZZ)
    bad = int(table[["accepted", "traceback"]].to_numpy().sum())
    return (
        f"{table['trials'].sum():,} flips in {len(table)} kinds of file: {bad} accepted or with a traceback.\n\n"
        f"{markdown_table(table)}"
    )


if __name__ == "__main__":
    if sys.argv[1:]:
        table = pd.DataFrame(rows(sys.argv[1:]), columns=list(COLUMNS))
        files.replace_section(PAGE, "faults", f"{len(table)} cases.\n\n{markdown_table(table)}")
    files.replace_section(PAGE, "fuzz", flipped())

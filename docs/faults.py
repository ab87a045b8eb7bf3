"""Put the table of faults, as noted by a run of tests/operations, into docs/faults.md (``make faults``)."""

import sys
from xml.etree import ElementTree

from glitchtrace.core import files
from glitchtrace.reporting.tables import markdown_table

COLUMNS = ("fault", "stage", "outcome", "next command", "jobs computed again")


def rows(result_files: list[str]) -> list[list[str]]:
    """The notes of the passed cases, sorted by fault, in the order of the tests within a fault."""
    found = []
    for case in (case for file in result_files for case in ElementTree.parse(file).iter("testcase")):
        if case.find("failure") is None and case.find("error") is None:
            notes = [item.get("value", "") for item in case.iter("property") if item.get("name") == "fault"]
            found += [note.split(" | ") for note in notes]
    return sorted(found, key=lambda row: row[0])


if __name__ == "__main__":
    import pandas as pd

    table = pd.DataFrame(rows(sys.argv[1:]), columns=list(COLUMNS))
    files.replace_section("docs/faults.md", "faults", f"{len(table)} cases.\n\n{markdown_table(table)}")

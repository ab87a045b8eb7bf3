"""Write the measured numbers of docs/audit.md from docs/tables/audit_*.csv: ``python docs/audit.py``.

The table comes from tests/helpers/bad_inputs.py; those of the promise and of human errors are put into the page by
``python benchmarks/audit_promise.py page``.
"""

from pathlib import Path

import pandas as pd

from glitchtrace.core.files import replace_section
from glitchtrace.reporting.tables import markdown_table

PAGE = "docs/audit.md"
TABLES = Path("docs/tables")
OUTCOMES = ("refused", "audited", "traceback", "memory", "time", "network", "formula", "markup")


def main() -> None:
    """Fill every section of the page."""
    for section, text in sections().items():
        replace_section(PAGE, section, text)


def sections() -> dict[str, str]:
    """The texts of the page by section."""
    return {"inputs": inputs(pd.read_csv(TABLES / "audit_inputs.csv"))}


def inputs(table: pd.DataFrame) -> str:
    """Bad inputs: kind × outcome."""
    whole = {"kind": "all", "trials": table.trials.sum(), **{key: table[key].sum() for key in OUTCOMES}}
    shown = pd.concat([table, pd.DataFrame([whole])])
    shown = shown.rename(
        columns={
            "kind": "Kind",
            "trials": "inputs",
            "refused": "refused in one line",
            "memory": "over 1 GB",
            "time": "over a minute",
            "network": "network call",
            "formula": "formula in the list",
            "markup": "markup in the page",
        }
    )
    return markdown_table(shown.map(lambda value: f"{value:,}" if isinstance(value, int) else value))


if __name__ == "__main__":
    main()

"""Write the table of docs/running.md from docs/tables/memory.csv (``make memory``)."""

import pandas as pd

from glitchtrace.core import files
from glitchtrace.reporting.tables import markdown_table

PAGE = "docs/running.md"
TABLE = "docs/tables/memory.csv"


def memory() -> str:
    """A sentence and the table of what was measured and declared."""
    table = pd.read_csv(TABLE)
    ratio = table["declared / peak"]
    held = ratio[table["size"] == "held out"]
    many = table[table["classes"] >= 1000]["peak MiB"].max()
    return (
        f"Declared over peak: {ratio.min():.2f} to {ratio.max():.2f} in {len(table)} rows, {held.min():.2f} to "
        f"{held.max():.2f} in the {len(held)} held out. 1,000 classes at 20,000 rows take {many:,.0f} MiB at most.\n\n"
        f"{markdown_table(table.astype({'peak MiB': int}))}"
    )


if __name__ == "__main__":
    files.replace_section(PAGE, "memory", memory())

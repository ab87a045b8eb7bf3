"""An example to try the audit on: the breast cancer table of scikit-learn with planted errors.

``python -m glitchtrace.audit.example`` writes ``tumours.csv`` into the current folder.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator

if TYPE_CHECKING:
    import pandas as pd

WRONG, TWINS, ODD = 57, 6, 3
_COLUMNS = 12


def example() -> tuple["pd.DataFrame", dict[str, list[str]]]:
    """The table, and the ids of what was planted: ``mislabelled``, ``near duplicate``, ``corrupted``."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True)
    rng = generator(0, "audit example")
    table = data.data.iloc[:, :_COLUMNS].round(4).astype(object)
    table.columns = [name.replace(" ", "_") for name in table.columns]
    table.insert(0, "patient", [f"P{number:03d}" for number in range(1, len(table) + 1)])
    table["diagnosis"] = np.where(data.target.to_numpy() == 1, "benign", "malignant")
    rows = rng.permutation(len(table))
    wrong, twins, odd = rows[:WRONG], rows[WRONG : WRONG + TWINS], rows[WRONG + TWINS : WRONG + TWINS + ODD]
    place = table.columns.get_loc("diagnosis")
    for row in wrong:
        table.iloc[row, place] = "malignant" if table.iloc[row, place] == "benign" else "benign"
    for row in odd:
        table.iloc[row, 1] = "see notes"
    copies = table.iloc[twins].copy()
    copies["patient"] = [f"P{len(table) + 1 + number:03d}" for number in range(TWINS)]
    planted = {
        "mislabelled": table.patient.iloc[wrong].tolist(),
        "near duplicate": copies.patient.tolist(),
        "corrupted": table.patient.iloc[odd].tolist(),
    }
    import pandas as pd

    return pd.concat([table, copies], ignore_index=True), planted


def write(folder: str | Path = ".") -> Path:
    """Write ``tumours.csv``; returns its path.  Raises GlitchtraceError where it stands already with other content."""
    target = Path(folder) / "tumours.csv"
    table, _ = example()
    text = table.to_csv(index=False, lineterminator="\n")
    if target.exists() and target.read_text(encoding="utf-8") != text:
        raise GlitchtraceError(f"{target}: stands there already with other content; move it away")
    files.write_text(text, target)
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the example and say what to do with it."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        path = write(*given[:1])
    except (GlitchtraceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {path}; now: glitchtrace audit {path} --label diagnosis --id patient")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

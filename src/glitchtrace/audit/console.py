"""``glitchtrace audit`` and ``glitchtrace apply``: options, and what they print.  Nothing heavy is imported here."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("label", {"metavar": "COLUMN", "help": "the column that holds the labels"}),
    ("labels", {"metavar": "FILE", "help": "labels of a picture folder (file, label), or .npy beside an array"}),
    ("id", {"metavar": "COLUMN", "help": "a column that names the rows"}),
    ("group", {"metavar": "COLUMN", "help": "rows of one group, such as a patient, never stand in two folds"}),
    ("time", {"metavar": "COLUMN", "help": "dates or numbers: folds are stretches of time"}),
    ("text", {"metavar": "COLUMNS", "help": "columns of free text, divided by commas; found where not given"}),
    ("drop", {"metavar": "COLUMNS", "help": "columns not to use, divided by commas"}),
    ("trusted", {"metavar": "PATH", "help": "a trusted or test file: rows that leak into it are found"}),
    ("features", {"metavar": "FILE", "help": ".npy (rows, d): your own embedding instead of the columns or pixels"}),
    ("probabilities", {"metavar": "FILE", "help": ".npy or a table with named columns, out of sample; trains nothing"}),
    ("task", {"choices": ["auto", "classes", "numbers"], "help": "what the label is; found where not given"}),
    ("max-false", {"type": float, "metavar": "SHARE", "help": "share of the flags that may be false (0.1)"}),
    ("backbone", {"metavar": "NAME", "help": "any timm network for pictures"}),
    ("side", {"type": int, "metavar": "PIXELS", "help": "side of the pictures for the network"}),
    ("folds", {"type": int, "metavar": "N", "help": "folds of the cross-fitting (5)"}),
    ("gain-repeats", {"type": int, "metavar": "N", "help": "repeats of the measurement of gain (5); 0: none"}),
    ("seed", {"type": int, "help": "seed of everything random (0)"}),
    ("delimiter", {"metavar": "SIGN", "help": "of a text file; found where not given"}),
    ("encoding", {"metavar": "NAME", "help": "of a text file; found where not given"}),
    ("decimal", {"choices": [".", ","], "metavar": "SIGN", "help": "of a text file (. or ,); found where not given"}),
)  # fmt: skip
_LOCAL = ("command", "path", "out", "no_header")


def add_parsers(commands: Any) -> None:
    """Add the two subcommands."""
    text = "find wrong labels, anomalies, corrupted samples, duplicates and leaks in your own data"
    parser = commands.add_parser("audit", help=text, description=text)
    parser.add_argument(
        "path", metavar="PATH", help="CSV, TSV, Parquet, Feather, a folder of pictures, or .npy"
    )
    for name, options in _OPTIONS:
        parser.add_argument(f"--{name}", **options)
    parser.add_argument(
        "--quality", action="store_true", help="pictures: a larger network, three times the time"
    )
    parser.add_argument("--no-header", action="store_true", help="the first row of the text file is data")
    parser.add_argument("--out", metavar="FOLDER", help="where to write (results/audit/NAME)")
    text = "write the cleaned data of a reviewed list"
    parser = commands.add_parser("apply", help=text, description=text)
    parser.add_argument("list", metavar="LIST", help="issues.csv, or the reviewed list that the page saved")
    parser.add_argument(
        "--audit", metavar="FOLDER", help="the folder of the audit; where the list lies without it"
    )
    parser.add_argument("--out", metavar="FOLDER", help="where to write (the folder of the audit)")


def answer(given: argparse.Namespace) -> str:
    """Run one of the two; returns what is printed."""
    if given.command == "apply":
        from glitchtrace.audit.cleaning import apply

        return f"wrote {apply(given.list, given.audit, given.out)}"
    settings: dict[str, Any] = {key: value for key, value in vars(given).items() if key not in _LOCAL}
    if given.no_header:
        settings["header"] = False
    from glitchtrace.audit.run import audit_path, default_folder

    out = Path(given.out) if given.out else default_folder(given.path)
    found = audit_path(given.path, out=out, **settings)
    return told(found.summary, found.gain, out)


def told(summary: Mapping[str, Any], gain: Mapping[str, Any], out: Path) -> str:
    """Some lines that say what was found and what to open."""
    from glitchtrace.audit.sentences import counted, headline

    lines = [headline(summary), *(f"  {line}" for line in counted(summary))]
    if gain.get("sentence"):
        lines.append(str(gain["sentence"]))
    lines.append(f"open {out / 'report.html'}; the list is {out / 'issues.csv'}")
    return "\n".join(lines)

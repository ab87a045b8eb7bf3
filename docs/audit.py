"""Write the measured numbers of docs/audit.md from docs/tables/audit_*.csv: ``python docs/audit.py``.

The tables come from tests/helpers/bad_inputs.py, benchmarks/audit_scale.py, benchmarks/audit_numbers.py and
benchmarks/audit_promise.py, whose ``page`` puts those of the promise and of human errors into the page.
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
    made = {
        "inputs": inputs, "scale": scale, "pictures": pictures, "memory": memory, "calibration": calibration,
        "moved": moved, "noise": noise, "numbers": numbers,
    }  # fmt: skip
    return {
        name: text(pd.read_csv(TABLES / f"audit_{name}.csv"))
        for name, text in made.items()
        if (TABLES / f"audit_{name}.csv").is_file()
    }


def inputs(table: pd.DataFrame) -> str:
    """Bad inputs: kind × outcome."""
    whole = {"kind": "all", "trials": table.trials.sum(), **{key: table[key].sum() for key in OUTCOMES}}
    shown = pd.concat([table, pd.DataFrame([whole])])
    return headed(
        shown,
        {
            "kind": "Kind",
            "trials": "inputs",
            "refused": "refused in one line",
            "memory": "over 1 GB",
            "time": "over a minute",
            "network": "network call",
            "formula": "formula in the list",
            "markup": "markup in the page",
        },
    )


def headed(table: pd.DataFrame, heads: dict[str, str]) -> str:
    """A table as it is, under the heads of a reader; whole numbers with commas."""
    shown = table.rename(columns=heads)
    return markdown_table(shown.map(lambda value: f"{value:,}" if isinstance(value, int) else value))


def calibration(table: pd.DataFrame) -> str:
    """Runs whose suspicion is off: how much of it is chance, and to which side the rest goes."""
    shown = pd.DataFrame(
        {
            "Set": table["set"],
            "wrong": table.noise.map("{} %".format),
            "seed": table.seed,
            "rows": table.rows.map("{:,}".format),
            "calibration error": table.calibration_error.map("{:.3f}".format),
            "of a perfect suspicion: mean, 95 %": [
                f"{floor:.3f}, {most:.3f}"
                for floor, most in zip(table["floor"], table["floor_95"], strict=True)
            ],
            "mean suspicion − share wrong": table.bias.map("{:+.3f}".format),
            "of this, of suspicions below .1": table.bias_low.map("{:+.3f}".format),
        }
    )
    return markdown_table(shown)


def numbers(table: pd.DataFrame) -> str:
    """Numeric targets: whether the promise was kept, what was found, and whether the interval covers."""
    table = table.assign(
        kept=table.false <= 0.1 * table.flagged,
        covered=(table.low <= table.wrong) & (table.wrong <= table.high),
    )
    rows = []
    for (target, error), runs in table.groupby(["target", "error"], sort=False):
        told, planted, flagged = runs[runs.judged], runs.wrong.sum(), runs.flagged.sum()
        rows.append(
            {
                "target": target,
                "4 % are": error,
                "runs": len(runs),
                "kept": runs.kept.sum(),
                "found": f"{100 * (flagged - runs.false.sum()) / planted:.0f} %" if planted else "–",
                "false among flags": f"{100 * runs.false.sum() / flagged:.0f} %" if flagged else "–",
                "interval covers": f"{told.covered.sum()} of {len(told)}" if len(told) else "–",
                "not judged": len(runs) - len(told),
            }
        )
    return markdown_table(pd.DataFrame(rows))


COST = {
    "wall_seconds": "seconds",
    "cpu_seconds": "CPU seconds",
    "gigabytes": "peak, GB",
    "page_megabytes": "page, MB",
    "paint_seconds": "first paint, s",
}


def scale(table: pd.DataFrame) -> str:
    """Tables of many rows: what an audit costs, and what it found of what was planted."""
    table = table.sort_values(["form", "rows"])
    shown = pd.DataFrame(
        {
            "Rows": table.rows.map("{:,}".format),
            "file": table.form,
            **{name: table[key] for key, name in COST.items()},
            "CPU ms a row": table.cpu_ms_per_row,
            "wrong": table.planted_wrong.map("{:,}".format),
            "flagged, of these wrong": [
                f"{flagged:,}, {right:,}"
                for flagged, right in zip(table.flagged, table.flagged_right, strict=True)
            ],
            "equal, near copies found": [
                f"{100 * exact:.1f} %, {100 * near:.1f} %"
                for exact, near in zip(table.exact_found, table.near_found, strict=True)
            ],
        }
    )
    return markdown_table(shown)


def pictures(table: pd.DataFrame) -> str:
    """A folder of pictures, seed by seed: what an audit costs, and what stands first in its lists."""
    shown = pd.DataFrame(
        {
            "Seed": table.seed,
            **{name: table[key].astype(object).fillna("–") for key, name in COST.items()},
            "wrong labels among the first 450": table.wrong_of_first_450,
            "of the 100 garments among the first 150": table.foreign_in_first_150,
            "flagged, of these wrong": [
                f"{flagged}, {wrong}"
                for flagged, wrong in zip(table.flagged, table.flagged_wrong, strict=True)
            ],
        }
    )
    return markdown_table(shown)


def memory(table: pd.DataFrame) -> str:
    """Steps of an audit of pictures in one process: what memory holds after each, and the peak in it."""
    return headed(
        table,
        {
            "step": "Step",
            "megabytes": "held after it, MB",
            "of_files": "of these files of libraries, MB",
            "peak_megabytes": "peak in it, MB",
        },
    )


def noise(table: pd.DataFrame) -> str:
    """Calibration errors by what errors are taken to follow, and what the jury took them for."""

    def beside(first: str, second: str, form: str) -> list[str]:
        return [f"{a:{form}}, {b:{form}}" for a, b in zip(table[first], table[second], strict=True)]

    shown = pd.DataFrame(
        {
            "Set": table["set"],
            "wrong": [f"{noise} %: {wrong}" for noise, wrong in zip(table.noise, table.wrong, strict=True)],
            "seed": table.seed,
            "log likelihood gained, limit": beside("gain", "limit", ".0f"),
            "sum of suspicions: no classes, pairs": beside("sum", "sum_pairs", ".0f"),
            "calibration error: no classes, pairs": beside("error", "error_pairs", ".3f"),
            "chosen": table.chosen,
        }
    )
    return markdown_table(shown)


def moved(table: pd.DataFrame) -> str:
    """Suspicions as they are, and moved until they sum to the estimated number of wrong labels."""
    shown = pd.DataFrame(
        {
            "Set": table["set"],
            "wrong": [f"{noise} %: {wrong}" for noise, wrong in zip(table.noise, table.wrong, strict=True)],
            "seed": table.seed,
            "estimated number": table.number.map("{:.0f}".format),
            "sum of suspicions": table.suspicions.map("{:.0f}".format),
            "calibration error": table.calibration_error.map("{:.3f}".format),
            "moved to the number": table.moved.map("{:.3f}".format),
        }
    )
    return markdown_table(shown)


if __name__ == "__main__":
    main()

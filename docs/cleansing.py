"""Fill the tables of docs/cleansing.md from the results of its studies and a benchmark (commands in the page)."""

import sys
from pathlib import Path

import pandas as pd

from glitchtrace.core.files import read_parquet, replace_section
from glitchtrace.papers.cleansing.comparison import gain_table
from glitchtrace.papers.cleansing.figures import agreement_table
from glitchtrace.reporting.style import human_name
from glitchtrace.reporting.tables import markdown_table

PAGE = "docs/cleansing.md"
STUDIES = Path("results/studies")
GAIN = STUDIES / "cleansing_mnist/cleansing/gain.parquet"
REMOVAL = STUDIES / "cleansing_mnist/cleansing/removal.parquet"
FEWER = 100  # removals of the second table: half the number of wrong labels
FIDELITY = STUDIES / "cleansing_fidelity/fidelity/fidelity.parquet"


def main() -> None:
    """Fill the sections whose results are there; the output of the benchmark is the file named as argument."""
    if GAIN.is_file():
        replace_section(PAGE, "removal", markdown_table(removal(read_parquet(GAIN))))
    if REMOVAL.is_file():
        replace_section(PAGE, "fewer", markdown_table(removal(at_fixed(read_parquet(REMOVAL), FEWER))))
    if FIDELITY.is_file():
        replace_section(PAGE, "fidelity", markdown_table(fidelity(read_parquet(FIDELITY))))
    if len(sys.argv) > 1:
        replace_section(PAGE, "cost", Path(sys.argv[1]).read_text(encoding="utf-8"))


def removal(gain: pd.DataFrame) -> pd.DataFrame:
    """Paired differences on test with their intervals, one row per labels, epochs trained again and method."""
    rows = []
    for (ratio, retrained, method), part in gain.groupby(["ratio", "retrained", "method"], sort=False):
        row = {
            "labels": "clean" if ratio == "clean" else f"{100 * float(ratio):g} % wrong",
            "trained again": "all epochs" if retrained == "all" else "last epoch",
            "method": human_name("cleansing_method", method),
            "trials": int(part["count"].iloc[0]),
            "removed": f"{part['removed'].iloc[0]:.0f}",
        }
        for measure, scale, digits in (("accuracy", 100, 2), ("loss", 1, 3)):
            for control in ("none", "random", "self_influence", "cnci"):
                found = part[(part["measure"] == measure) & (part["against"] == control)]
                unit = "points" if measure == "accuracy" else "loss"
                row[f"{unit} against {control.replace('_', ' ')}"] = (
                    ""
                    if found.empty
                    else f"{scale * found['difference'].iloc[0]:+.{digits}f} "
                    f"[{scale * found['low'].iloc[0]:+.{digits}f}, {scale * found['high'].iloc[0]:+.{digits}f}]"
                )
        rows.append(row)
    return pd.DataFrame(rows)


def at_fixed(table: pd.DataFrame, removed: int) -> pd.DataFrame:
    """What ``gain_table`` gives where every trial with wrong labels removes the same number of samples."""
    wrong = table[table["ratio"] != "clean"]
    return gain_table(wrong[(wrong["part"] == "test") | (wrong["removed"] == removed)])


def fidelity(table: pd.DataFrame) -> pd.DataFrame:
    """τ and Jaccard index, mean ± standard deviation over trials, one row per task, network and method."""
    found = agreement_table(table)
    found = found[found["measure"].isin(["tau", "jaccard"])]
    rows = []
    for (task, network, method), part in found.groupby(["task", "network", "method"], sort=False):
        values = part.set_index("measure")
        row = {
            "task": human_name("fidelity_task", task),
            "network": network.replace("_", " "),
            "method": human_name("cleansing_method", method),
            "trials": int(values["n"].iloc[0]),
        }
        for measure in ("tau", "jaccard"):
            found_in = values.loc[measure, "n"]
            row[measure] = (
                f"{values.loc[measure, 'mean']:.2f} ± {values.loc[measure, 'std']:.2f}" if found_in else "–"
            )
        rows.append(row)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()

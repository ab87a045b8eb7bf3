"""Fill the tables of docs/cleansing.md from docs/tables/cleansing_*.csv, and these from the results of its studies."""

import pandas as pd
from pages import Section, remake, result

from glitchtrace.papers.cleansing.comparison import gain_table
from glitchtrace.papers.cleansing.figures import agreement_table
from glitchtrace.reporting.style import human_name
from glitchtrace.reporting.tables import markdown_table

PAGE = "docs/cleansing.md"
FEWER = 100  # removals of the second table: half the number of wrong labels


def main() -> None:
    """Take the tables of the studies that have been run, and fill the page from the committed ones."""
    remake(PAGE, TABLES, SECTIONS)


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
    rows = []
    for (task, network, method), part in table.groupby(["task", "network", "method"], sort=False):
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


def cost(table: pd.DataFrame) -> str:
    """What scoring costs, and how far the published loop's scores lie from ours."""
    shown = pd.DataFrame(
        {
            "scope": row["scope"],
            "stored parameters (MB)": "" if pd.isna(row["stored_mb"]) else f"{row['stored_mb']:.3f}",
            "CPU seconds": f"{row['cpu_seconds']:.1f}",
            "memory (MB)": "" if pd.isna(row["memory_mb"]) else f"{row['memory_mb']:.0f}",
        }
        for row in table.to_dict("records")
    )
    difference = table["difference"].max()
    return (
        f"{markdown_table(shown)}\n\n"
        f"The loop's scores differ from ours by {difference:.1e} of the largest score at most."
    )


def _gain() -> pd.DataFrame | None:
    return result("cleansing_mnist", "cleansing/gain.parquet")


def _fewer() -> pd.DataFrame | None:
    table = result("cleansing_mnist", "cleansing/removal.parquet")
    return None if table is None else at_fixed(table, FEWER)


def _agreement() -> pd.DataFrame | None:
    table = result("cleansing_fidelity", "fidelity/fidelity.parquet")
    if table is None:
        return None
    found = agreement_table(table)
    return found[found["measure"].isin(["tau", "jaccard"])]


TABLES = {
    "cleansing_removal": _gain,
    "cleansing_fewer": _fewer,
    "cleansing_agreement": _agreement,
}
SECTIONS = {
    "removal": Section(
        ("cleansing_removal",), lambda gain: markdown_table(removal(gain)), "`cleansing_mnist.yaml`"
    ),
    "fewer": Section(
        ("cleansing_fewer",), lambda gain: markdown_table(removal(gain)), "`cleansing_mnist.yaml`"
    ),
    "fidelity": Section(
        ("cleansing_agreement",), lambda found: markdown_table(fidelity(found)), "`cleansing_fidelity.yaml`"
    ),
    "cost": Section(("cleansing_cost",), cost, "`python benchmarks/sgd_influence.py`"),
}

if __name__ == "__main__":
    main()

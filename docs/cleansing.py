"""Fill the tables of docs/cleansing.md from docs/tables/cleansing_*.csv, and these from the results of its studies."""

import pandas as pd
from pages import Section, interval_of, mean_of, remake, result

from glitchtrace.papers.cleansing.comparison import gain_table
from glitchtrace.papers.cleansing.figures import agreement_table
from glitchtrace.reporting.style import human_name

PAGE = "docs/cleansing.md"
CONTROLS = ("none", "random", "self influence", "cnci")
ALL = "SGD-influence, all epochs"
# Kendall's τ of Hara et al.: over all epochs, and of Koh & Liang.
PUBLISHED = {
    ("Adult", "logistic regression"): (0.93, 0.85),
    ("20 Newsgroups PC / Mac", "logistic regression"): (0.94, 0.82),
    ("MNIST 1 / 7", "logistic regression"): (0.95, 0.70),
    ("Adult", "dnn"): (0.75, 0.54),
    ("20 Newsgroups PC / Mac", "dnn"): (0.45, 0.37),
    ("MNIST 1 / 7", "dnn"): (0.45, 0.27),
}
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


def outcomes(shown: pd.DataFrame) -> str:
    """How often SGD-influence is better or worse than each control beyond the 95 % interval, and by how much."""
    ours = shown[shown["method"].str.startswith("SGD-influence")]
    lines = []
    for labels, rows in ours.groupby("labels", sort=False):
        for unit, words in (("points", "accuracy in points"), ("loss", "loss")):
            found = []
            for control in CONTROLS:
                cells = [cell for cell in rows[f"{unit} against {control}"] if cell]
                above = sum(interval_of(cell)[0] > 0 for cell in cells)
                below = sum(interval_of(cell)[1] < 0 for cell in cells)
                better, worse = (above, below) if unit == "points" else (below, above)
                gains = [mean_of(cell) for cell in cells]
                found.append(
                    f"against {control} better in {better}, worse in {worse} of {len(cells)} "
                    f"({min(gains):+.3f} to {max(gains):+.3f})"
                )
            lines.append(f"* {labels}, {words}: {'; '.join(found)}.")
    return "\n".join(["SGD-influence, all scopes, beyond the 95 % interval:", "", *lines])


def beside_published(shown: pd.DataFrame) -> str:
    """τ of both published estimates beside ours, and where SGD-influence over all epochs stands among the rest."""
    lines, first = [], 0
    rows = {(row["task"], row["network"], row["method"]): row["tau"] for row in shown.to_dict("records")}
    for (task, network), (recorded, hessian) in PUBLISHED.items():
        found = {name: cell for (t, n, name), cell in rows.items() if (t, n) == (task, network)}
        first += max(found, key=lambda name: mean_of(found[name])) == ALL
        lines.append(
            f"* {task}, {network}: {ALL} {found[ALL]}, published {recorded:.2f}; Koh & Liang {found['Koh & Liang']}, "
            f"by the published solver {found['Koh & Liang (published)']}, published {hessian:.2f}; TracIn "
            f"{found['TracIn']}."
        )
    head = f"{ALL} has the highest τ of all estimates in {first} of {len(PUBLISHED)} tasks."
    return "\n".join([head, "", *lines])


def cost(table: pd.DataFrame) -> pd.DataFrame:
    """What scoring costs, and how far the published loop's scores lie from ours, as a share of the largest score."""
    return pd.DataFrame(
        {
            "scope": row["scope"],
            "stored parameters (MB)": "" if pd.isna(row["stored_mb"]) else f"{row['stored_mb']:.3f}",
            "CPU seconds": f"{row['cpu_seconds']:.1f}",
            "memory (MB)": "" if pd.isna(row["memory_mb"]) else f"{row['memory_mb']:.0f}",
            "scores differ by at most": "" if pd.isna(row["difference"]) else f"{row['difference']:.1e}",
        }
        for row in table.to_dict("records")
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
    "removal": Section(("cleansing_removal",), removal, "`cleansing_mnist.yaml`", outcomes),
    "fewer": Section(("cleansing_fewer",), removal, "`cleansing_mnist.yaml`", outcomes),
    "fidelity": Section(("cleansing_agreement",), fidelity, "`cleansing_fidelity.yaml`", beside_published),
    "cost": Section(("cleansing_cost",), cost, "`python benchmarks/sgd_influence.py`"),
}

if __name__ == "__main__":
    main()

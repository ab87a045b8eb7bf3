"""Fill the tables of docs/mnist.md from the results of its studies (the commands stand in the page)."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from glitchtrace.core import registry
from glitchtrace.core.files import replace_section
from glitchtrace.evaluation.statistics import compare, share_of_oracle_gain
from glitchtrace.reporting.style import ordered_policies, ordered_signals
from glitchtrace.reporting.tables import markdown_table, mean_and_deviation, summary_table

PAGE = "docs/mnist.md"
STUDIES = Path("results/studies")
OLD = ("SI", "MAI", "GD_class")
MIXED = ("CFRank", "CNCI", "PCID")
SECTIONS = (
    "detection",
    "networks",
    "anomalies",
    "anomalies with the published label rule",
    "mixed",
    "repair",
)


def main() -> None:
    """Fill every section of the page whose study has been run, and say which has not."""
    studies = {name: _read(name, "summary") for name in ("mnist", "mnist_anomalies", "mnist_label_rule")}
    ready = [table for table in studies.values() if table is not None]
    mixed_study = _read("mnist_mixed", "summary")
    summary = pd.concat(ready)
    sections = {"detection": detection(summary), "networks": networks(summary)}
    if studies["mnist_anomalies"] is not None:
        sections["anomalies"] = anomalies(studies["mnist_anomalies"], "far_anomalies")
    if studies["mnist_label_rule"] is not None:
        table = anomalies(studies["mnist_label_rule"], "far_anomalies@label_equals_class")
        sections["anomalies with the published label rule"] = table
    if mixed_study is not None:
        sections["mixed"] = mixed(mixed_study)
    gain = _read("mnist", "gain")
    if gain is not None:
        sections["repair"] = repair(gain)
    for section in SECTIONS:
        text = markdown_table(sections[section]) if section in sections else "Its study has not been run yet."
        replace_section(PAGE, section, text)


def networks(summary: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracy, repair proposals and characterisation, one row per glitch."""
    return summary_table(
        summary,
        {
            "validation accuracy": ("", "validation_accuracy"),
            "label repair right (CNCI)": ("CNCI", "label_repair_accuracy"),
            "mislabelled told right": ("CFRank", "characterisation_accuracy_mislabelled"),
            "anomalous told right": ("CFRank", "characterisation_accuracy_anomalous"),
        },
    ).drop(columns=["dataset", "model"])


def detection(summary: pd.DataFrame) -> pd.DataFrame:
    """F1 of every signal, one column per glitch."""
    found = summary[summary["metric"] == "f1"]
    rows = []
    for signal in ordered_signals(found["signal"].unique()):
        values = found[found["signal"] == signal].groupby("glitch")["value"]
        row = {"signal": registry.card("signal", signal)["label"]}
        rows.append(row | {glitch: mean_and_deviation(group.to_numpy()) for glitch, group in values})
    return pd.DataFrame(rows)


def anomalies(summary: pd.DataFrame, glitch: str) -> pd.DataFrame:
    """F1 of PCID per seed beside 1/MPI and the older signals, with the foreign class and the host label."""
    cells = summary[summary["glitch"] == glitch]
    signals = ("PCID", "inverse_MPI", *OLD)
    f1 = _wide(cells[(cells["metric"] == "f1") & cells["signal"].isin(signals)], "signal", signals)
    facts = _wide(
        cells[cells["metric"].isin(["foreign_class", "host_label"])],
        "metric",
        ("foreign_class", "host_label"),
    )
    table = facts.astype(int).join(f1.map("{:.3f}".format)).reset_index()
    means = {"seed": "mean", "foreign_class": "", "host_label": ""}
    means |= {signal: mean_and_deviation(f1[signal].to_numpy()) for signal in signals}
    table = pd.concat([table, pd.DataFrame([means])], ignore_index=True)
    return table.rename(columns={signal: registry.card("signal", signal)["label"] for signal in signals})


def mixed(summary: pd.DataFrame) -> pd.DataFrame:
    """F1 of CFRank seed by seed, its mean beside those of CNCI and PCID: by label rule and counterfactual features."""
    found = summary[summary["metric"] == "f1"]
    rows = []
    for (glitch, estimator), cells in found.groupby(["glitch", "estimator"]):
        values = {signal: group.sort_values("seed")["value"] for signal, group in cells.groupby("signal")}
        rows.append(
            {
                "label of the anomalies": "independent" if glitch == "mixture@mu_ua" else "published rule",
                "counterfactual features": "head" if estimator == "tracin" else "last block input",
                "CFRank by seed": " ".join(f"{value:.3f}" for value in values["CFRank"]),
                **{signal: mean_and_deviation(values[signal].to_numpy()) for signal in MIXED},
            }
        )
    return pd.DataFrame(rows)


def repair(gain: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy and loss after each repair, the paired change, and the share of the oracle's gain."""
    rows = []
    tested = gain[gain["part"] == "test"]
    for glitch, cells in tested.groupby("glitch"):
        accuracy = cells.pivot_table(index="seed", columns="policy", values="accuracy")
        loss = cells.pivot_table(index="seed", columns="policy", values="loss")
        for policy in ["none", *ordered_policies(accuracy.columns.drop("none"))]:
            row = {
                "glitch": glitch,
                "repair": policy,
                "test accuracy": mean_and_deviation(accuracy[policy].to_numpy(), 4),
                "test loss": mean_and_deviation(loss[policy].to_numpy()),
                "change in points [95 %]": "",
                "share of the oracle's gain [95 %]": "",
            }
            if policy != "none":
                change = compare(
                    100 * accuracy[policy].to_numpy(), 100 * accuracy["none"].to_numpy()
                ).difference
                share = share_of_oracle_gain(
                    *(accuracy[name].to_numpy() for name in ("none", policy, "oracle"))
                )
                row["change in points [95 %]"] = f"{change.mean:+.2f} [{change.low:+.2f}, {change.high:+.2f}]"
                row["share of the oracle's gain [95 %]"] = (
                    f"{share.share:.2f} [{share.low:.2f}, {share.high:.2f}]"
                )
            rows.append(row)
    return pd.DataFrame(rows)


def _read(study: str, table: str) -> pd.DataFrame | None:
    file = STUDIES / study / f"{table}.parquet"
    return pd.read_parquet(file) if file.is_file() else None


def _wide(rows: pd.DataFrame, column: str, names: Sequence[str]) -> pd.DataFrame:
    return rows.pivot_table(index="seed", columns=column, values="value")[list(names)]


if __name__ == "__main__":
    main()

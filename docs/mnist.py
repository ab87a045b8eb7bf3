"""Fill the tables of docs/mnist.md from docs/tables/mnist*_seeds.csv, and these from the results of its studies."""

from collections.abc import Callable, Sequence

import pandas as pd
from pages import Section, remake, result

from glitchtrace.core import registry
from glitchtrace.evaluation.statistics import compare, share_of_oracle_gain
from glitchtrace.reporting.style import ordered_policies, ordered_signals
from glitchtrace.reporting.tables import markdown_table, mean_and_deviation, summary_table

PAGE = "docs/mnist.md"
OLD = ("SI", "MAI", "GD_class")
MIXED = ("CFRank", "CNCI", "PCID")
METRICS = (
    "f1",
    "validation_accuracy",
    "label_repair_accuracy",
    "characterisation_accuracy_mislabelled",
    "characterisation_accuracy_anomalous",
    "foreign_class",
    "host_label",
)


def main() -> None:
    """Take the tables of the studies that have been run, and fill the page from the committed ones."""
    remake(PAGE, TABLES, SECTIONS)


def _seeds(study: str) -> Callable[[], pd.DataFrame | None]:
    """The values of every seed that the page needs of a study."""

    def take() -> pd.DataFrame | None:
        summary = result(study, "summary.parquet")
        return None if summary is None else summary[summary["metric"].isin(METRICS)].dropna(subset=["value"])

    return take


def _gain() -> pd.DataFrame | None:
    gain = result("mnist", "gain.parquet")
    if gain is None:
        return None
    return gain.loc[gain["part"] == "test", ["glitch", "seed", "part", "policy", "accuracy", "loss"]]


def networks(*studies: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracy, repair proposals and characterisation, one row per glitch."""
    return summary_table(
        pd.concat(studies),
        {
            "validation accuracy": ("", "validation_accuracy"),
            "label repair right (CNCI)": ("CNCI", "label_repair_accuracy"),
            "mislabelled told right": ("CFRank", "characterisation_accuracy_mislabelled"),
            "anomalous told right": ("CFRank", "characterisation_accuracy_anomalous"),
        },
    ).drop(columns=["dataset", "model"])


def detection(*studies: pd.DataFrame) -> pd.DataFrame:
    """F1 of every signal, one column per glitch."""
    summary = pd.concat(studies)
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


def _wide(rows: pd.DataFrame, column: str, names: Sequence[str]) -> pd.DataFrame:
    return rows.pivot_table(index="seed", columns=column, values="value")[list(names)]


def _of(make: Callable[..., pd.DataFrame], *arguments: str) -> Callable[..., str]:
    return lambda *tables: markdown_table(make(*tables, *arguments))


# One kind of glitch each.
SINGLE = ("mnist", "mnist_anomalies", "mnist_label_rule")
TABLES = {
    **{f"{study}_seeds": _seeds(study) for study in (*SINGLE, "mnist_mixed")},
    "mnist_gain": _gain,
}
_SINGLE = tuple(f"{study}_seeds" for study in SINGLE)
_COMMANDS = "`mnist.yaml`, `mnist_anomalies.yaml` and `mnist_label_rule.yaml`"
SECTIONS = {
    "detection": Section(_SINGLE, _of(detection), _COMMANDS),
    "networks": Section(_SINGLE, _of(networks), _COMMANDS),
    "anomalies": Section(
        ("mnist_anomalies_seeds",), _of(anomalies, "far_anomalies"), "`mnist_anomalies.yaml`"
    ),
    "anomalies with the published label rule": Section(
        ("mnist_label_rule_seeds",),
        _of(anomalies, "far_anomalies@label_equals_class"),
        "`mnist_label_rule.yaml`",
    ),
    "mixed": Section(("mnist_mixed_seeds",), _of(mixed), "`mnist_mixed.yaml`"),
    "repair": Section(("mnist_gain",), _of(repair), "`mnist.yaml`"),
}

if __name__ == "__main__":
    main()

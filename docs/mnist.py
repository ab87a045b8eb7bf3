"""Fill docs/mnist.md from docs/tables/mnist*.csv; the tables of seeds are taken from the results of its studies.

The tables of means are those of docs/reproduction.md.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from pages import Section, mean_of, remake, result

from glitchtrace.core import registry
from glitchtrace.evaluation.statistics import compare, estimate, share_of_oracle_gain
from glitchtrace.reporting.style import human_glitch, of_influence, ordered_policies, ordered_signals
from glitchtrace.reporting.tables import mean_and_deviation

PAGE = "docs/mnist.md"
OLD = ("SI", "MAI", "GD_class")
MIXED = ("CFRank", "CNCI", "PCID")
METRICS = ("f1", "foreign_class", "host_label")


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
    rows = []
    for glitch, cells in _cells(studies).groupby("glitch"):
        found = cells.drop_duplicates(["signal", "metric"]).set_index(["signal", "metric"])
        row = {"glitch": human_glitch(glitch, cells["ratio"].iloc[0])}
        row["seeds"] = int(found.loc[("", "validation_accuracy"), "n"])
        for heading, key in (
            ("validation accuracy", ("", "validation_accuracy")),
            ("label repair right (CNCI)", ("CNCI", "label_repair_accuracy")),
            ("mislabelled told right", ("CFRank", "characterisation_accuracy_mislabelled")),
            ("anomalous told right", ("CFRank", "characterisation_accuracy_anomalous")),
        ):
            row[heading] = _spread(found.loc[key]) if key in found.index else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def detection(*studies: pd.DataFrame) -> pd.DataFrame:
    """F1 of every signal, one column per glitch."""
    found = _cells(studies)
    found = found[found["metric"] == "f1"].drop_duplicates(["signal", "glitch"])
    rows = []
    for signal in ordered_signals(found["signal"].unique()):
        values = found[found["signal"] == signal].sort_values("glitch")
        row = {"signal": registry.card("detector", signal)["label"]}
        rows.append(row | {cell["glitch"]: _spread(cell) for _, cell in values.iterrows()})
    columns = ["signal", *sorted(found["glitch"].unique())]
    return pd.DataFrame(rows)[columns].fillna("–")


def leaders(shown: pd.DataFrame) -> str:
    """The highest mean of each glitch, and that of the best influence signal where it is another."""
    names = {registry.card("detector", name)["label"]: name for name in registry.names("detector")}
    influence = shown[[of_influence(names[label]) for label in shown["signal"]]]
    told = []
    for glitch in shown.columns[1:]:
        first, signal = (rows.loc[rows[glitch].map(mean_of).idxmax()] for rows in (shown, influence))
        words = f"`{glitch}`: {first['signal']} ({first[glitch]})"
        if signal["signal"] != first["signal"]:
            words += f", of the influence signals {signal['signal']} ({signal[glitch]})"
        told.append(words)
    return f"The highest means. {'; '.join(told)}."


def _cells(studies: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of the default estimator; the cells of the whole grid have no signal in some rows."""
    cells = pd.concat(studies)
    return cells[cells["estimator"] == "tracin"].fillna({"signal": ""})


def _spread(cell: pd.Series) -> str:
    return f"{cell['mean']:.3f} ± {cell['std']:.3f}"


def pairs(shown: pd.DataFrame) -> str:
    """What the pair of foreign class and host label does not explain: seeds that drew the same one."""
    seeds = shown[shown["seed"] != "mean"]
    lines = []
    for (foreign, host), group in seeds.groupby(["foreign_class", "host_label"]):
        if len(group) > 1:
            lines.append(
                f"Seeds {' and '.join(group['seed'])} drew the same pair, class {foreign} under label {host}: "
                f"F1 of PCID {' and '.join(group['PCID'])}. The spread does not come from the pair alone."
            )
    return " ".join(lines)


def compared(shown: pd.DataFrame) -> str:
    """PCID beside 1/MPI, seed by seed."""
    seeds = shown[shown["seed"] != "mean"]
    gaps = [mean_of(pcid) - mean_of(plain) for pcid, plain in zip(seeds["PCID"], seeds["1/MPI"], strict=True)]
    interval = estimate(np.array(gaps))
    return (
        f"PCID less 1/MPI, which is PCID without its counterfactual factor: {interval.mean:+.3f} on average, "
        f"95 % interval {interval.low:+.3f} to {interval.high:+.3f}. {pairs(shown)}"
    ).strip()


def layers(shown: pd.DataFrame) -> str:
    """How often the input of the last block is better than the features of the head, seed by seed."""
    better, runs = 0, 0
    for _, rows in shown.groupby("label of the anomalies"):
        by_seed = {
            row["counterfactual features"]: list(map(float, row["CFRank by seed"].split()))
            for row in rows.to_dict("records")
        }
        gaps = [
            above > below for above, below in zip(by_seed["last block input"], by_seed["head"], strict=True)
        ]
        better, runs = better + sum(gaps), runs + len(gaps)
    return (
        "The input of the last block, which tells more of a picture than the 64 pooled features, is better in "
        f"{better} of {runs} pairs of runs (`counterfactual_features: last_block_input`, a variant of the estimator)."
    )


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
    return table.rename(columns={signal: registry.card("detector", signal)["label"] for signal in signals})


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


# One kind of glitch each, and the mixture.
MEANS = ("mnist", "mnist_anomalies", "mnist_label_rule")
TABLES = {
    **{f"{study}_seeds": _seeds(study) for study in ("mnist_anomalies", "mnist_label_rule", "mnist_mixed")},
    "mnist_gain": _gain,
}
_COMMANDS = "`mnist.yaml`, `mnist_anomalies.yaml` and `mnist_label_rule.yaml`"
SECTIONS = {
    "detection": Section(MEANS, detection, _COMMANDS, leaders),
    "networks": Section(MEANS, networks, _COMMANDS),
    "anomalies": Section(
        ("mnist_anomalies_seeds",),
        lambda seeds: anomalies(seeds, "far_anomalies"),
        "`mnist_anomalies.yaml`",
        compared,
    ),
    "anomalies with the published label rule": Section(
        ("mnist_label_rule_seeds",),
        lambda seeds: anomalies(seeds, "far_anomalies@label_equals_class"),
        "`mnist_label_rule.yaml`",
        compared,
    ),
    "mixed": Section(("mnist_mixed_seeds",), mixed, "`mnist_mixed.yaml`", layers),
    "repair": Section(("mnist_gain",), repair, "`mnist.yaml`"),
}

if __name__ == "__main__":
    main()

"""Write the numbers and figures of docs/fidelity.md from docs/tables/fidelity_*.csv.

``python docs/fidelity.py`` takes ``fidelity_truth.csv`` from the results of ``config/studies/fidelity.yaml`` where they
are at hand, and then draws and fills the page from the tables alone.  ``fidelity_detection.csv`` (a row per
cell, estimator and signal) is that of ``benchmarks/fidelity_detection.py``, ``fidelity_mnist.csv`` that of
``benchmarks/fidelity.py``.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pages import FOLDER, result, table

from glitchtrace.core import registry
from glitchtrace.core.files import replace_section
from glitchtrace.evaluation.statistics import estimate
from glitchtrace.reporting import style
from glitchtrace.reporting.tables import markdown_table, write_csv

PAGE = "docs/fidelity.md"
PICTURE, CURVES = Path("docs/fidelity-detection.png"), Path("docs/fidelity-curves.png")
STUDY = "fidelity"
CELL = ["dataset", "model", "glitch", "seed"]
TRUEST = "metagradient"
NAMES = {
    "metagradient": "metagradient",
    "influence_functions": "Koh & Liang",
    "tracin": "TracIn",
    "tracin_layers": "TracIn, all layers",
    "tracin_steps": "TracIn per step",
    "ekfac": "EK-FAC",
    "ekfac_undamped": "EK-FAC, damping 1e-8",
    "captum_arnoldi": "Arnoldi (captum)",
    "kronfluence": "EK-FAC (kronfluence)",
}
MODELS = {"linear": "logistic regression", "linear@epochs_5": "logistic regression, 5 epochs", "mlp": "MLP"}
# The signals of wrong labels that are drawn, each from another family; the table has all.
DRAWN = ("CNCI", "SI", "negative_MI", "GD_class", "AAI", "CFRank")


def main() -> None:
    """Take what the study has made, draw, and fill every section of the page."""
    measured = result(STUDY, "truth.parquet")
    if measured is not None:
        write_csv(measured.round(4), FOLDER / "fidelity_truth.csv")
    detection, truth, mnist = read()
    style.save(draw(detection), [PICTURE])
    style.save(curves(truth), [CURVES])
    for section, text in sections(detection, truth, mnist).items():
        replace_section(PAGE, section, text)


def read() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The committed tables."""
    detection, truth, mnist = (table(f"fidelity_{name}") for name in ("detection", "truth", "mnist"))
    return detection.rename(columns={"noise": "glitch"}), truth, mnist


def sections(detection: pd.DataFrame, truth: pd.DataFrame, mnist: pd.DataFrame) -> dict[str, str]:
    """The text of every section of the page."""
    return {
        "summary": summary(detection),
        "how": how(detection),
        "best": markdown_table(best(detection)),
        "detection": markdown_table(by_signal(detection)),
        "published": published(truth),
        "truth": markdown_table(of_truth(truth)),
        "mnist": f"{rough(mnist)}\n\n{markdown_table(of_mnist(mnist))}",
    }


def how(detection: pd.DataFrame) -> str:
    """What the table was measured on, and how to make it again."""
    names = ", ".join(_data(name) for name in sorted(detection["dataset"].unique()))
    kinds = " and ".join(kind.replace("_", " ") for kind in sorted(detection["glitch"].unique()))
    models = [MODELS[name] for name in MODELS if name in set(detection["model"])]
    made = "`python benchmarks/fidelity_detection.py`"
    return (
        f"Detection: {names}; 10 % wrong labels ({kinds}), {detection['seed'].nunique()} seeds each; "
        f"{', '.join(models)}; {made}, then `python docs/fidelity.py`, which draws and fills this page from the "
        "committed tables."
    )


def _data(name: str) -> str:
    """A data set as readers call it; the variant that the study takes of it is a number of rows."""
    return style.human_name("dataset", name.partition("@")[0])


def label(signal: str) -> str:
    """The short name of a signal."""
    return str(registry.card("detector", signal)["label"])


def wide(detection: pd.DataFrame) -> pd.DataFrame:
    """F1 of each cell and signal (rows) from each estimator (columns)."""
    return detection.pivot_table(index=["signal", *CELL], columns="estimator", values="f1")


def differences(detection: pd.DataFrame, other: str) -> pd.DataFrame:
    """Per signal: mean F1 from the truest estimate less that from another, with its interval over cells."""
    table = wide(detection)
    gap = table[TRUEST] - table[other]
    rows = []
    for signal, values in gap.groupby("signal"):
        found = estimate(values.to_numpy())
        rows.append({"signal": signal, "mean": found.mean, "low": found.low, "high": found.high})
    return pd.DataFrame(rows).set_index("signal").loc[style.ordered_signals(gap.index.unique("signal"))]


def summary(detection: pd.DataFrame) -> str:
    """The answer to the question, losses first."""
    means = detection.groupby("estimator")["lds"].mean().sort_values(ascending=False)
    cells = len(detection[CELL].drop_duplicates())
    lines = []
    for other in means.index[1:]:
        gap = differences(detection, other)
        worse, better = gap[gap["high"] < 0], gap[gap["low"] > 0]
        lines.append(
            f"* Beside {NAMES[other]} (LDS {means[other]:.2f}) the metagradient (LDS {means[TRUEST]:.2f}) detects "
            f"**worse** with {len(worse)} of {len(gap)} signals beyond noise{_named(worse)}, **better** with "
            f"{len(better)}{_named(better)}."
        )
    best = detection.groupby(["estimator", "signal"])["f1"].mean()
    tops = [(name, *_top(best[name])) for name in means.index]
    texts = [f"{NAMES[name]} {value:.3f} ({label(signal)})" for name, signal, value in tops]
    lines.append(f"* The best signal of each, mean F1 over {cells} cells: {', '.join(texts)}.")
    truest = next(value for name, _, value in tops if name == TRUEST)
    first = max(value for *_, value in tops)
    verdict = (
        "**Does a truer estimate detect better? Not as a rule**: the truest one does not have the best detector."
        if truest < first
        else "**Does a truer estimate detect better?** Its best signal is the best one, but not all gain."
    )
    groups = detection.groupby(["dataset", "model"])
    wins = sum(_best_of(part) == TRUEST for _, part in groups)
    lines.append(
        f"* Of {len(groups)} pairs of data and model, the truest estimate has the best signal in {wins} (table below)."
    )
    return "\n".join([verdict, "", *lines])


def _best_of(detection: pd.DataFrame) -> str:
    """The estimator with the best signal."""
    return str(detection.groupby(["estimator", "signal"])["f1"].mean().idxmax()[0])


def _top(values: pd.Series) -> tuple[str, float]:
    return str(values.idxmax()), float(values.max())


def _named(gap: pd.DataFrame) -> str:
    texts = [f"{label(name)} {row['mean']:+.2f}" for name, row in gap.iterrows()]
    return f" ({', '.join(texts)})" if texts else ""


def by_signal(detection: pd.DataFrame) -> pd.DataFrame:
    """Mean F1 per signal from each estimator, the truest first, with differences of it to the others."""
    order = list(detection.groupby("estimator")["lds"].mean().sort_values(ascending=False).index)
    means = wide(detection).groupby("signal").mean()
    rows = []
    for signal in style.ordered_signals(means.index):
        row = {"signal": label(signal)}
        row |= {f"F1, {NAMES[name]}": f"{means.loc[signal, name]:.3f}" for name in order}
        for other in order[1:]:
            gap = differences(detection, other).loc[signal]
            row[f"metagradient less {NAMES[other]}"] = (
                f"{gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def best(detection: pd.DataFrame) -> pd.DataFrame:
    """Per data set, model and estimator: its LDS and its best signal, chosen by the mean F1 over the cells."""
    rows = []
    for dataset in sorted(detection["dataset"].unique()):
        for model in [model for model in MODELS if model in set(detection["model"])]:
            part = detection[(detection["dataset"] == dataset) & (detection["model"] == model)]
            row = {"data": _data(dataset), "model": MODELS[model]}
            for name, own in part.groupby("estimator"):
                signal, value = _top(own.groupby("signal")["f1"].mean())
                row[f"LDS, {NAMES[name]}"] = f"{own['lds'].mean():.2f}"
                row[f"F1, {NAMES[name]}"] = f"{value:.3f} ({label(signal)})"
            rows.append(row)
    return pd.DataFrame(rows)


def of_mnist(mnist: pd.DataFrame) -> pd.DataFrame:
    """LDS of the benchmark on MNIST: a row per model and estimator, a column per share and order."""
    rows = []
    for (model, name), part in mnist.groupby(["model", "estimator"], sort=False):
        row: dict[str, object] = {"model": MODELS[model], "estimator": NAMES[name]}
        for order in ("fixed", "varied"):
            for one in part[part["order"] == order].to_dict("records"):
                row[f"{100 * one['removed']:g} %, {order}"] = (
                    f"{one['lds']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
                )
        row["CPU s"] = f"{part['cpu_seconds'].iloc[0]:.1f}"
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def rough(mnist: pd.DataFrame) -> str:
    """How much of the truth is lost where the network is rougher than logistic regression."""
    fixed = mnist[mnist["order"] == "fixed"].set_index(["model", "estimator", "removed"]).sort_index()["lds"]
    texts = [
        f"{100 * share:g} %: {fixed['mlp', TRUEST, share]:.2f} where logistic regression has "
        f"{fixed['linear', TRUEST, share]:.2f}"
        for share in (0.01, 0.1, 0.5)
    ]
    others = fixed["mlp"].drop(TRUEST).xs(0.1, level="removed")
    return (
        f"Of an MLP the first order says less. LDS of the metagradient, "
        f"{'; '.join(texts)}. The next best estimate of the MLP at 10 % is that of {NAMES[others.idxmax()]}, "
        f"{others.max():.2f}."
    )


def published(truth: pd.DataFrame) -> str:
    """TracIn beside Koh and Liang by the published measure, after 5 and 30 epochs, and which of both is ahead."""
    part = truth[(truth["measure"] == "loo_sample") & (truth["glitch"] == "uniform")]
    chosen = part.groupby(["dataset", "model", "estimator"])["mean"].mean()
    lines = [f"Means over {truth['seed'].nunique()} seeds:", ""]
    for dataset in dict.fromkeys(truth["dataset"]):
        texts = []
        for model, epochs in (("linear@epochs_5", 5), ("linear", 30)):
            values = {
                name: chosen[dataset, model, name] for name in ("tracin", "influence_functions", TRUEST)
            }
            ahead = max(("tracin", "influence_functions"), key=lambda name, of=values: of[name])
            shown = ", ".join(f"{NAMES[name]} {value:.2f}" for name, value in values.items())
            texts.append(f"{epochs} epochs: {shown} (of the first two {NAMES[ahead]} is ahead)")
        lines.append(f"* {_data(dataset)}: {'; '.join(texts)}.")
    return "\n".join(lines)


def of_truth(truth: pd.DataFrame) -> pd.DataFrame:
    """Means over glitches and seeds: LDS, leave-one-out and cost per data set, model and estimator."""
    wanted = {
        ("lds", "0.01", "fixed"): "LDS 1 %",
        ("lds", "0.1", "fixed"): "LDS 10 %",
        ("lds", "0.5", "fixed"): "LDS 50 %",
        ("lds", "0.1", "varied"): "LDS 10 %, varied",
        ("loo_query", "one", "fixed"): "leave-one-out, by query",
        ("loo_query", "one", "varied"): "the same, varied",
        ("loo_sample", "one", "fixed"): "leave-one-out, by sample",
    }
    rows = []
    place = [list(MODELS).index(model) for model in truth["model"]]
    ordered = truth.assign(place=place).groupby(["dataset", "place", "model", "estimator"])
    for (dataset, _, model, name), part in ordered:
        row = {
            "data": _data(dataset),
            "model": MODELS[model],
            "estimator": NAMES[name],
        }
        means = part.groupby(["measure", "removed", "order"])["mean"].mean()
        row |= {text: f"{means[key]:.2f}" for key, text in wanted.items()}
        row["CPU s"] = f"{part['cpu_seconds'].mean():.2f}"
        row["MiB"] = f"{part['peak_mib'].mean():.0f}"
        rows.append(row)
    return pd.DataFrame(rows)


@style.styled()
def draw(detection: pd.DataFrame) -> object:
    """F1 against LDS: a panel per model and data set, a line per signal through the estimators, means over cells."""
    models = [model for model in MODELS if model in set(detection["model"])]
    datasets = sorted(detection["dataset"].unique())
    figure = style.new_figure(style.PAGE, 2.6 * len(models))
    axes = figure.subplots(len(models), len(datasets), sharex=True, sharey=True, squeeze=False)
    for row, model in zip(axes, models, strict=True):
        for axis, dataset in zip(row, datasets, strict=True):
            part = detection[(detection["model"] == model) & (detection["dataset"] == dataset)]
            _panel(axis, part)
            axis.set_title(f"{_data(dataset)}, {MODELS[model]}", fontsize=7.5)
    for axis in axes[-1]:
        axis.set_xlabel("LDS, 10 % left out, same order")
    for axis in axes[:, 0]:
        axis.set_ylabel("F1 at the known number")
    axes[0, 0].set_ylim(0, 1)
    axes[0, 0].set_xlim(0.46, 1.15)
    return figure


def _panel(axis: Any, part: pd.DataFrame) -> None:
    lds = part.groupby("estimator")["lds"].mean().sort_values()
    ends = []
    for signal, mark in zip(DRAWN, "osD^vP", strict=True):
        f1 = part[part["signal"] == signal].groupby("estimator")["f1"].mean()[lds.index]
        colour = style.signal_colour(signal) if signal != "negative_MI" else style.INK
        axis.plot(lds, f1, marker=mark, color=colour, markersize=3, linewidth=1)
        ends.append((float(f1.iloc[-1]), label(signal), colour))
    heights = _apart([end[0] for end in ends], 0.055)
    for (_, text, colour), height in zip(ends, heights, strict=True):
        axis.annotate(text, (lds.iloc[-1], height), xytext=(5, 0), textcoords="offset points",
                      color=colour, fontsize=6, va="center", annotation_clip=False)  # fmt: skip
    for name, value in lds.items():
        axis.axvline(value, color=style.FAINT, linewidth=0.4, zorder=0)
        axis.annotate(NAMES[str(name)], (value, 0.02), xycoords=("data", "axes fraction"), fontsize=6,
                      xytext=(-2, 0), textcoords="offset points", rotation=90, ha="right",
                      color=style.INK)  # fmt: skip


def _apart(values: list[float], gap: float) -> list[float]:
    """Heights of labels, in the order given, moved up until none is nearer to the next than ``gap``."""
    order = np.argsort(values, kind="stable")
    heights, last = list(values), -np.inf
    for position in order:
        heights[position] = last = max(values[position], last + gap)
    return heights


@style.styled()
def curves(truth: pd.DataFrame) -> object:
    """The published figure: the distribution of the leave-one-out correlation per sample, after 5 and 30 epochs."""
    datasets = list(dict.fromkeys(truth["dataset"]))
    models = [("linear@epochs_5", "5 epochs"), ("linear", "30 epochs")]
    quantiles = [name for name in truth.columns if name[0] == "q" and name[1:].isdigit()]
    figure = style.new_figure(style.PAGE, 4.2)
    axes = figure.subplots(2, len(datasets), sharex=True, sharey=True, squeeze=False)
    colours = {"metagradient": style.INK, "tracin": "#D55E00", "influence_functions": "#2F5F9E"}
    dashes = {"metagradient": "-", "tracin": "--", "influence_functions": ":"}
    chosen = truth[(truth["measure"] == "loo_sample") & (truth["glitch"] == "uniform")]
    for row, (model, epochs) in zip(axes, models, strict=True):
        for axis, dataset in zip(row, datasets, strict=True):
            part = chosen[(chosen["model"] == model) & (chosen["dataset"] == dataset)]
            for name, own in part.groupby("estimator"):
                axis.plot(own[quantiles].mean(), [int(q[1:]) / 100 for q in quantiles], color=colours[name],
                          linestyle=dashes[name], linewidth=1.2, label=NAMES[name])  # fmt: skip
            axis.set_title(f"{_data(dataset)}, {epochs}", fontsize=7.5)
    for axis in axes[-1]:
        axis.set_xlabel("correlation with leaving out")
    for axis in axes[:, 0]:
        axis.set_ylabel("share of samples")
    axes[0, 0].legend(fontsize=6.5, loc="upper left")
    return figure


if __name__ == "__main__":
    main()

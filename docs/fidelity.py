"""Write the numbers and figures of docs/fidelity.md from docs/tables/fidelity_*.csv.

``python docs/fidelity.py`` takes ``fidelity_truth.csv`` from the results of ``config/studies/fidelity_published.yaml``
where they are at hand, and then draws and fills the page from the tables alone.  ``fidelity_detection.csv`` (a row per
cell, estimator and signal) is that of ``benchmarks/fidelity_detection.py``, ``fidelity_mnist.csv`` that of
``benchmarks/fidelity.py``.
"""

from pathlib import Path

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
STUDY = "fidelity_published"
CELL = ["dataset", "model", "glitch", "seed"]
TRUEST = "metagradient"
NAMES = {
    "metagradient": "metagradient",
    "influence_functions": "Koh & Liang",
    "koh_liang": "Koh & Liang",
    "tracin": "TracIn",
    "tracin_steps": "TracIn per step",
    "kronfluence": "EK-FAC (kronfluence)",
}
MODELS = {"linear": "logistic regression", "mlp": "MLP", "linear@epochs_5": "logistic regression, 5 epochs"}
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
        "detection": markdown_table(by_signal(detection)),
        "published": published(truth),
        "truth": markdown_table(of_truth(truth)),
        "mnist": markdown_table(of_mnist(mnist)),
    }


def how(detection: pd.DataFrame) -> str:
    """What the table was measured on, and how to make it again."""
    parts = []
    for (dataset, glitch), part in detection.groupby(["dataset", "glitch"]):
        parts.append(
            f"{style.human_name('dataset', dataset)} ({glitch.replace('_', ' ')}, {part['seed'].nunique()} seeds)"
        )
    models = [MODELS[name] for name in MODELS if name in set(detection["model"])]
    made = "`python benchmarks/fidelity_detection.py wine`"
    return (
        f"Detection: {'; '.join(parts)}, 10 % wrong labels; {', '.join(models)}; {made}, then "
        "`python docs/fidelity.py`, which draws and fills this page from the committed tables."
    )


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
    return "\n".join([verdict, "", *lines])


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


def of_mnist(mnist: pd.DataFrame) -> pd.DataFrame:
    """LDS of the benchmark on MNIST: a row per estimator, a column per share and order."""
    rows = []
    for name, part in mnist.groupby("estimator", sort=False):
        row: dict[str, object] = {"estimator": NAMES[str(name)]}
        for order in ("fixed", "varied"):
            for one in part[part["order"] == order].to_dict("records"):
                row[f"{100 * one['removed']:g} %, {order}"] = (
                    f"{one['lds']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
                )
        row["CPU s"] = f"{part['cpu_seconds'].iloc[0]:.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def published(truth: pd.DataFrame) -> str:
    """TracIn beside Koh and Liang by the published measure, beside the published values of wine."""
    chosen = truth[truth["measure"] == "loo_sample"].set_index(["dataset", "model", "estimator"])["mean"]
    lines = []
    for dataset in dict.fromkeys(truth["dataset"]):
        texts = [
            f"{MODELS[model].rpartition(', ')[2] if '@' in model else '30 epochs'}: TracIn "
            f"{chosen[dataset, model, 'tracin']:.2f}, Koh & Liang {chosen[dataset, model, 'influence_functions']:.2f}, "
            f"metagradient {chosen[dataset, model, TRUEST]:.2f}"
            for model in ("linear@epochs_5", "linear")
        ]
        lines.append(f"* {style.human_name('dataset', dataset)}: {'; '.join(texts)}.")
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
    for (dataset, model, name), part in truth.groupby(["dataset", "model", "estimator"]):
        row = {
            "data": style.human_name("dataset", dataset),
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
    """F1 against LDS: a panel per model, a line per signal through the estimators, each a mean over cells."""
    models = [model for model in MODELS if model in set(detection["model"])]
    figure = style.new_figure(style.PAGE, 3.2)
    axes = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for axis, model in zip(axes, models, strict=True):
        part = detection[detection["model"] == model]
        lds = part.groupby("estimator")["lds"].mean().sort_values()
        ends = []
        for signal, mark in zip(DRAWN, "osD^vP", strict=True):
            f1 = part[part["signal"] == signal].groupby("estimator")["f1"].mean()[lds.index]
            colour = style.signal_colour(signal) if signal != "negative_MI" else style.INK
            axis.plot(lds, f1, marker=mark, color=colour, markersize=4, linewidth=1)
            ends.append((float(f1.iloc[-1]), label(signal), colour))
        heights = _apart([end[0] for end in ends], 0.045)
        for (_, text, colour), height in zip(ends, heights, strict=True):
            axis.annotate(text, (lds.iloc[-1], height), xytext=(6, 0), textcoords="offset points",
                          color=colour, fontsize=6.5, va="center", annotation_clip=False)  # fmt: skip
        for name, value in lds.items():
            axis.axvline(value, color=style.FAINT, linewidth=0.4, zorder=0)
            axis.annotate(NAMES[str(name)], (value, 0.02), xycoords=("data", "axes fraction"), fontsize=6.5,
                          xytext=(-2, 0), textcoords="offset points", rotation=90, ha="right",
                          color=style.INK)  # fmt: skip
        axis.set_title(MODELS[model], fontsize=8)
        axis.set_xlabel("LDS, 10 % left out, same order")
    axes[0].set_ylabel("F1 at the known number")
    axes[0].set_ylim(0.2, 1.0)
    return figure


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
            axis.set_title(f"{style.human_name('dataset', dataset)}, {epochs}", fontsize=7.5)
    for axis in axes[-1]:
        axis.set_xlabel("correlation with leaving out")
    for axis in axes[:, 0]:
        axis.set_ylabel("share of samples")
    axes[0, 0].legend(fontsize=6.5, loc="upper left")
    return figure


if __name__ == "__main__":
    main()

"""Fill docs/performance.md from docs/tables/performance.csv, the table of ``make bench``."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from pages import Section, remake

from glitchtrace.reporting.tables import markdown_table

PAGE = "docs/performance.md"
CURVE = re.compile(r"curve of (\w+), (\w+) features, (\d+)")
# The data set of the estimate on paper: ImageNet, with features of a ViT-B/16.
ROWS, VALIDATION, CLASSES = 1_280_000, 50_000, 1000
CORES, NODES = 16, 100
# What is assumed of a GPU: sustained products in single precision, and memory traffic, per second.
GPU_FLOPS, GPU_BYTES = 30e12, 2e12
# Arrays of the size of a block that an element passes through: Gram and residual products, sorting, eight class sums.
PASSES = 40
# The goals were set on another machine: what the dry run of that day's version took there, CPU seconds.
THEN, SECONDS_THERE = ("dry run of the full grid", "when the goal was set"), 31.5
# The case of cells that share a trunk, and how many there are beside the first.
TOGETHER, FURTHER = "MNIST cell and five of other label noise", 5
# The largest study of one figure, and its goal.
RATIO_STUDY, MOST_HOURS = "config/studies/ratios.yaml", 6


def main() -> None:
    """Fill the page."""
    remake(PAGE, TABLES, SECTIONS)


def cases(table: pd.DataFrame) -> str:
    """Every case that is no point of a curve: ours and peers."""
    shown = table[~table["case"].str.match(CURVE)]
    measured, yardstick = shown.dropna(subset=["CPU s"]), table["yardstick s"].dropna()
    judged = shown[shown["verdict"].fillna("").str.match("kept|missed")]
    missed = judged[judged["verdict"].str.startswith("missed")]
    rows = [
        {
            "case": row["case"],
            "subject": row["subject"],
            "CPU s": _number(row["CPU s"]),
            "from – to": "" if pd.isna(row["CPU s"]) else f"{_number(row['least'])} – {_number(row['most'])}",
            "× first": _number(row["times the first"]),
            "MiB": "" if pd.isna(row["MiB"]) else f"{row['MiB']:,.0f}",
            "difference": "" if pd.isna(row["difference"]) else f"{row['difference']:.1e}",
            "budget": "" if pd.isna(row["verdict"]) else row["verdict"],
        }
        for row in shown.to_dict("records")
    ]
    here = measured.set_index(["case", "subject"])["CPU s"].get(THEN)
    machine = (
        f"Goals in seconds were set on a machine {here / SECONDS_THERE:.1f} × as fast: the dry run of that day's "
        f"version took {SECONDS_THERE} CPU s there and {here:.1f} here. "
        if here
        else ""
    )
    repeats = sorted({int(count) for count in measured["repeats"]})
    return (
        f"{_misses(missed)}{machine}{len(judged) - len(missed)} of {len(judged)} budgets kept. Processes per row: "
        f"{', '.join(map(str, repeats))}. Yardstick, a product of two 1,024 × 1,024 matrices in single precision: "
        f"{yardstick.median():.3f} CPU s, {yardstick.min():.3f} to {yardstick.max():.3f} over the rows.\n\n"
        f"{markdown_table(pd.DataFrame(rows))}"
    )


def _misses(missed: pd.DataFrame) -> str:
    """What is missed, as a list of its own; nothing where every budget is kept."""
    lines = [
        f"* {row['case']}: {row['verdict'].removeprefix('missed: ')}" for row in missed.to_dict("records")
    ]
    return "Missed:\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def curves(table: pd.DataFrame) -> str:
    """How the cost grows with each size: CPU seconds at each value, and the exponent of a straight line in logs."""
    rows = []
    points = table["case"].str.extract(CURVE).set_axis(["size", "features", "value"], axis=1)
    joined = pd.concat([points, table["CPU s"]], axis=1).dropna().astype({"value": int})
    for (features, size), found in joined.groupby(["features", "size"], sort=False):
        found = found.sort_values("value")
        slope = np.polyfit(np.log(found["value"]), np.log(found["CPU s"]), 1)[0]
        last = np.diff(np.log(found["CPU s"]))[-1] / np.diff(np.log(found["value"]))[-1]
        rows.append(
            {
                "features": features,
                "size": size,
                "values": ", ".join(f"{value:,}" for value in found["value"]),
                "CPU s": ", ".join(f"{seconds:.2g}" for seconds in found["CPU s"]),
                "exponent": f"{slope:.2f}",
                "of the last step": f"{last:.2f}",
            }
        )
    return markdown_table(pd.DataFrame(rows))


def paper(table: pd.DataFrame) -> str:
    """The estimate for a data set that is not at hand, from a slice of its size in d, K and T."""
    (row,) = table[table["case"].str.startswith("slice of")].to_dict("records")
    size = dict(pair.split("=") for pair in row["size"].split())
    n, m, d, epochs = (int(size[key]) for key in ("n", "m", "d", "T"))
    pairs = ROWS * VALIDATION
    seconds = row["CPU s"] * pairs / (n * m)
    flops = 2 * pairs * (d + CLASSES * (epochs + 2))
    gpu = flops / GPU_FLOPS + 4 * PASSES * pairs / GPU_BYTES
    profile = 3 * ROWS * CLASSES * 16 / 2**30
    return (
        f"{ROWS:,} training and {VALIDATION:,} validation rows, {CLASSES:,} classes, {d} columns that stay in "
        f"training, {epochs} checkpoints: {pairs:.1e} pairs. Measured: a slice of {n:,} × {m:,} rows with the same "
        f"columns, classes and checkpoints takes {row['CPU s']:.3g} CPU s and {row['MiB']:,.0f} MiB over its inputs. "
        f"The cost of the pass is proportional to the pairs, so:\n\n"
        + markdown_table(
            pd.DataFrame(
                [
                    {"on": "one core", "time": _duration(seconds)},
                    {"on": f"{CORES} cores, rows in {CORES} parts", "time": _duration(seconds / CORES)},
                    {
                        "on": f"{NODES} nodes of {CORES} cores, rows in {NODES * CORES:,} parts",
                        "time": _duration(seconds / CORES / NODES),
                    },
                    {"on": "a GPU", "time": _duration(gpu)},
                ]
            )
        )
        + "\n\nAssumed, not measured: cores that do not slow each other, and a GPU that sustains "
        f"{GPU_FLOPS / 1e12:.0f} TFLOP/s on {flops:.1e} operations and {GPU_BYTES / 1e12:.0f} TB/s on {PASSES} passes "
        f"over the pairs. Each part writes its rows of the profile, {profile:,.0f} GiB together; the matrix would be "
        f"{pairs * 4 / 2**40:.2f} TiB and is never made. Not counted: what every part does once (the residuals of all "
        f"validation rows at all checkpoints, {4 * VALIDATION * CLASSES * epochs / 2**30:.1f} GiB), which outweighs "
        "the rest where the parts are small, and making the features, which depends on the network."
    )


def ratio_study(table: pd.DataFrame, performance: pd.DataFrame) -> str:
    """What config/studies/ratios.yaml takes on one core, from the cells of it that were measured alone.

    What a cell costs that shares its trunk with another is taken from the benchmark of six such cells.
    """
    six = performance.set_index(["case", "subject"])["times the first"]
    further_share = (six[TOGETHER, "ours"] - 1) / FURTHER
    stages = table[table["metric"].str.startswith("cpu_seconds")]
    keys = ["dataset", "model", "glitch", "ratio"]
    cells = (
        stages.groupby(keys, as_index=False)["mean"].sum().set_index(["dataset", "model", "glitch"])["mean"]
    )
    rows = []
    for block in yaml.safe_load(Path(RATIO_STUDY).read_text(encoding="utf-8"))["grid"]:
        ratios, seeds = len(block["ratios"]), len(block["seeds"])
        for model in block["models"]:
            for glitch in block["glitches"]:
                # Near anomalies train as many rows as label noise does.
                costs = [
                    cells.loc[[(dataset, model, glitch)]]
                    if (dataset, model, glitch) in cells.index
                    else cells.loc[[(dataset, model, "uniform")]]
                    for dataset in block["datasets"]
                ]
                shared = model.startswith("resnet20") and glitch == "uniform"
                first = sum(found.mean() for found in costs)
                further = first * (further_share if shared else 1)
                rows.append(
                    {
                        "model": model,
                        "glitch": glitch,
                        "cells": len(costs) * ratios * seeds,
                        "CPU s a cell": f"{first / len(costs):.3g}",
                        "a further ratio": f"{further / len(costs):.3g}",
                        "hours": seeds * (first + (ratios - 1) * further) / 3600,
                    }
                )
    hours = sum(row["hours"] for row in rows)
    shown = pd.DataFrame(rows).assign(hours=[f"{row['hours']:.2f}" for row in rows])
    verdict = "missed" if hours > MOST_HOURS else "kept"
    return (
        f"{hours:.1f} CPU hours of {MOST_HOURS}: {verdict}.\n\n{markdown_table(shown)}\n\n"
        "Training, influence and detection. Cells of label noise share the trunk of ResNet-20: a further one takes "
        f"{further_share:.2f} of the first, as measured on six cells of MNIST above; far anomalies are other pictures, "
        "and share none. Not counted: the pass of EfficientNet's pictures, and the start of processes."
    )


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


# The benchmark writes the table itself.
TABLES: Mapping[str, object] = {}
SECTIONS = {
    name: Section(("performance",), text, "`make bench`")
    for name, text in (("cases", cases), ("curves", curves), ("on paper", paper))
} | {
    "ratios": Section(
        ("ratios", "performance"), ratio_study, "`snakemake --configfile config/studies/ratios.yaml`"
    )
}

if __name__ == "__main__":
    main()

"""The table and the picture of the README, from the results of ``make demo``.

python docs/demo.py [results]      writes docs/tables/demo.csv, docs/demo-gallery.png, and the README's tables
"""

import sys
from pathlib import Path

import pandas as pd

from glitchtrace.core import files
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.reporting.figures.gallery import plot_gallery
from glitchtrace.reporting.style import human_name
from glitchtrace.reporting.tables import markdown_table

TABLE = Path("docs/tables/demo.csv")
PLAIN = {"one_minus_p": "1 − p", "AUM": "AUM"}
SIGNALS = ("CNCI", "SI", "PCID", "CFRank")
# The picture: both kinds of glitch in one cell.
PICTURE = {"dataset": "digits", "model": "mlp", "planted": "mixture@mu_ua", "ratio": "native", "seed": 1}
KINDS = {
    "uniform": "wrong labels, any class",
    "class_dependent": "wrong labels, one class",
    "class_dependent@all_classes": "wrong labels, every class",
    "far_anomalies": "anomalies",
    "mixture@mu_ua": "wrong labels and anomalies",
}


def main() -> None:
    """Write the table, the picture, and the tables of the README."""
    results = Path(sys.argv[1] if len(sys.argv) > 1 else "results")
    summary, gain = (files.read_parquet(results / f"{name}.parquet") for name in ("summary", "gain"))
    found = summary[(summary["metric"] == "f1") & summary["signal"].isin((*PLAIN, *SIGNALS))]
    rows = [found, gains(gain)]
    table = (
        pd.concat(rows)
        .groupby([*CELL_KEYS, "signal", "metric"], sort=True)["value"]
        .agg(["mean", "std", "count"])
    )
    table.columns = pd.Index(["mean", "std", "n"])
    # Enough digits that a rounded mean is rounded once.
    TABLE.write_text(table.round(9).reset_index().to_csv(index=False), encoding="utf-8")
    fill()
    picture(results)


def fill() -> None:
    """Put the committed table into the README."""
    table = pd.read_csv(TABLE, dtype={"ratio": str}, keep_default_na=False)
    files.replace_section("README.md", "detection", markdown_table(detection(table)))
    files.replace_section("README.md", "repair", markdown_table(repair(table)))


def gains(gain: pd.DataFrame) -> pd.DataFrame:
    """Change of test accuracy and of test loss against no repair, of every policy and cell."""
    test = gain[gain["part"] == "test"].set_index([*CELL_KEYS, "seed", "policy"])[["accuracy", "loss"]]
    none = test.xs("none", level="policy")
    change = (test - none).drop("none", level="policy").reset_index()
    tidy = change.melt([*CELL_KEYS, "seed", "policy"], ["accuracy", "loss"], "measure")
    return tidy.assign(signal="", metric=tidy["measure"] + "_change_" + tidy["policy"])


def detection(table: pd.DataFrame) -> pd.DataFrame:
    """F1 by cell: plain detectors beside the signals."""
    found = table[table["metric"] == "f1"].pivot_table(index=[*CELL_KEYS], columns="signal", values="mean")
    return pd.DataFrame(
        [
            named(keys)
            | {label: f"{row[name]:.3f}" for name, label in PLAIN.items()}
            | {name: f"{row[name]:.3f}" for name in SIGNALS}
            for keys, row in found.iterrows()
        ]
    )


def repair(table: pd.DataFrame) -> pd.DataFrame:
    """Change of test accuracy in points, of the repair by influence and of the oracle."""
    found = table[table["metric"].str.contains("_change_")].pivot_table(
        index=CELL_KEYS, columns="metric", values="mean"
    )
    return pd.DataFrame(
        [
            named(keys)
            | {
                "influence": f"{100 * row['accuracy_change_influence']:+.1f}",
                "oracle": f"{100 * row['accuracy_change_oracle']:+.1f}",
                "loss, influence": f"{row['loss_change_influence']:+.3f}",
            }
            for keys, row in found.iterrows()
        ]
    )


def named(keys: tuple[str, ...]) -> dict[str, str]:
    """The columns of a row that say which cell it is."""
    dataset, model, glitch, ratio, _ = keys
    share = "" if ratio == "native" else f", {100 * float(ratio):.0f} %"
    return {
        "data": human_name("dataset", dataset),
        "model": model,
        "what is planted": f"{KINDS[glitch]}{share}",
    }


def picture(results: Path) -> None:
    """The most suspicious pictures of one cell."""
    data = results / PICTURE["dataset"]
    cell = f"{PICTURE['planted']}-{PICTURE['ratio']}/seed-{PICTURE['seed']}"
    sources = [results / "sources" / name for name in (PICTURE["dataset"], "photo_patches")]
    plot_gallery(
        **PICTURE,
        scores=data / PICTURE["model"] / cell / "tracin/scores.parquet",
        glitch=data / cell / "glitch.parquet",
        features=[source / "features.npy" for source in sources],
        descriptions=[source / "source.json" for source in sources],
        figures=["docs/demo-gallery.png"],
        signal="CFRank",
        size=12,
    )


if __name__ == "__main__":
    main()

"""Fill the tables of docs/rdia.md from the results of its studies (the commands stand in the page)."""

from pathlib import Path

import pandas as pd

from glitchtrace.files import replace_section
from glitchtrace.reporting.figures.rdia import rdia_table
from glitchtrace.reporting.figures.rdia_ls import rdia_ls_table
from glitchtrace.reporting.style import human_name
from glitchtrace.reporting.tables import markdown_table

PAGE = "docs/rdia.md"
SECTIONS = ("thresholds", "methods", "harmful", "cancer", "digits", "rdia_ls", "lost")
STUDIES = Path("results/studies")
NOISES = {"clean": "0", "0.2": "20 %", "0.5": "50 %", "0.8": "80 %"}
ALPHAS = {"0.01": "alpha_0_01", "0.002": "alpha_0_002", "0.0002": "alpha_0_0002"}
# The README of the published program: test log loss by α and noise.
PUBLISHED = {
    "0.01": (0.0235, 0.0443, 0.0903, 0.1009),
    "0.002": (0.0207, 0.0315, 0.0519, 0.0465),
    "0.0002": (0.0903, 0.0392, 0.0410, 0.0405),
}
STARTS = {
    "rdia_ls@mnist_start": "as published",
    "rdia_ls@mnist_undivided_start": "warm-up not divided",
    "rdia_ls@mnist_start_without_decay": "no weight decay",
    "rdia_ls@mnist_by_label_start": "ranked within labels",
}
PUBLISHED_LS = {"mnist": "87.85 ± 0.21", "cifar10_jpeg": "25.35 ± 0.17"}


def main() -> None:
    """Fill every section of the page whose study has been run, and name those that stay as they are."""
    sections: dict[str, str] = {}
    gains = _read("rdia_mnist17", "rdia")
    if gains is not None:
        table = rdia_table(gains)
        sections["thresholds"] = markdown_table(thresholds(table))
        sections["methods"] = markdown_table(methods(table))
        sections["harmful"] = markdown_table(harmful(table))
    gains = _read("rdia_cancer", "rdia")
    if gains is not None:
        sections["cancer"] = markdown_table(cancer(rdia_table(gains)))
    gains = _read("rdia_digits", "rdia")
    if gains is not None:
        sections["digits"] = markdown_table(digits(rdia_table(gains)))
    histories = [
        _read(study, "rdia_ls")
        for study in ("rdia_ls", "rdia_ls_baselines", "rdia_ls_cifar10", "rdia_ls_cifar10_short")
    ]
    ready = [table for table in histories if table is not None]
    if ready:
        sections["rdia_ls"] = markdown_table(selections(pd.concat(ready)))
    starts = _read("rdia_ls_lost_classes", "rdia_ls")
    if starts is not None:
        sections["lost"] = markdown_table(lost_classes(starts))
    for section, text in sections.items():
        replace_section(PAGE, section, text)
    kept = [section for section in SECTIONS if section not in sections]
    if kept:
        print(f"{PAGE}: not run, left as it is: {', '.join(kept)}")


def thresholds(table: pd.DataFrame) -> pd.DataFrame:
    """Test log loss of RDIA by α and noise: published, tail split, drawn split."""
    rows = []
    for alpha, variant in ALPHAS.items():
        rows.append(
            {
                "α": alpha,
                "": "published",
                **dict(zip(NOISES.values(), map(str, PUBLISHED[alpha]), strict=True)),
            }
        )
        for dataset, name in (("mnist17@tail", "tail split"), ("mnist17", "drawn split")):
            rows.append({"α": alpha, "": name, **_losses(table, dataset, f"rdia@{variant}")})
    return pd.DataFrame(rows)


def methods(table: pd.DataFrame) -> pd.DataFrame:
    """Test log loss of every method by noise, on the tail split."""
    tail = table[table["dataset"] == "mnist17@tail"]
    rows = []
    for relabelling in dict.fromkeys(tail["relabelling"]):
        chosen = tail[tail["relabelling"] == relabelling]
        row = {"method": chosen["name"].iloc[0], "seeds": chosen["seeds"].max()}
        rows.append(row | _losses(table, "mnist17@tail", relabelling))
    return pd.DataFrame(rows)


def cancer(table: pd.DataFrame) -> pd.DataFrame:
    """Test log loss of every method by noise, on both splits of breast cancer."""
    rows = []
    for dataset, name in (("cancer_libsvm@tail", "tail"), ("cancer_libsvm", "drawn")):
        chosen = table[table["dataset"] == dataset]
        for relabelling in dict.fromkeys(chosen["relabelling"]):
            method = chosen.loc[chosen["relabelling"] == relabelling, "name"].iloc[0]
            rows.append({"split": name, "method": method, **_losses(table, dataset, relabelling)})
    return pd.DataFrame(rows)


def digits(table: pd.DataFrame) -> pd.DataFrame:
    """Test log loss and accuracy of every method on ten classes, symmetric and pair-flip noise."""
    rows = []
    for name in dict.fromkeys(table["name"]):
        row = {"method": name}
        for glitch, noise in (("uniform", "symmetric"), ("independent@pair_flip", "pair flip")):
            for ratio in ("0.2", "0.5"):
                (found,) = table[
                    (table["name"] == name) & (table["glitch"] == glitch) & (table["ratio"] == ratio)
                ].to_dict("records")
                row[f"{noise}, {NOISES[ratio]}"] = (
                    f"{found['log_loss']:.3f} ({100 * found['accuracy']:.1f} %)"
                )
        rows.append(row)
    return pd.DataFrame(rows)


def harmful(table: pd.DataFrame) -> pd.DataFrame:
    """What RDIA relabels on the tail split: number, precision, recall, accuracy before and after."""
    tail = table[table["dataset"] == "mnist17@tail"]
    plain = tail[tail["relabelling"] == "erm"].set_index("ratio")["accuracy"]
    rows = []
    for ratio, noise in NOISES.items():
        for alpha, variant in ALPHAS.items():
            (row,) = tail[(tail["ratio"] == ratio) & (tail["relabelling"] == f"rdia@{variant}")].to_dict(
                "records"
            )
            found = {"noise": noise, "α": alpha, "relabelled": f"{row['relabelled']:.0f}"}
            wrong = ratio != "clean"
            found["precision"] = f"{row['precision']:.3f}" if wrong else "–"
            found["recall"] = f"{row['recall']:.3f}" if wrong else "–"
            found["accuracy before"], found["after"] = f"{plain[ratio]:.4f}", f"{row['accuracy']:.4f}"
            rows.append(found)
    return pd.DataFrame(rows)


def selections(histories: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy of RDIA-LS and what it is compared with, beside the published one."""
    rows = []
    for row in rdia_ls_table(histories).to_dict("records"):
        name = str(row["dataset"]).partition("@")[0]
        published = PUBLISHED_LS.get(name, "–") if row["selection"].startswith("rdia_ls") else "–"
        rows.append(
            {
                "data": human_name("dataset", row["dataset"]),
                "method": human_name("selection", row["selection"]),
                "seeds": row["seeds"],
                "of which lose a class": row["lost"],
                "epochs": row["epochs"] - 1,
                **{
                    heading: _percent(row[measure], row[f"{measure}_std"])
                    for heading, measure in (
                        ("best of epochs 0–40", "best_by_40"),
                        ("best", "best"),
                        ("mean of the last ten", "last"),
                        ("mean of all epochs", "mean"),
                    )
                },
                "published": published,
            }
        )
    return pd.DataFrame(rows)


def lost_classes(histories: pd.DataFrame) -> pd.DataFrame:
    """Best test accuracy of every seed in the first epochs; in brackets where a class is lost (``rdia_ls_table``)."""
    rows = []
    for selection, name in STARTS.items():
        chosen = histories[histories["selection"] == selection]
        row: dict[str, object] = {"RDIA-LS": name}
        for seed in sorted(chosen["seed"].astype(int).unique()):
            (found,) = rdia_ls_table(chosen[chosen["seed"].astype(int) == seed]).to_dict("records")
            best = f"{found['best']:.1f}"
            row[f"seed {seed}"] = f"({best})" if found["lost"] else best
        rows.append(row)
    return pd.DataFrame(rows)


def _losses(table: pd.DataFrame, dataset: str, relabelling: str) -> dict[str, str]:
    rows = table[(table["dataset"] == dataset) & (table["relabelling"] == relabelling)].set_index("ratio")
    found = {}
    for ratio, noise in NOISES.items():
        mean, deviation = rows.loc[ratio, ["log_loss", "log_loss_std"]]
        found[noise] = f"{mean:.4f}" if pd.isna(deviation) else f"{mean:.4f} ± {deviation:.4f}"
    return found


def _percent(mean: float, deviation: float) -> str:
    return f"{mean:.2f}" if pd.isna(deviation) else f"{mean:.2f} ± {deviation:.2f}"


def _read(study: str, table: str) -> pd.DataFrame | None:
    file = STUDIES / study / f"{table}.parquet"
    return pd.read_parquet(file) if file.is_file() else None


if __name__ == "__main__":
    main()

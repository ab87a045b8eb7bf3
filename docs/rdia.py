"""Fill the tables of docs/rdia.md from the results of its studies (the commands stand in the page)."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from glitchtrace.core.files import replace_section
from glitchtrace.papers.rdia_ls.figures import rdia_ls_table
from glitchtrace.reporting.style import human_name
from glitchtrace.reporting.tables import markdown_table

PAGE = "docs/rdia.md"
SECTIONS = ("thresholds", "methods", "harmful", "cancer", "digits", "rdia_ls", "lost")
STUDIES = Path("results/studies")
NOISES = {"clean": "0", "0.2": "20 %", "0.5": "50 %", "0.8": "80 %"}
ALPHAS = {"0.01": "alpha_0_01", "0.002": "alpha_0_002", "0.0002": "alpha_0_0002"}
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
    for section, study, table, format_table in (
        ("thresholds", "rdia_mnist17", "rdia_thresholds", thresholds),
        ("methods", "rdia_mnist17", "rdia_baselines", methods),
        ("harmful", "rdia_mnist17", "rdia", harmful),
        ("cancer", "rdia_cancer", "rdia_baselines", cancer),
        ("digits", "rdia_digits", "rdia_baselines", digits),
    ):
        file = STUDIES / study / "tables" / f"{table}.csv"
        if file.is_file():
            sections[section] = markdown_table(format_table(pd.read_csv(file, dtype={"ratio": str})))
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
    order = (("mnist17", "published"), ("mnist17@tail", "measured"), ("mnist17", "measured"))
    names = dict(zip(order, ("published", "tail split", "drawn split"), strict=True))
    rows = []
    for alpha in dict.fromkeys(table["alpha"]):
        chosen = table[table["alpha"] == alpha].set_index(["dataset", "source"]).to_dict("index")
        rows += [{"α": f"{alpha:g}", "": names[key], **_losses(chosen[key])} for key in order]
    return pd.DataFrame(rows)


def methods(table: pd.DataFrame) -> pd.DataFrame:
    """Test log loss of every method by noise, on the tail split."""
    tail = table[table["dataset"] == "mnist17@tail"].to_dict("records")
    return pd.DataFrame({"method": row["name"], "seeds": row["seeds"], **_losses(row)} for row in tail)


def cancer(table: pd.DataFrame) -> pd.DataFrame:
    """Test log loss of every method by noise, on both splits of breast cancer."""
    rows = []
    for dataset, name in (("cancer_libsvm@tail", "tail"), ("cancer_libsvm", "drawn")):
        chosen = table[table["dataset"] == dataset].to_dict("records")
        rows += [{"split": name, "method": row["name"], **_losses(row)} for row in chosen]
    return pd.DataFrame(rows)


def digits(table: pd.DataFrame) -> pd.DataFrame:
    """Test log loss and accuracy of every method on ten classes: no, symmetric and pair-flip noise."""
    kinds = {"clean": "", "uniform": "symmetric, ", "independent@pair_flip": "pair flip, "}
    rows: dict[str, dict[str, str]] = {}
    for glitch, noise in kinds.items():
        for row in table[table["glitch"] == (glitch if glitch != "clean" else "uniform")].to_dict("records"):
            found = rows.setdefault(row["name"], {"method": row["name"]})
            for ratio, share in NOISES.items():
                if (ratio == "clean") == (glitch == "clean") and f"log_loss_at_{ratio}" in row:
                    loss, accuracy = row[f"log_loss_at_{ratio}"], row[f"accuracy_at_{ratio}"]
                    found[f"{noise}{share}"] = f"{loss:.3f} ({100 * accuracy:.1f} %)"
    return pd.DataFrame(rows.values())


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


def _losses(row: Mapping[str, float]) -> dict[str, str]:
    """The log loss of a row by noise."""
    found = {}
    for ratio, noise in NOISES.items():
        mean, deviation = row[f"log_loss_at_{ratio}"], row[f"log_loss_std_at_{ratio}"]
        found[noise] = f"{mean:.4f}" if pd.isna(deviation) else f"{mean:.4f} ± {deviation:.4f}"
    return found


def _percent(mean: float, deviation: float) -> str:
    return f"{mean:.2f}" if pd.isna(deviation) else f"{mean:.2f} ± {deviation:.2f}"


def _read(study: str, table: str) -> pd.DataFrame | None:
    file = STUDIES / study / f"{table}.parquet"
    return pd.read_parquet(file) if file.is_file() else None


if __name__ == "__main__":
    main()

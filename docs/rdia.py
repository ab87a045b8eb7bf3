"""Fill the tables of docs/rdia.md from docs/tables/rdia_*.csv, and these from the results of its studies."""

from collections.abc import Callable, Mapping

import pandas as pd
from pages import Section, mean_of, remake, result

from glitchtrace.evaluation.statistics import estimate
from glitchtrace.papers.rdia_ls.figures import KEYS, rdia_ls_table
from glitchtrace.reporting.style import human_name

PAGE = "docs/rdia.md"
NOISES = {"clean": "0", "0.2": "20 %", "0.5": "50 %", "0.8": "80 %"}
ALPHAS = {"0.01": "alpha_0_01", "0.002": "alpha_0_002", "0.0002": "alpha_0_0002"}
STARTS = {
    "rdia_ls@mnist_start": "as published",
    "rdia_ls@mnist_undivided_start": "warm-up not divided",
    "rdia_ls@mnist_start_without_decay": "no weight decay",
    "rdia_ls@mnist_by_label_start": "ranked within labels",
}
PUBLISHED_LS = {"mnist": "87.85 ± 0.21", "cifar10_jpeg": "25.35 ± 0.17"}
MEASURES = ("best_by_40", "best", "last", "mean")


def main() -> None:
    """Take the tables of the studies that have been run, and fill the page from the committed ones."""
    remake(PAGE, TABLES, SECTIONS)


def _table(study: str, name: str) -> Callable[[], pd.DataFrame | None]:
    return lambda: result(study, f"tables/{name}.csv")


def _seeds(study: str) -> Callable[[], pd.DataFrame | None]:
    return lambda: None if (found := result(study, "rdia_ls.parquet")) is None else seeds(found)


def seeds(histories: pd.DataFrame) -> pd.DataFrame:
    """What ``rdia_ls_table`` says of every seed alone."""
    parts = [
        rdia_ls_table(part).assign(seed=int(str(seed)))
        for seed, part in histories.groupby("seed", observed=True)
    ]
    return pd.concat(parts)[[*KEYS, "selection", "seed", "epochs", "lost", *MEASURES]]


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


def beside_published(shown: pd.DataFrame) -> str:
    """Ours over the published log loss, by α and noise."""
    rows = {(row["α"], row[""]): row for row in shown.to_dict("records")}
    lines = []
    for alpha in dict.fromkeys(shown["α"]):
        ratios = [
            f"{mean_of(rows[alpha, 'tail split'][noise]) / mean_of(rows[alpha, 'published'][noise]):.2f}"
            for noise in NOISES.values()
        ]
        lines.append(f"α = {alpha}: {', '.join(ratios)}")
    return f"Test log loss of the tail split over the published one, from clean labels to 80 %: {'; '.join(lines)}."


def beside_dropping(shown: pd.DataFrame) -> str:
    """RDIA beside dropping the same samples and beside plain training: log loss, by α."""
    rows = {row["method"]: row for row in shown.to_dict("records")}
    lines = []
    for alpha in ALPHAS:
        ours, dropped = rows[f"RDIA, α = {alpha}"], rows[f"dropping, α = {alpha}"]
        gaps = [f"{mean_of(ours[noise]) - mean_of(dropped[noise]):+.4f}" for noise in NOISES.values()]
        lines.append(f"α = {alpha}: {', '.join(gaps)}")
    return (
        "Test log loss of RDIA less that of dropping the same samples (below 0: relabelling is better), from clean "
        f"labels to 80 %: {'; '.join(lines)}."
    )


def clean_relabelled(shown: pd.DataFrame) -> str:
    """What RDIA does to clean labels."""
    found = [
        f"{row['relabelled']} at α = {row['α']} (accuracy {row['accuracy before']} before, {row['after']} after)"
        for row in shown[shown["noise"] == "0"].to_dict("records")
    ]
    return f"On clean labels, right labels that are given another one: {', '.join(found)}."


def lost_seeds(shown: pd.DataFrame) -> str:
    """How many seeds lose a class in each form, and what they reach."""
    lines = []
    for row in shown.to_dict("records"):
        cells = [cell for head, cell in row.items() if head.startswith("seed ")]
        lost = [float(cell.strip("()")) for cell in cells if cell.startswith("(")]
        reach = f", at {min(lost):.1f} to {max(lost):.1f} %" if lost else ""
        lines.append(f"{row['RDIA-LS']} {len(lost)} of {len(cells)}{reach}")
    return f"Seeds that lose a class: {'; '.join(lines)}."


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


def selections(*studies: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy of RDIA-LS and what it is compared with, beside the published one."""
    rows = []
    for (dataset, *_, selection), group in pd.concat(studies).groupby([*KEYS, "selection"]):
        published = PUBLISHED_LS.get(str(dataset).partition("@")[0], "–")
        row = {
            "data": human_name("dataset", dataset),
            "method": human_name("selection", selection),
            "seeds": len(group),
            "of which lose a class": group["lost"].sum(),
            "epochs": group["epochs"].max() - 1,
        }
        for heading, measure in (
            ("best of epochs 0–40", "best_by_40"),
            ("best", "best"),
            ("mean of the last ten", "last"),
            ("mean of all epochs", "mean"),
        ):
            found = estimate(group[measure].to_numpy())
            row[heading] = _percent(found.mean, found.standard_deviation)
        rows.append(row | {"published": published if selection.startswith("rdia_ls") else "–"})
    return pd.DataFrame(rows)


def lost_classes(table: pd.DataFrame) -> pd.DataFrame:
    """Best test accuracy of every seed in the first epochs; in brackets where a class is lost (``rdia_ls_table``)."""
    rows = []
    for selection, name in STARTS.items():
        row: dict[str, object] = {"RDIA-LS": name}
        for found in table[table["selection"] == selection].sort_values("seed").itertuples():
            row[f"seed {found.seed}"] = f"({found.best:.1f})" if found.lost else f"{found.best:.1f}"
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


TABLES = {
    "rdia_mnist17_thresholds": _table("rdia_mnist17", "rdia_thresholds"),
    "rdia_mnist17_methods": _table("rdia_mnist17", "rdia_baselines"),
    "rdia_mnist17_relabelled": _table("rdia_mnist17", "rdia"),
    "rdia_cancer_methods": _table("rdia_cancer", "rdia_baselines"),
    "rdia_digits_methods": _table("rdia_digits", "rdia_baselines"),
    **{
        f"{study}_seeds": _seeds(study)
        for study in (
            "rdia_ls",
            "rdia_ls_baselines",
            "rdia_ls_cifar10",
            "rdia_ls_cifar10_short",
            "rdia_ls_lost_classes",
        )
    },
}
SECTIONS = {
    "thresholds": Section(("rdia_mnist17_thresholds",), thresholds, "`rdia_mnist17.yaml`", beside_published),
    "methods": Section(("rdia_mnist17_methods",), methods, "`rdia_mnist17.yaml`", beside_dropping),
    "harmful": Section(("rdia_mnist17_relabelled",), harmful, "`rdia_mnist17.yaml`", clean_relabelled),
    "cancer": Section(("rdia_cancer_methods",), cancer, "`rdia_cancer.yaml`"),
    "digits": Section(("rdia_digits_methods",), digits, "`rdia_digits.yaml`"),
    "rdia_ls": Section(
        ("rdia_ls_seeds", "rdia_ls_baselines_seeds", "rdia_ls_cifar10_short_seeds"),
        selections,
        "`rdia_ls.yaml`, `rdia_ls_baselines.yaml` and `rdia_ls_cifar10_short.yaml`",
    ),
    "lost": Section(("rdia_ls_lost_classes_seeds",), lost_classes, "`rdia_ls_lost_classes.yaml`", lost_seeds),
}

if __name__ == "__main__":
    main()

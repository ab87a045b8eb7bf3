"""Write the numbers of docs/comparison.md from docs/tables/comparison_*.csv, and these from the studies' results.

``python docs/comparison.py`` takes the values of every seed, and what cells cost, from the results of those studies of
``STUDIES`` that have been run; a cell measured again replaces the old one. Then it draws the diagram and fills the page
from the committed tables alone.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pages import FOLDER, by_seed, keep_larger, result, seed_columns, table

from glitchtrace.core import files, grid, registry
from glitchtrace.core.files import replace_section
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.evaluation.rank_tests import ALPHA, GROUPS, OTHERS, WRONG_LABELS
from glitchtrace.operations.jobs import read_config
from glitchtrace.reporting import style
from glitchtrace.reporting.figures.ranks import Comparison, compare_detectors, draw_ranks
from glitchtrace.reporting.style import MARK, MARKED, human_glitch, human_name, of_influence
from glitchtrace.reporting.tables import markdown_table, write_csv

PAGE = "docs/comparison.md"
PICTURE = Path("docs/comparison-ranks.png")
RESULTS = Path("results")
STUDIES = ("comparison", "comparison_small")
SEEDS, COST = "comparison_seeds", "comparison_cost"
# Labels that people gave: their table, the study that only it has, whose cells have fewer detectors, and its measures.
PEOPLE, CHECKED, MEASURES = "comparison_people", "checked_labels", ("f1", "auroc")
EVERYWHERE = ("loss", "AUM", "confident_learning", "knn_vote", "CNCI")
# The study of what CNCI depends on and its table, the estimator that forbids the observed label, and its column.
CNCI, OTHER, ANOTHER = "cnci", "tracin@other_label", "CNCI, another label"
# The study that asks every estimator of the number of wrong labels, its table, and the detector that flags so many.
RIVALS, COUNTERS, FLAGGING = "rivals_digits", "comparison_counters", "simifeat"
STAGES = ("train", "cross_fit", "profile_influence", "detect")
METRIC = "f1"


def main() -> None:
    """Take what the studies have made, draw, and fill every section of the page."""
    for study in STUDIES:
        take(study)
    for study in (*STUDIES, CHECKED):
        take_people(study)
    take_cnci()
    take_counters()
    compared, costs = read()
    style.save(draw_ranks(compared.cells, compared.chosen), [PICTURE])
    for section, text in sections(compared, costs).items():
        replace_section(PAGE, section, text)


def take(study: str) -> None:
    """Put the values of every seed of a study that has been run, and what its cells cost, into the tables."""
    summary, costs = result(study, "summary.parquet"), result(study, "cost.parquet")
    if summary is None or costs is None:
        return
    _merge(SEEDS, by_seed(summary, METRIC), CELL_KEYS)
    keys = costs[["dataset", "model", "glitch", "ratio", "seed"]].drop_duplicates()
    folds = []
    for cell in keys.to_dict("records"):
        folder = RESULTS / "{dataset}/{model}/{glitch}-{ratio}/seed-{seed}".format(**cell)
        spent = files.read_record(folder / "cross_fit.json")["cost"]
        folds.append({**cell, "stage": "cross_fit", "cpu_seconds": float(spent["cpu_seconds"])})
    every = pd.concat([costs, pd.DataFrame(folds)])
    mean = every[every["stage"].isin(STAGES)].groupby(["dataset", "model", "stage"])["cpu_seconds"]
    found = mean.agg(["mean", "std", "count"]).reset_index()
    write_csv(keep_larger(COST, found, ["dataset", "model", "stage"], "count"), FOLDER / f"{COST}.csv")


def take_people(study: str) -> None:
    """Put F1 and AUROC of the labels that people gave in a study that has been run into their table."""
    summary = result(study, "summary.parquet")
    if summary is None:
        return
    people = summary["glitch"].map(registry.base_name).isin(["human_labels", "official_labels"])
    if people.any():
        kinds = [by_seed(summary[people], measure).assign(metric=measure) for measure in MEASURES]
        found = pd.concat(kinds)[[*CELL_KEYS, "metric", "signal", *seed_columns(kinds[0])]]
        _merge(PEOPLE, found, CELL_KEYS)


def take_cnci() -> None:
    """Put the values of every seed of the study of CNCI, where it has been run, into their table."""
    summary = result(CNCI, "summary.parquet")
    if summary is not None:
        write_csv(by_seed(summary, METRIC), FOLDER / f"{CNCI}.csv")


def take_counters() -> None:
    """Put what every estimator of the number of wrong labels said, seed by seed, into its table, with the truth."""
    summary = result(RIVALS, "summary.parquet")
    if summary is None:
        return
    known = summary["metric"].eq("count_mislabelled") | summary["metric"].str.startswith("number_")
    flagged = summary["metric"].str.fullmatch(r"f1|f1_at_.*") & summary["signal"].eq(FLAGGING)
    found = summary[known | flagged].assign(seed="seed_" + summary["seed"].astype(str))
    wide = found.pivot_table(index=[*CELL_KEYS, "metric"], columns="seed", values="value")
    write_csv(wide.reset_index(), FOLDER / f"{COUNTERS}.csv")


def _merge(name: str, found: pd.DataFrame, keys: list[str]) -> None:
    """Write a table with new rows; of the old ones those stay whose keys are not among the new."""
    old = table(name)
    if old is not None:
        new = set(found[keys].itertuples(index=False, name=None))
        kept = [key not in new for key in old[keys].itertuples(index=False, name=None)]
        found = pd.concat([old[kept], found])
    write_csv(found.sort_values(list(found.columns[: len(keys) + 1]), kind="stable"), FOLDER / f"{name}.csv")


def read() -> tuple[Comparison, pd.DataFrame]:
    """The comparison made of the committed values, and the cost per data set and stage."""
    wide, costs = table(SEEDS), table(COST)
    assert wide is not None
    assert costs is not None
    long = wide.melt([*CELL_KEYS, "signal"], var_name="seed").dropna(subset="value")
    long = long.assign(seed=long["seed"].str.removeprefix("seed_"), metric=METRIC)
    return compare_detectors(long, METRIC, SEEDS), costs


def sections(compared: Comparison, costs: pd.DataFrame) -> dict[str, str]:
    """The text of every section of the page."""
    cells, ranks = compared.cells, compared.ranks
    lost = losses(cells)
    return {
        "summary": summary(cells, ranks, costs),
        "coverage": coverage(cells),
        "losses": markdown_table(lost) if len(lost) else "In no cell.",
        "wrong labels": grids(cells[cells["group"] == WRONG_LABELS], speakers(ranks, WRONG_LABELS)),
        "others": grids(cells[cells["group"] != WRONG_LABELS], speakers(ranks, OTHERS)),
        "means": "\n\n".join(
            f"**{group}**\n\n{markdown_table(means(ranks[ranks['group'] == group]))}" for group in GROUPS
        ),
        "cost": f"{together(costs)}\n\n{markdown_table(cost(costs))}",
        "people": people(),
        "cnci": cnci(),
        "counters": counters(),
    }


def label(detector: str) -> str:
    """The short name of a detector."""
    return str(registry.card("detector", detector)["label"])


def cell_name(row: dict[str, str]) -> str:
    """A cell as a reader names it."""
    data = f"{human_name('dataset', row['dataset'])}, {network(row['dataset'], row['model'])}"
    return f"{data}: {human_glitch(row['glitch'], row['ratio'])}"


def best(part: pd.DataFrame) -> pd.Series:
    """The row of the highest mean."""
    return part.sort_values("mean", ascending=False, kind="stable").iloc[0]


def interval(row: pd.Series) -> str:
    """A difference with its interval."""
    return f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


def summary(cells: pd.DataFrame, ranks: pd.DataFrame, costs: pd.DataFrame) -> str:
    """What wins where, by how much and at what cost; where influence loses."""
    lines = []
    for group in GROUPS:
        rows = ranks[ranks["group"] == group]
        first, signal = best(rows), best(rows[rows["detector"].map(of_influence)])
        count = int(first["cells"])
        lines.append(
            f"* **{group}** ({count} cells): the highest mean F1 is that of {label(first['detector'])}, "
            f"{first['mean']:.3f}; it leads in {first['leads']} cells, alone or with others within noise."
        )
        if of_influence(first["detector"]):
            rival = best(rows[~rows["detector"].map(of_influence)])
            lines.append(
                f"  The best rival without influence is {label(rival['detector'])}, {rival['mean']:.3f}: "
                f"{interval(rival)}."
            )
        else:
            lines.append(
                f"  The best influence signal is {label(signal['detector'])}, {signal['mean']:.3f}, "
                f"{interval(signal)} beside it; it leads in {signal['leads']} cells."
            )
        ranked = rows.dropna(subset="rank").sort_values("rank", kind="stable")
        tied = ranked[ranked["holm"] >= ALPHA]["detector"].tolist()
        told = ranked[ranked["holm"] < ALPHA]["detector"].tolist()
        lines.append(
            f"  By mean rank the families' speakers {', '.join(map(label, tied))} cannot be told apart (Holm, 5 %); "
            f"behind them: {', '.join(map(label, told)) or 'none'}."
        )
    lost = losses(cells)
    total = len(cells[["dataset", "model", "glitch", "ratio"]].drop_duplicates())
    lines.append(
        f"* **Where the influence signals lose**: in {len(lost)} of {total} cells no influence signal is among those "
        "that lead ([list](#where-the-influence-signals-lose))."
    )
    mean = costs.pivot_table(index=["dataset", "model"], columns="stage", values="mean").mean()
    lines.append(
        f"* **Cost**, CPU seconds of a cell, mean over data sets: training {mean['train']:.1f}; influence beside it "
        f"{mean['profile_influence']:.1f}; five further trainings for what is out of fold {mean['cross_fit']:.1f}; "
        f"all detectors' scores together {mean['detect']:.1f}. What needs only the training, 1 − p and AUM, "
        "costs nothing more."
    )
    return "\n".join(lines)


def coverage(cells: pd.DataFrame) -> str:
    """Which rows of the study have been run: a cell of any seed."""
    rows = grid.cells(_study()["grid"], _study()["settings"])
    asked = pd.DataFrame([row.wildcards() for row in rows])[CELL_KEYS].drop_duplicates()
    done = set(cells[CELL_KEYS].itertuples(index=False, name=None))
    missing = asked[[key not in done for key in asked.itertuples(index=False, name=None)]]
    lines = [f"{len(asked) - len(missing)} of the {len(asked)} rows of `comparison.yaml` have been run here."]
    for (dataset, model), part in missing.groupby(["dataset", "model"], sort=False):
        whole = len(part) == ((asked["dataset"] == dataset) & (asked["model"] == model)).sum()
        planted = [human_glitch(*pair) for pair in zip(part["glitch"], part["ratio"], strict=True)]
        which = "" if whole else f": {', '.join(planted)}"
        lines.append(f"* Not run: {human_name('dataset', dataset)}, {human_name('model', model)}{which}.")
    return "\n".join(lines)


def losses(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells that no influence signal leads: the best detector, the best signal, and how far it is behind."""
    rows = []
    for keys, part in cells.groupby(["group", "dataset", "model", "glitch", "ratio"], sort=False):
        signals = part[part["detector"].map(of_influence)]
        if signals["leads"].any():
            continue
        first, signal = best(part), best(signals)
        rows.append(
            {
                "cell": cell_name(
                    dict(zip(["group", "dataset", "model", "glitch", "ratio"], keys, strict=True))
                ),
                "best": label(first["detector"]),
                "F1": f"{first['mean']:.3f}",
                "missed": f"{100 * first['fnr']:.0f} %",
                "best influence signal": label(signal["detector"]),
                "its F1": f"{signal['mean']:.3f}",
                "behind": f"{signal['mean'] - first['mean']:+.3f}",
            }
        )
    return pd.DataFrame(rows)


def speakers(ranks: pd.DataFrame, group: str) -> list[str]:
    """Who speaks for the families of a group of glitches, by mean rank."""
    ranked = ranks[ranks["group"] == group].dropna(subset="rank").sort_values("rank", kind="stable")
    return ranked["detector"].tolist()


def grids(part: pd.DataFrame, shown: list[str]) -> str:
    """Mean F1 per data set: a row per network and glitch, a column per detector; bold where it leads beyond noise."""
    texts = []
    for dataset, own in part.groupby("dataset"):
        rows = []
        for keys, cell in own.groupby(["model", "glitch", "ratio"]):
            model, glitch, ratio = keys
            values = cell.set_index("detector")
            first = best(cell)
            rows.append(
                {
                    "network": network(dataset, model),
                    "planted": human_glitch(glitch, ratio),
                    "best of all": f"{first['mean']:.3f} ({label(first['detector'])})",
                    **{label(name): _bold(values.loc[name]) for name in shown},
                }
            )
        marked = any(row["network"].endswith(MARK) for row in rows)
        note = f"\n\n{MARKED}" if marked else ""
        texts.append(f"**{human_name('dataset', dataset)}**\n\n{markdown_table(pd.DataFrame(rows))}{note}")
    return "\n\n".join(texts)


def network(dataset: str, model: str) -> str:
    """The name of a network, marked where its weights have learnt the data before."""
    settings = _study()["settings"]
    known = model in settings["model"] and grid.memorised(dataset, model, settings)
    return human_name("model", model + MARK if known else model)


@functools.cache
def _study() -> Mapping[str, Any]:
    return read_config("config/studies/comparison.yaml")


def _bold(row: pd.Series) -> str:
    return f"**{row['mean']:.3f}**" if row["leads"] else f"{row['mean']:.3f}"


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean F1 over cells, difference to the best with interval, leads, and rank and p where one speaks for a family."""
    return pd.DataFrame(
        {
            "detector": label(row["detector"]),
            "family": row["family"],
            "mean F1": f"{row['mean']:.3f}",
            "beside the best [95 %]": interval(row) if row["difference"] else "",
            "leads": f"{row['leads']} of {row['cells']}",
            "mean rank": "" if pd.isna(row["rank"]) else f"{row['rank']:.2f}",
            "p (Holm)": "" if pd.isna(row["holm"]) else f"{row['holm']:.3f}",
        }
        for _, row in rows.iterrows()
    )


def cost(costs: pd.DataFrame) -> pd.DataFrame:
    """CPU seconds of a cell by stage, mean over its glitches and seeds."""
    wide = costs.pivot_table(index=["dataset", "model"], columns="stage", values="mean")
    heads = dict(zip(STAGES, ("training", "five folds", "influence", "all detectors"), strict=True))
    return pd.DataFrame(
        {
            "data": human_name("dataset", dataset),
            "network": human_name("model", model),
            **{head: f"{row[stage]:.2f}" for stage, head in heads.items()},
        }
        for (dataset, model), row in wide.iterrows()
    )


def together(costs: pd.DataFrame) -> str:
    """What `comparison.yaml` takes, by the mean cost of a cell of each data set and model."""
    cells = pd.DataFrame([row.wildcards() for row in grid.cells(_study()["grid"], _study()["settings"])])
    each = costs.groupby(["dataset", "model"])["mean"].sum()
    hours = each.reindex(cells[["dataset", "model"]].itertuples(index=False, name=None)).sum() / 3600
    return (
        f"The {len(cells):,} cells of `comparison.yaml`, each seed counted, take {hours:.1f} CPU hours after the "
        "features of the pictures, by the mean of those that were measured here, on a busy machine."
    )


def people() -> str:
    """Mean F1 and AUROC on labels that people gave: the best detector of each cell, and the same ones everywhere."""
    found = table(PEOPLE)
    assert found is not None
    found["mean"] = found[seed_columns(found)].mean(axis=1)
    wide = found.pivot_table(index=[*CELL_KEYS, "signal"], columns="metric", values="mean")
    rows = []
    for key, part in wide.groupby(level=CELL_KEYS):
        cell = dict(zip(CELL_KEYS, key, strict=True))
        part = part.droplevel(CELL_KEYS)
        plain = part[[not of_influence(name) for name in part.index]]
        first, signal = plain["f1"].idxmax(), part.drop(plain.index)["f1"].idxmax()
        rows.append(
            {
                "data": human_name("dataset", cell["dataset"]),
                "labels": human_glitch(cell["glitch"], cell["ratio"]),
                "network": network(cell["dataset"], cell["model"]),
                "best without influence": f"{_both(part.loc[first])} ({label(first)})",
                "best influence signal": f"{_both(part.loc[signal])} ({label(signal)})",
                **{label(name): _both(part.loc[name]) for name in EVERYWHERE},
            }
        )
    return markdown_table(pd.DataFrame(rows))


def _both(row: pd.Series) -> str:
    return f"{row['f1']:.3f} / {row['auroc']:.3f}"


def cnci() -> str:
    """Mean F1 of CNCI as published and with another label than the observed one, beside other detectors."""
    found = table(CNCI)
    assert found is not None
    found["mean"] = found[seed_columns(found)].mean(axis=1)
    cell = ["dataset", "glitch", "ratio"]
    published, other = (
        found[(found["estimator"] == OTHER) == is_other].pivot_table(
            index=cell, columns="signal", values="mean"
        )
        for is_other in (False, True)
    )
    names = ("AUM", "knn_vote", "self_confidence", "negative_MI", "GD_class", "SI", "CNCI")
    shown = pd.DataFrame({label(name): published[name] for name in names} | {ANOTHER: other["CNCI"]})
    shown = shown.sort_index(level="dataset", ascending=False, sort_remaining=False)
    gains = (other["CNCI"] - published["CNCI"]).groupby(level="dataset").mean()
    moved = {name: gain for name, gain in gains.items() if abs(gain) >= 0.0005}
    lead = (
        f"Another label lifts CNCI by {min(moved.values()):.2f} to {max(moved.values()):.2f} on the digits, whose "
        "features are standardised, so that a sample can hurt its own class most. On features that are never negative, "
        "those of EfficientNet, it "
        + ("changes nothing." if len(moved) < len(gains) else "moves CNCI as well.")
    )
    keys = [dict(zip(cell, key, strict=True)) for key in shown.index]
    values = shown.map("{:.3f}".format).reset_index(drop=True)
    values.insert(0, "data", [human_name("dataset", key["dataset"]) for key in keys])
    values.insert(1, "wrong labels", [human_glitch(key["glitch"], key["ratio"]) for key in keys])
    return f"{lead}\n\n{markdown_table(values)}"


def counters() -> str:
    """What each estimator says of the number of wrong labels, and F1 where so many are flagged."""
    found = table(COUNTERS)
    assert found is not None
    seeds = seed_columns(found)
    rows = []
    for (glitch, ratio), part in found.groupby(["glitch", "ratio"]):
        values = part.set_index("metric")[seeds]
        truth = values.loc["count_mislabelled"]
        first = {"wrong labels": human_glitch(str(glitch), str(ratio)), "estimator": "known"}
        rows.append({**first, "number": f"{truth.mean():.0f}", "F1": f"{values.loc['f1'].mean():.3f}"})
        for name in registry.names("counter"):
            low, high = values.loc[f"number_low_{name}"], values.loc[f"number_high_{name}"]
            rows.append(
                {
                    "wrong labels": first["wrong labels"],
                    "estimator": human_name("counter", name),
                    "number": f"{values.loc[f'number_{name}'].mean():.0f}",
                    "interval": f"{low.mean():.0f} to {high.mean():.0f}",
                    "holds the truth": f"{((low <= truth) & (truth <= high)).sum()} of {len(seeds)}",
                    "F1": f"{values.loc[f'f1_at_{name}'].mean():.3f}",
                }
            )
    heads = [*rows[1]]
    return markdown_table(pd.DataFrame(rows)[heads].fillna("").sort_values("wrong labels", kind="stable"))


if __name__ == "__main__":
    main()

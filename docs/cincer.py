"""Fill the tables of docs/cincer.md from docs/tables/cincer_*.csv, and these from the results of its studies.

Of a study that has not run to its end the finished repeats are taken.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pages import Section, apart, error_of, mean_of, remake, result

from glitchtrace.core import paths, registry
from glitchtrace.core.files import read_parquet
from glitchtrace.operations.jobs import read_config
from glitchtrace.papers.cincer import cells
from glitchtrace.papers.cincer.tables import (
    KEYS,
    NUMBERS,
    arriving,
    at,
    budget_table,
    correlation_table,
    mean_and_error,
    precision_table,
    threshold_table,
)
from glitchtrace.reporting.style import human_name

PAGE = "docs/cincer.md"
PUBLISHED = Path("docs/published/cincer.json")
# Section of the page -> its studies.
COMPARED = {
    "tables": ("cincer_breast", "cincer_adult", "cincer_newsgroups"),
    "pictures": ("cincer_pictures",),
    "convnet": ("cincer_convnet",),
}
# Its published scores are rounding errors, so that nothing compares.
FULL = "Full Fisher"
COLUMNS = {
    "f1_0": "F1 at 0",
    "f1_50": "F1 at 50",
    "f1_last": "F1 at 100",
    "cleaned": "cleaned",
    "questions": "questions",
    "wrong_counter_examples": "wrong CE shown",
}


def main() -> None:
    """Take the tables of the studies that have been run, and fill the page from the committed ones."""
    remake(PAGE, TABLES, SECTIONS)


def published(what: str) -> Sequence[Mapping[str, Any]]:
    """The published numbers of a kind."""
    found: Sequence[Mapping[str, Any]] = json.loads(PUBLISHED.read_text(encoding="utf-8"))[what]
    return found


def repeats(traces: pd.DataFrame) -> pd.DataFrame:
    """The numbers of each repeat of each run, one row each; NaN where it ends before."""
    rows = []
    for keys, run in traces.groupby([*KEYS, "repeat"], sort=True):
        row: dict[str, Any] = dict(zip([*KEYS, "repeat"], keys, strict=True))
        for name, (column, iteration) in NUMBERS.items():
            found = at(run, column, iteration)
            row[name] = float(found[0]) if len(found) else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def comparison(*studies: pd.DataFrame) -> pd.DataFrame:
    """Ours and published, one row each, mean ± population standard deviation / √R over repeats."""
    known = published("runs")
    runs = pd.concat(studies).groupby(KEYS, sort=True)
    found = []
    for keys, run in runs:
        row: dict[str, Any] = {**dict(zip(KEYS, keys, strict=True)), "repeats": len(run)}
        for name in COLUMNS:
            row[name], row[f"{name}_error"] = mean_and_error(run[name].dropna().to_numpy())
        found.append(row)
    rows = []
    for ours in pd.DataFrame(found).sort_values(["dataset", "model", "f1_last"]).to_dict("records"):
        if (
            registry.base_name(ours["negotiator"]) != ours["negotiator"]
            and "contrastive" in ours["negotiator"]
        ):
            continue
        keys = {key: ours[key] for key in ("dataset", "model", "inspector", "negotiator")}
        theirs = next((run for run in known if {key: run[key] for key in keys} == keys), None)
        names = {
            "data": f"{human_name('dataset', keys['dataset'])} / {keys['model']}",
            "method": method(keys["inspector"], keys["negotiator"]),
        }
        # One repeat has no error.
        error = float("nan") if ours["repeats"] == 1 else 1.0
        pairs = {name: (ours[name], error * ours[f"{name}_error"]) for name in COLUMNS}
        rows.append(names | {"source": f"ours, {ours['repeats']}"} | _cells(pairs))
        if theirs is not None:
            rows.append(names | {"source": "published, 5"} | _cells({name: theirs[name] for name in COLUMNS}))
    return pd.DataFrame(rows)


def signs(*studies: pd.DataFrame) -> pd.DataFrame:
    """The contrastive sign against the published one, paired over repeats: F1 at the end and labels cleaned."""
    rows = []
    keys = ["dataset", "model", "loop", "seed"]
    for (dataset, model, _, _), runs in pd.concat(studies).groupby(keys, sort=True):
        for negotiator in sorted(runs["negotiator"].unique()):
            other = next(
                (
                    name
                    for name in (f"{negotiator}@contrastive", f"{negotiator}_contrastive")
                    if name in set(runs["negotiator"])
                ),
                None,
            )
            if other is None:
                continue
            both = [runs[runs["negotiator"] == name] for name in (negotiator, other)]
            shared = set(both[0]["repeat"]) & set(both[1]["repeat"])
            both = [run[run["repeat"].isin(shared)] for run in both]
            if not shared:
                continue
            row = {
                "data": f"{human_name('dataset', dataset)} / {model}",
                "method": method("margin", negotiator),
                "repeats": len(shared),
            }
            for column, heading in (
                ("f1_last", "F1"),
                ("cleaned", "cleaned"),
                ("wrong_counter_examples", "wrong CE shown"),
            ):
                first, second = (run.sort_values("repeat")[column].to_numpy() for run in both)
                digits = 3 if column == "f1_last" else 1
                row[f"{heading}, published sign"] = f"{first.mean():.{digits}f}"
                row[f"{heading}, contrastive"] = f"{second.mean():.{digits}f}"
                row[f"{heading}, difference"] = _shown(mean_and_error(second - first), digits, signed=True)
            rows.append(row)
    return pd.DataFrame(rows)


def beside_published(shown: pd.DataFrame) -> str:
    """Where F1 at the end and labels cleaned lie beyond two standard errors from the published runs."""
    lines = []
    for what in ("F1 at 100", "cleaned"):
        by_name = {
            (row["data"], row["method"], row["source"].split(",")[0]): row[what]
            for row in shown.to_dict("records")
        }
        gaps = {
            f"{data}, {name}": (
                mean_of(cell) - mean_of(by_name[data, name, "published"]),
                apart(cell, by_name[data, name, "published"]),
            )
            for (data, name, source), cell in by_name.items()
            if source == "ours" and (data, name, "published") in by_name
        }
        far = {name: pair for name, pair in gaps.items() if abs(pair[1]) > 2}
        found = "; ".join(f"{name} {gap:+.3f} ({errors:+.1f})" for name, (gap, errors) in far.items())
        lines.append(
            f"{what}, ours less published, beyond two standard errors of the difference in {len(far)} of {len(gaps)} "
            f"rows{f': {found}' if found else ''}."
        )
    return "\n\n".join(lines)


def gains(shown: pd.DataFrame) -> str:
    """Labels cleaned and F1 by the contrastive sign, less those by the published one, per method."""
    lines = []
    for name, rows in shown.groupby("method", sort=False):
        words = []
        for what, unit in (("cleaned", "labels cleaned"), ("F1", "F1")):
            pairs = [(mean_of(cell), error_of(cell)) for cell in rows[f"{what}, difference"]]
            more, fewer = (sum(sign * value > 2 * error for value, error in pairs) for sign in (1, -1))
            words.append(f"{unit}: more in {more}, fewer in {fewer} of {len(pairs)} rows")
        lines.append(f"* {name}: {'; '.join(words)}.")
    return "\n".join(
        ["By more than two standard errors, the contrastive sign against the published one:", "", *lines]
    )


def distances(shown: pd.DataFrame) -> str:
    """How far ours lie from the published precision, and the contrastive sign from the other, in standard errors."""
    beside = [
        (apart(row["Pr@5"], row["Pr@5, published"]), f"{row['method']} on {row['data']}")
        for row in shown.to_dict("records")
        if row["Pr@5, published"] != "–" and row["method"] != FULL
    ]
    beside.sort(key=lambda pair: -abs(pair[0]))
    by_name = {(row["data"], row["method"]): row["Pr@5"] for row in shown.to_dict("records")}
    lines = [
        f"Beside the published runs, at 5 candidates and without Full Fisher, the largest distance is that of "
        f"{beside[0][1]}: {beside[0][0]:+.1f} standard errors of the difference; all others lie within "
        f"{abs(beside[1][0]):.1f}."
    ]
    for name in ("Practical Fisher", "Top Fisher"):
        found = [
            f"{data} {apart(by_name[data, f'{name} (contrastive)'], by_name[data, name]):+.1f}"
            for data, method in by_name
            if method == name and (data, f"{name} (contrastive)") in by_name
        ]
        lines.append(
            f"The contrastive sign of {name} less the published one, in the same unit: {', '.join(found)}."
        )
    return "\n\n".join(lines)


def beside_margin(shown: pd.DataFrame) -> str:
    """What each way of asking finds at the last number of questions, beside the margin."""
    lines = []
    for data, rows in shown.groupby("data", sort=False):
        last = rows[rows["questions"].astype(int) == rows["questions"].astype(int).max()]
        by_name = last.set_index("asks when")
        margin = next(name for name in by_name.index if name.startswith("Margin"))
        ways = sorted(by_name.index, key=lambda name: -mean_of(by_name.loc[name, "found per question"]))
        found = [f"{name} {by_name.loc[name, 'found per question']}" for name in ways]
        away = [
            f"{name} {apart(by_name.loc[name, 'F1'], by_name.loc[margin, 'F1']):+.1f}"
            for name in ways
            if name != margin
        ]
        lines.append(
            f"* {data}, after {last['questions'].iloc[0]} questions, found per question: {', '.join(found)}. F1 less "
            f"that of the margin, in standard errors: {', '.join(away)}."
        )
    return "\n".join(lines)


def precisions(traces: pd.DataFrame) -> pd.DataFrame:
    """Pooled precision of counter-examples, one row per dataset, model and bar."""
    parts = [
        precision_table(runs).assign(dataset=dataset, model=model)
        for (dataset, model), runs in traces.groupby(["dataset", "model"], sort=True)
    ]
    return pd.concat(parts)


def precision(table: pd.DataFrame) -> pd.DataFrame:
    """Pooled precision of counter-examples, ours and published."""
    known, rows = published("precision"), []
    for ours in table.to_dict("records"):
        keys = {key: ours[key] for key in ("dataset", "model", "negotiator")}
        theirs = next((run for run in known if {key: run[key] for key in keys} == keys), None)
        row = {
            "data": f"{human_name('dataset', ours['dataset'])} / {ours['model']}",
            "method": method("never", ours["negotiator"]),
            "questions": ours["questions"],
        }
        for k in (5, 10):
            name = f"ce_pr_at_{k}"
            row[f"Pr@{k}"] = _shown((ours[name], ours[f"{name}_error"]), 3)
            row[f"Pr@{k}, published"] = "–" if theirs is None else _shown(theirs[name], 3)
        rows.append(row)
    return pd.DataFrame(rows)


def questions(table: pd.DataFrame) -> pd.DataFrame:
    """Wrong labels found per question and F1 at each number of questions."""
    rows = []
    for row in table.to_dict("records"):
        if row["repeats"] == 1:
            row |= dict.fromkeys(("found_error", "f1_error", "arrived_error"), float("nan"))
        rows.append(
            {
                "data": f"{human_name('dataset', row['dataset'])} / {row['model']}",
                "asks when": f"{human_name('inspector', row['inspector'])} > {row['threshold']}",
                "questions": row["questions"],
                "repeats": row["repeats"],
                "found per question": _shown((row["found"], row["found_error"]), 2),
                "F1": _shown((row["f1"], row["f1_error"]), 3),
                "samples arrived": _shown((row["arrived"], row["arrived_error"]), 0),
            }
        )
    return pd.DataFrame(rows)


def thresholds(table: pd.DataFrame) -> pd.DataFrame:
    """The threshold found for each inspector, and what it would flag."""
    return pd.DataFrame(
        {
            "data": f"{human_name('dataset', row['dataset'])} / {row['model']}",
            "inspector": human_name("inspector", row["inspector"]),
            "repeats": row["repeats"],
            "threshold": f"{row['threshold']:.3g}",
            "of single repeats": f"{row['threshold_mean']:.3g} ± {row['threshold_error']:.2g}",
            "suspicious": f"{row['suspicious']:.3f}",
            "wrong among them": "–" if np.isnan(row["precision"]) else f"{row['precision']:.3f}",
            "of all wrong": f"{row['recall']:.3f}",
        }
        for row in table.to_dict("records")
    )


def influence(table: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of each negotiator's scores with the effect of leaving samples out."""
    return pd.DataFrame(
        {
            "data": f"{human_name('dataset', row['dataset'])} / {row['model']}",
            "fitted by": row["refit"],
            "score": human_name("negotiator", row["negotiator"]),
            "repeats": row["repeats"],
            "samples": row["samples"],
            "Spearman": _shown((row["spearman"], row["spearman_error"]), 3),
            "least": f"{row['spearman_least']:.3f}",
        }
        for row in table.to_dict("records")
    )


def cost(table: pd.DataFrame) -> pd.DataFrame:
    """What one repeat costs, and two at once."""
    return pd.DataFrame(
        {
            "repeat": f"{human_name('dataset', row['dataset'])} / {row['model']}",
            "CPU s": f"{row['cpu_seconds']:.1f}",
            "whole process, CPU s": f"{row['process_cpu_seconds']:.1f}",
            "wall s": f"{row['wall_seconds']:.1f}",
            "peak MiB": f"{row['peak_mib']:.0f}",
            "2 at once, CPU s each": f"{row['cpu_seconds_at_once']:.1f} (alone {row['cpu_seconds_alone']:.1f}; "
            f"{row['samples_at_once']} samples)",
            "speed of all": f"{row['speed_at_once']:.2f}×",
            "load before": f"{row['load_before']:.1f}",
        }
        for row in table.to_dict("records")
    )


def method(inspector: str, negotiator: str) -> str:
    """What readers call a way of asking."""
    if inspector == "always":
        return "No noise"
    return human_name("negotiator", negotiator).removesuffix(" (published)")


def _cells(pairs: Mapping[str, Sequence[float]]) -> dict[str, str]:
    return {
        heading: _shown(pairs[name], 3 if name.startswith("f1") else 1) for name, heading in COLUMNS.items()
    }


def _shown(pair: Sequence[float], digits: int, *, signed: bool = False) -> str:
    if np.isnan(pair[0]):
        return "–"
    value = f"{pair[0]:{'+' if signed else ''}.{digits}f}"
    return value if np.isnan(pair[1]) else f"{value} ± {pair[1]:.{digits}f}"


def _traces(study: str) -> pd.DataFrame | None:
    """The traces of all finished repeats of a study with their keys; None without any."""
    config = read_config(f"config/studies/{study}.yaml")
    found = []
    for cell in cells.cells(config["cincer"], config["settings"]):
        wildcards = cell.wildcards()
        file = Path(paths.fill(paths.LOOP_TRACE, **wildcards))
        if file.is_file():
            found.append(read_parquet(file).assign(**{key: wildcards[key] for key in [*KEYS, "repeat"]}))
    return pd.concat(found, ignore_index=True) if found else None


def _taken(study: str, make: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[], pd.DataFrame | None]:
    return lambda: None if (traces := _traces(study)) is None else make(traces)


def _correlations() -> pd.DataFrame | None:
    changes = result("cincer_influence", "cincer_influence.parquet")
    return None if changes is None else correlation_table(changes)


def _command(*studies: str) -> str:
    return ", ".join(f"`{study}.yaml`" for study in studies)


STUDIES = tuple(study for studies in COMPARED.values() for study in studies)
TABLES = {
    **{f"{study}_repeats": _taken(study, repeats) for study in STUDIES},
    "cincer_precision": _taken("cincer_precision", precisions),
    "cincer_questions": _taken("cincer_questions", budget_table),
    "cincer_thresholds": _taken("cincer_thresholds", lambda traces: threshold_table(arriving(traces))),
    "cincer_influence": _correlations,
}
SECTIONS = {
    **{
        section: Section(
            tuple(f"{study}_repeats" for study in studies), comparison, _command(*studies), beside_published
        )
        for section, studies in COMPARED.items()
    },
    "signs": Section(tuple(f"{study}_repeats" for study in STUDIES), signs, _command(*STUDIES), gains),
    **{
        name: Section((f"cincer_{name}",), make, _command(f"cincer_{name}"), words)
        for name, make, words in (
            ("precision", precision, distances),
            ("influence", influence, None),
            ("thresholds", thresholds, None),
            ("questions", questions, beside_margin),
        )
    },
    "cost": Section(("cincer_cost",), cost, "`python benchmarks/cincer_repeat.py`"),
}


if __name__ == "__main__":
    main()

"""Fill the tables of docs/cincer.md from the results of its studies and a benchmark (the commands stand in the page).

Of a study that has not run to its end the finished repeats are taken.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import paths, registry
from glitchtrace.core.files import read_parquet, replace_section
from glitchtrace.operations.jobs import read_config
from glitchtrace.papers.cincer import cells
from glitchtrace.papers.cincer.tables import (
    KEYS,
    arriving,
    at,
    budget_table,
    correlation_table,
    mean_and_error,
    numbers,
    precision_table,
    threshold_table,
)
from glitchtrace.reporting.style import human_name
from glitchtrace.reporting.tables import markdown_table

PAGE = "docs/cincer.md"
STUDIES = Path("results/studies")
PUBLISHED = Path("docs/published/cincer.json")
# Section of the page -> its studies.
SECTIONS = {
    "tables": ("cincer_breast", "cincer_adult", "cincer_newsgroups"),
    "pictures": ("cincer_pictures",),
    "convnet": ("cincer_convnet",),
}
NOT_RUN = "Its study has not been run yet."
COLUMNS = {
    "f1_0": "F1 at 0",
    "f1_50": "F1 at 50",
    "f1_last": "F1 at 100",
    "cleaned": "cleaned",
    "questions": "questions",
    "wrong_counter_examples": "wrong CE shown",
}


def main() -> None:
    """Fill every section of the page whose study has been run, and say which has not.

    The output of the benchmark is the file named as argument; without, that section stays as it is.
    """
    if len(sys.argv) > 1:
        replace_section(PAGE, "cost", Path(sys.argv[1]).read_text(encoding="utf-8"))
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    traces = {study: _traces(study) for studies in SECTIONS.values() for study in studies}
    for section, studies in SECTIONS.items():
        ready = [traces[study] for study in studies if traces[study] is not None]
        table = comparison(pd.concat(ready), published["runs"]) if ready else None
        _fill(section, table)
    ready = [table for table in traces.values() if table is not None]
    _fill("signs", signs(pd.concat(ready)) if ready else None)
    measured = _traces("cincer_precision")
    _fill("precision", None if measured is None else precision(measured, published["precision"]))
    asked = _traces("cincer_questions")
    _fill("questions", None if asked is None else questions(asked))
    silent = _traces("cincer_thresholds")
    _fill("thresholds", None if silent is None else thresholds(silent))
    changes = STUDIES / "cincer_influence" / "cincer_influence.parquet"
    _fill("influence", influence(read_parquet(changes)) if changes.is_file() else None)


def comparison(traces: pd.DataFrame, published: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Ours and published, one row each, mean ± population standard deviation / √R over repeats."""
    rows = []
    for ours in numbers(traces).sort_values(["dataset", "model", "f1_last"]).to_dict("records"):
        if (
            registry.base_name(ours["negotiator"]) != ours["negotiator"]
            and "contrastive" in ours["negotiator"]
        ):
            continue
        keys = {key: ours[key] for key in ("dataset", "model", "inspector", "negotiator")}
        theirs = next((run for run in published if {key: run[key] for key in keys} == keys), None)
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


def signs(traces: pd.DataFrame) -> pd.DataFrame:
    """The contrastive sign against the published one, paired over repeats: F1 at the end and labels cleaned."""
    rows = []
    keys = ["dataset", "model", "loop", "seed"]
    for (dataset, model, _, _), runs in traces.groupby(keys, sort=True):
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
                ("f1", "F1"),
                ("n_cleaned", "cleaned"),
                ("n_cleaned_ce", "wrong CE shown"),
            ):
                first, second = (at(run, column, None) for run in both)
                digits = 3 if column == "f1" else 1
                row[f"{heading}, published sign"] = f"{first.mean():.{digits}f}"
                row[f"{heading}, contrastive"] = f"{second.mean():.{digits}f}"
                row[f"{heading}, difference"] = _shown(mean_and_error(second - first), digits, signed=True)
            rows.append(row)
    return pd.DataFrame(rows)


def precision(traces: pd.DataFrame, published: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Pooled precision of counter-examples, ours and published."""
    rows = []
    for (dataset, model), runs in traces.groupby(["dataset", "model"], sort=True):
        for ours in precision_table(runs).to_dict("records"):
            keys = {"dataset": dataset, "model": model, "negotiator": ours["negotiator"]}
            theirs = next((run for run in published if {key: run[key] for key in keys} == keys), None)
            row = {
                "data": f"{human_name('dataset', dataset)} / {model}",
                "method": method("never", ours["negotiator"]),
                "questions": ours["questions"],
            }
            for k in (5, 10):
                name = f"ce_pr_at_{k}"
                row[f"Pr@{k}"] = _shown((ours[name], ours[f"{name}_error"]), 3)
                row[f"Pr@{k}, published"] = "–" if theirs is None else _shown(theirs[name], 3)
            rows.append(row)
    return pd.DataFrame(rows)


def questions(traces: pd.DataFrame) -> pd.DataFrame:
    """Wrong labels found per question and F1 at each number of questions."""
    rows = []
    for row in budget_table(traces).to_dict("records"):
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


def thresholds(traces: pd.DataFrame) -> pd.DataFrame:
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
        for row in threshold_table(arriving(traces)).to_dict("records")
    )


def influence(changes: pd.DataFrame) -> pd.DataFrame:
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
        for row in correlation_table(changes).to_dict("records")
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


def _fill(section: str, table: pd.DataFrame | None) -> None:
    replace_section(PAGE, section, NOT_RUN if table is None or table.empty else markdown_table(table))


if __name__ == "__main__":
    main()

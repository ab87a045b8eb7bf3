"""The findings of a study in words: what was found, what repairing was worth, where it harmed, where rivals win."""

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import registry
from glitchtrace.core.files import write_text
from glitchtrace.core.grid import CELL_KEYS
from glitchtrace.evaluation.rank_tests import WRONG_LABELS, group_of
from glitchtrace.evaluation.statistics import compare
from glitchtrace.reporting import style
from glitchtrace.reporting.figures.gain import gain_table
from glitchtrace.reporting.inputs import (
    by_method,
    each_cell,
    has_several,
    read_summary,
    read_table,
)
from glitchtrace.reporting.page import html_table

_PAIR = ("one_minus_p", "CNCI")
_RANDOM_OR_PERFECT = ("random", "oracle", "none")


def write_findings(
    *,
    summary: str | Path,
    findings: str | Path,
    headline: str = "f1",
    gain: Sequence[str | Path] = (),
    memorised: Sequence[Sequence[str]] = (),
) -> None:
    """Stage: write the findings of a study as a page that needs nothing else.

    ``summary`` is its ``summary.parquet``, ``gain`` holds its ``gain.parquet`` or, without repairs, nothing;
    ``headline`` is the metric that is compared; ``memorised`` are the pairs of a dataset and a model whose rows are
    marked (``core.grid.memorised``).  Raises GlitchtraceError where a table cannot be read.
    """
    parts = list(_detection(read_summary(summary), headline, memorised))
    for file in gain:
        gains = gain_table(read_table(file, [*CELL_KEYS, "seed", "policy", "part", "accuracy"]))
        parts += _repair(_named(gains, memorised))
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Findings</title></head>\n<body>'
    )
    write_text("\n".join([head, *parts, "</body></html>"]) + "\n", findings)


# --- detection -------------------------------------------------------------------------------------------------------


def detection_table(summary: pd.DataFrame, headline: str = "f1") -> pd.DataFrame:
    """One row per setting: its best detector made of influence and its best plain one, by mean over seeds.

    Columns: the cell, ``seeds``, ``share`` of glitches, ``signal`` and ``signal_f1``, ``rival`` and ``rival_f1``
    (without a value where the study has none), and ``ahead``: ``signal`` or ``rival`` where the paired 95 % interval
    over seeds of their difference excludes 0, otherwise ``neither``.
    """
    rows = []
    for keys, cell in each_cell(summary):
        scores = cell[(cell["metric"] == headline) & (cell["signal"] != "")].dropna(subset="value")
        if scores.empty:
            continue
        values = scores.pivot_table(index="seed", columns="signal", values="value")
        means = values.mean().sort_values(ascending=False, kind="stable")
        signal = next((name for name in means.index if style.of_influence(name)), "")
        rival = next((name for name in means.index if not style.of_influence(name)), "")
        ahead = "neither"
        if signal and rival and len(values) > 1:
            difference = compare(values[signal].to_numpy(), values[rival].to_numpy()).difference
            ahead = "signal" if difference.low > 0 else "rival" if difference.high < 0 else "neither"
        share = cell.loc[cell["metric"] == "contamination", "value"].mean()
        rows.append(
            keys
            | {"seeds": len(values), "share": share, "ahead": ahead}
            | {"signal": signal, "signal_f1": means.get(signal, np.nan)}
            | {"rival": rival, "rival_f1": means.get(rival, np.nan)}
        )
    columns = ["seeds", "share", "ahead", "signal", "signal_f1", "rival", "rival_f1"]
    return pd.DataFrame(rows, columns=[*CELL_KEYS, *columns])


def _detection(summary: pd.DataFrame, headline: str, memorised: Sequence[Sequence[str]]) -> Iterator[str]:
    settings = _named(detection_table(summary, headline), memorised)
    if settings.empty:
        yield "<h2>What was found</h2><p>No glitches were planted in this study: there is nothing to find.</p>"
        return
    seeds = settings["seeds"]
    runs = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    runs = "1 run each" if runs == "1" else f"{runs} runs each, other seeds"
    another = ", and an estimator of the influence" if has_several(settings["estimator"]) else ""
    yield "<h2>What was found</h2>"
    yield (
        f"<p>Glitches were planted in {_count(len(settings), 'setting')} (a dataset, a model, a glitch and its share"
        f"{another}; {runs}). Each detector ranked the "
        "training samples, and as many were flagged as there are glitches. F1 then is the share of the glitches that "
        "were found.</p>"
    )
    yield '<ul class="key">'
    kinds = settings["glitch"].map(_kind_of_glitch)
    for kind in sorted(set(kinds), key=lambda name: (name != WRONG_LABELS, name)):
        yield f"<li>{_on_average(summary, settings[kinds == kind], kind, headline)}</li>"
    yield f"<li>{_rivals(settings)}</li>"
    yield from _fixed_pair(summary, settings[kinds == WRONG_LABELS], headline)
    yield "</ul>"
    yield "<h3>Best detector made of influence, and best plain one</h3>"
    yield (
        '<p class="note">Plain detectors need no influence: they look at the probabilities of the same network, at '
        "features or at neighbours. Who is best was read off the known truth, so both columns flatter, and more so the "
        f"one with more candidates ({_candidates(summary, headline)}). 1 means that "
        "every glitch was found. “Ahead” is said where the 95 % interval of the difference, paired over seeds, "
        "excludes 0.</p>"
    )
    yield html_table(_detection_in_words(settings))
    if settings["network"].str.endswith(style.MARK).any():
        yield f'<p class="note">{style.MARKED}</p>'


def _named(rows: pd.DataFrame, memorised: Sequence[Sequence[str]]) -> pd.DataFrame:
    """The rows with the column ``network``: the name of the model as a reader sees it."""
    models = style.marked(rows, memorised)["model"]
    return rows.assign(network=[style.human_name("model", model) for model in models])


def _on_average(summary: pd.DataFrame, settings: pd.DataFrame, kind: str, headline: str) -> str:
    """One sentence on the detectors that do best on a kind of glitch, each the same in all its settings."""
    keys = [*settings[CELL_KEYS].itertuples(index=False, name=None)]
    rows = summary[(summary["metric"] == headline) & (summary["signal"] != "")].set_index(CELL_KEYS)
    rows = by_method(rows[rows.index.isin(keys)].reset_index())
    means = rows.groupby(["signal", "estimator"])["value"].mean().sort_values(ascending=False, kind="stable")
    influence = [method for method in means.index if style.of_influence(method[0])]
    plain = [method for method in means.index if not style.of_influence(method[0])]
    told = [f"<b>{_detector(*method)}</b> finds {100 * means[method]:.0f} %" for method in influence[:1]]
    told += [
        f"the best plain detector, {_detector(*method)}, {100 * means[method]:.0f} %" for method in plain[:1]
    ]
    chance = settings["share"].mean()
    return (
        f"On {kind} ({_count(len(settings), 'setting')}), {' and '.join(told)} of the glitches on average; "
        f"flagging at random finds {100 * chance:.0f} %."
    )


def _rivals(settings: pd.DataFrame) -> str:
    """One sentence on who is ahead."""
    both = settings[(settings["signal"] != "") & (settings["rival"] != "")]
    if both.empty:
        return "No plain rival was run beside the signals made of influence."
    higher = int((both["rival_f1"] > both["signal_f1"]).sum())
    sure = both["ahead"].value_counts()
    return (
        f"A plain rival has the higher mean in {higher} of {_count(len(both), 'setting')}; beyond the noise between "
        f"seeds it is ahead in {sure.get('rival', 0)}, a signal made of influence in {sure.get('signal', 0)}."
    )


def _fixed_pair(summary: pd.DataFrame, settings: pd.DataFrame, headline: str) -> Iterator[str]:
    """One sentence on two detectors that nobody has picked with hindsight, where the study has both."""
    scores = summary[(summary["metric"] == headline) & summary["signal"].isin(_PAIR)]
    means = scores.pivot_table(index=CELL_KEYS, columns="signal", values="value")
    means = means[means.index.isin([*settings[CELL_KEYS].itertuples(index=False, name=None)])]
    if means.empty or set(_PAIR) - set(means):
        return
    plain, signal = (means[name] for name in _PAIR)
    yield (
        f"<li>Without hindsight: on wrong labels {_detector(_PAIR[0])}, the plainest detector there is, has a higher "
        f"mean than {_detector(_PAIR[1])} in {int((plain > signal).sum())} of {_count(len(means), 'setting')}.</li>"
    )


def _candidates(summary: pd.DataFrame, headline: str) -> str:
    names = set(summary.loc[(summary["metric"] == headline) & (summary["signal"] != ""), "signal"])
    influence = sum(map(style.of_influence, names))
    return f"{influence} made of influence, {len(names) - influence} plain"


def _detection_in_words(settings: pd.DataFrame) -> pd.DataFrame:
    several = has_several(settings["estimator"])
    said = {"signal": "influence", "rival": "plain", "neither": "neither"}
    return pd.DataFrame(
        [
            _setting(row, several)
            | {
                "of influence": style.human_name("detector", row["signal"]) if row["signal"] else "–",
                "F1": _value(row["signal_f1"]),
                "plain": style.human_name("detector", row["rival"]) if row["rival"] else "–",
                "F1 ": _value(row["rival_f1"]),
                "ahead": said[row["ahead"]] if row["seeds"] > 1 else "one run",
            }
            for row in settings.to_dict("records")
        ]
    )


# --- repair ----------------------------------------------------------------------------------------------------------


def _repair(gains: pd.DataFrame) -> Iterator[str]:
    yield "<h2>What repairing was worth</h2>"
    if gains.empty:
        yield "<p>No repair was compared with none.</p>"
        return
    yield (
        "<p>The flagged samples were relabelled or dropped and the network was trained again. Accuracy is measured on "
        "test samples that no training, influence or choice has seen; all numbers are changes in percentage points "
        "against training on the data as they are.</p>"
    )
    yield '<ul class="key">'
    for policy in style.ordered_policies(gains["policy"]):
        yield f"<li>{_policy(gains[gains['policy'] == policy], policy)}</li>"
    yield "</ul>"
    tried = gains[~gains["policy"].map(registry.base_name).isin(_RANDOM_OR_PERFECT)]
    harmed = tried[tried["points"] < 0]
    yield "<h3>Where a repair harms</h3>"
    if harmed.empty:
        yield "<p>Mean accuracy fell in no setting.</p>"
    else:
        yield "<p>Do not repair without measuring. Mean accuracy fell here:</p><ul>"
        for row in harmed.sort_values("points").to_dict("records"):
            yield f"<li>{_harm(row, has_several(gains['estimator']))}</li>"
        yield "</ul>"
    yield "<h3>Change of test accuracy in each setting</h3>"
    yield (
        '<p class="note">Percentage points, mean over seeds. In brackets the 95 % interval of the mean, paired over '
        "seeds; a single run has none. Rows in which a repair loses accuracy are coloured.</p>"
    )
    table, marks = _repair_in_words(gains)
    yield html_table(table, marks)


def _policy(gains: pd.DataFrame, policy: str) -> str:
    """One sentence on a policy over all settings."""
    falls, sure = int((gains["points"] < 0).sum()), int((gains["low"] > 0).sum())
    surely_worse = int((gains["high"] < 0).sum())
    what = {
        "oracle": " (the true glitches, mended perfectly: the most that a repair can bring)",
        "random": " (the same treatment of samples drawn at random)",
    }.get(registry.base_name(policy), "")
    return (
        f"<b>{html.escape(style.human_name('policy', policy))}</b>{what}: {gains['points'].mean():+.1f} points on "
        f"average over {_count(len(gains), 'setting')}. Accuracy fell in {falls}. Beyond the noise between seeds it "
        f"rose in {sure} and fell in {surely_worse}."
    )


def _harm(row: Mapping[Any, Any], several: bool) -> str:
    words = _setting(row, several)
    interval = f" ({row['low']:+.1f} to {row['high']:+.1f})" if row["n"] != 1 else ""
    name = html.escape(style.human_name("policy", str(row["policy"])))
    where = html.escape(", ".join(words.values()))
    return f"{where}: {name} {row['points']:+.1f}{interval}"


def _repair_in_words(gains: pd.DataFrame) -> tuple[pd.DataFrame, list[bool]]:
    several = has_several(gains["estimator"])
    rows, marks = [], []
    for _, cell in gains.groupby(CELL_KEYS, sort=True):
        row = _setting(cell.iloc[0].to_dict(), several)
        for one in cell.to_dict("records"):
            interval = f" ({one['low']:+.1f} to {one['high']:+.1f})" if one["n"] > 1 else ""
            row[style.human_name("policy", one["policy"])] = f"{one['points']:+.1f}{interval}"
        tried = ~cell["policy"].map(registry.base_name).isin(_RANDOM_OR_PERFECT)
        rows.append(row)
        marks.append(bool((cell.loc[tried, "points"] < 0).any()))
    return pd.DataFrame(rows).fillna("–"), marks


# --- words -----------------------------------------------------------------------------------------------------------


def _setting(row: Mapping[Any, Any], several: bool) -> dict[str, str]:
    """The columns that say which setting a row is."""
    words = {
        "data": style.human_name("dataset", str(row["dataset"])),
        "model": str(row["network"]),
        "planted": style.human_glitch(str(row["glitch"]), str(row["ratio"])),
    }
    return words | ({"estimator": style.human_name("estimator", str(row["estimator"]))} if several else {})


def _kind_of_glitch(glitch: str) -> str:
    return WRONG_LABELS if group_of(glitch) == WRONG_LABELS else style.human_name("glitch", glitch)


def _detector(name: str, estimator: str = "") -> str:
    made_of = f" ({style.human_name('estimator', estimator)})" if estimator else ""
    return html.escape(style.human_name("detector", name) + made_of)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _value(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"

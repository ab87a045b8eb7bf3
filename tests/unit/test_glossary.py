"""docs/glossary.md names what the code registers and writes: nothing more, nothing less."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glitchtrace.core import registry
from glitchtrace.detectors.influence_signals import CARDS
from glitchtrace.evaluation.measures import cell_measures, signal_measures
from glitchtrace.glitches.kinds import Kind

PAGE = (Path(__file__).parents[2] / "docs/glossary.md").read_text(encoding="utf-8")
KINDS = "|".join(kind.label for kind in Kind)
COUNTERS = registry.names("counter")
REMEDY = "describe it in docs/glossary.md"


def section(title: str) -> list[list[str]]:
    """The rows of the tables of one section, the name of each without its backticks."""
    body = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert body, title
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in body[1].splitlines()
        if line[:1] == "|"
    ]
    return [[row[0].strip("`"), *row[1:]] for row in rows if row[0].startswith("`")]


def names(title: str) -> list[str]:
    return [row[0] for row in section(title)]


def written() -> set[str]:
    """Every measure of a cell in which every kind of glitch is present."""
    kinds = np.tile(np.array([int(kind) for kind in Kind], dtype=np.int8), 4)
    labels = np.arange(len(kinds)) % 2
    true = np.where(kinds == Kind.ANOMALOUS, -1, labels)
    samples = pd.DataFrame({"kind": kinds, "label": labels, "true_label": true, "source_label": labels})
    history = pd.DataFrame(
        [
            {"epoch": 1, "part": part, "kind": kind, "accuracy": 0.5, "loss": 1.0}
            for part, kind in [*(("train", k) for k in ("all", *KINDS.split("|"))), ("validation", "all")]
        ]
    )
    numbers = pd.DataFrame(
        [(name, 3.0, 1.0, 5.0) for name in COUNTERS], columns=["counter", "count", "low", "high"]
    )
    scored = samples[["label"]].assign(proposed_label=1 - labels, verdict=np.int8(1))
    scores = np.random.default_rng(0).normal(size=(2, len(kinds)))
    scored = scored.assign(sample=range(len(kinds)), CFRank=scores[0], CNCI=scores[1])
    found = set(cell_measures(samples, history, numbers))
    return found.union(*(measures for _, measures in signal_measures(scored, samples, None, numbers)))


def matches(entry: str, name: str) -> bool:
    """Whether an entry, whose {words} stand for kinds, describes a name."""
    return (
        re.fullmatch(re.sub(r"\\\{\w+\\\}", f"(?:{'|'.join([KINDS, *COUNTERS])})", re.escape(entry)), name)
        is not None
    )


def test_every_measure_is_described_and_every_description_is_of_a_measure() -> None:
    entries, found = names("Measures"), written()
    missing = {name for name in found if not any(matches(entry, name) for entry in entries)}
    assert not missing, REMEDY
    assert not [entry for entry in entries if not any(matches(entry, name) for name in found)]


@pytest.mark.parametrize(("kind", "title"), [("detector", "Signals"), ("policy", "Repair policies")])
def test_every_component_of_a_kind_is_described(kind: str, title: str) -> None:
    described = {*names(title), *(names("Other detectors") if kind == "detector" else ())}
    assert described == set(registry.names(kind)), REMEDY


def test_signals_have_their_name_in_figures() -> None:
    assert {row[0]: row[1] for row in section("Signals")} == {
        name: registry.card("detector", name)["label"] for name in CARDS
    }


def test_every_entry_is_complete_and_stands_once() -> None:
    for title, columns in (("Signals", 6), ("Measures", 5), ("Repair policies", 3), ("Other detectors", 4)):
        rows = section(title)
        assert len({row[0] for row in rows}) == len(rows)
        assert all(len(row) == columns and all(row) for row in rows), title

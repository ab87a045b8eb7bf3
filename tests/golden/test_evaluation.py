"""F1 by the published rule and the characterisation accuracies of the original code, on its own scores."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from glitchtrace.evaluation.characterisation import characterise
from glitchtrace.evaluation.detection import f1_published
from glitchtrace.glitches.kinds import Kind

FOLDER = Path(__file__).parent / "glitch-detection"
CASES = {
    case["name"]: case["description"]
    for case in json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))["cases"]
    if case["name"].startswith("sig_")
}
SCORED = [(name, signal) for name, case in CASES.items() for signal in case["f1"]]
MIXED = [name for name, case in CASES.items() if case["original_error"] is None]


def arrays(name):
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


@pytest.mark.parametrize(("name", "signal"), SCORED)
def test_f1_by_the_published_rule(name, signal):
    case, golden = CASES[name], arrays(name)
    scores = golden["in_self_influence" if signal == "SI" else f"out_{signal}"]
    found = f1_published(scores, golden["in_error_col"] == 1, case["contamination"])
    assert found == pytest.approx(case["f1"][signal], rel=1e-12, abs=1e-12)


def accuracies(golden, detected, order):
    """The two accuracies, None without a detected sample of the kind, with ties broken by the given order."""
    mislabelled = golden["out_rank_CNCI"] >= golden["out_rank_PCID"]
    verdicts = np.where(mislabelled, np.int8(Kind.MISLABELLED), np.int8(Kind.ANOMALOUS))
    kinds = golden["in_error_type"].astype(np.int8)
    found = characterise(golden["out_CFRank"][order], verdicts[order], kinds[order], detected)
    return {
        kind.label: found.accuracy(kind) if found.count(kind) else None
        for kind in (Kind.MISLABELLED, Kind.ANOMALOUS)
    }


@pytest.mark.parametrize("name", MIXED)
def test_characterisation_accuracies(name):
    case, golden = CASES[name], arrays(name)
    size = len(golden["out_CFRank"])
    detected = math.floor(case["contamination"] * size)
    forward = accuracies(golden, detected, np.arange(size))
    backward = accuracies(golden, detected, np.arange(size)[::-1])
    expected = case["characterisation_accuracy"]
    if None in expected.values():
        # The original stops where one of the kinds is not detected, and leaves no number for the other.
        assert None in forward.values()
    elif forward == backward:
        assert forward == expected
    else:
        # Two samples share the last place and the original's unstable sort takes one of them.
        ordered = np.sort(golden["out_CFRank"])[::-1]
        assert ordered[detected - 1] == ordered[detected]
        assert expected in (forward, backward)


@pytest.mark.parametrize("name", MIXED)
def test_the_verdict_names_the_rank_that_cfrank_takes(name):
    golden = arrays(name)
    mislabelled = golden["out_rank_CNCI"] >= golden["out_rank_PCID"]
    chosen = np.where(mislabelled, golden["out_rank_CNCI"], golden["out_rank_PCID"])
    np.testing.assert_array_equal(chosen, golden["out_CFRank"])

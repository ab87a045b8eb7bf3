"""The closing summary: what was found, what repair brought, from the summaries of a study."""

from pathlib import Path

import pandas as pd
import pytest

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_parquet
from glitchtrace.reporting.closing import closing_lines

CELL = {
    "dataset": "digits",
    "model": "mlp",
    "glitch": "uniform",
    "ratio": "0.1",
    "seed": 0,
    "estimator": "tracin",
}


def summary(folder: Path, **scores: float) -> None:
    rows = [{**CELL, "signal": name, "metric": "f1", "value": value} for name, value in scores.items()]
    rows += [{**CELL, "signal": "", "metric": "f1", "value": 9.0}]
    rows += [{**CELL, "signal": "SI", "metric": "auroc", "value": 9.0}]
    write_parquet(pd.DataFrame(rows), folder / "summary.parquet")


def gain(folder: Path, **accuracies: float) -> None:
    rows = [
        {**CELL, "policy": policy, "part": part, "accuracy": value - (part == "validation")}
        for policy, value in accuracies.items()
        for part in ("test", "validation")
    ]
    write_parquet(pd.DataFrame(rows), folder / "gain.parquet")


def test_it_names_the_best_detector_and_the_change_of_test_accuracy(tmp_path: Path) -> None:
    summary(tmp_path, SI=0.75, CNCI=0.5)
    gain(tmp_path, none=0.9, influence=0.88, oracle=0.93)
    lines = closing_lines(tmp_path, 61.4)
    assert lines[1] == "  digits: uniform: SI 0.75"
    assert "influence -2.0 (fell in 1 of 1), oracle +3.0 (fell in 0 of 1)" in lines[2]
    assert lines[3].startswith("Took 1 min 1 s.")
    assert len(lines) == 4


def test_a_dataset_that_a_network_has_learnt_is_marked_and_explained(tmp_path: Path) -> None:
    summary(tmp_path, SI=0.75)
    lines = closing_lines(tmp_path, 1.0, memorised=[["digits", "mlp"], ["digits", "another"]])
    assert lines[1] == "  digits†: uniform: SI 0.75"
    assert lines[2].startswith("  † The weights that this network starts from have learnt")
    assert not any("†" in line for line in closing_lines(tmp_path, 1.0, memorised=[["mnist", "mlp"]]))


def test_a_study_without_repair_or_without_a_grid_has_less_to_say(tmp_path: Path) -> None:
    assert closing_lines(tmp_path, 1.0) == []
    summary(tmp_path, SI=0.75)
    assert len(closing_lines(tmp_path, 1.0)) == 3


def test_a_broken_summary_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "summary.parquet").write_bytes(b"no parquet")
    with pytest.raises(GlitchtraceError, match="cannot be read as parquet"):
        closing_lines(tmp_path, 1.0)

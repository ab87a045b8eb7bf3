"""The closing summary: what was found, what repair brought, from the summaries of a study."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_parquet
from glitchtrace.reporting.closing import closing_lines
from glitchtrace.reporting.figures.gain import gain_table

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


CLEAN = {"glitch": "none", "ratio": "clean"}


def test_cells_without_a_glitch_have_no_part_in_what_repair_brought(tmp_path: Path) -> None:
    """The number is that of the table of gains: clean cells have nothing to repair."""
    summary(tmp_path, SI=0.75)
    gain(tmp_path, none=0.9, influence=0.88, oracle=0.93)
    measured = pd.read_parquet(tmp_path / "gain.parquet")
    write_parquet(pd.concat([measured, measured.assign(**CLEAN, accuracy=0.9)]), tmp_path / "gain.parquet")
    assert "influence -2.0 (fell in 1 of 1), oracle +3.0 (fell in 0 of 1)" in closing_lines(tmp_path, 1.0)[2]
    write_parquet(measured.assign(**CLEAN), tmp_path / "gain.parquet")
    assert not any(line.startswith("What repair") for line in closing_lines(tmp_path, 1.0))


def test_what_repair_brought_is_the_mean_of_the_table_of_gains(tmp_path: Path) -> None:
    """With clean cells, several seeds and estimators, and a policy that one cell has not."""
    rng = np.random.default_rng(0)
    rows = [
        {**CELL, "estimator": estimator, "glitch": glitch, "ratio": ratio, "seed": seed, "policy": policy}
        for estimator in ("tracin", "influence_functions")
        for glitch, ratio in (("uniform", "0.1"), ("class_dependent", "0.2"), ("none", "clean"))
        for seed in range(3)
        for policy in ("none", "random", "influence", "oracle")
        if policy != "oracle" or glitch != "class_dependent"
    ]
    measured = pd.DataFrame(rows).assign(part="test", accuracy=rng.uniform(size=len(rows)))
    write_parquet(measured, tmp_path / "gain.parquet")
    summary(tmp_path, SI=0.75)
    (line,) = (line for line in closing_lines(tmp_path, 1.0) if line.startswith("What repair"))
    for policy, gains in gain_table(measured).groupby("policy"):
        fell = f"(fell in {(gains['points'] < 0).sum()} of {len(gains)})"
        assert f"{policy} {gains['points'].mean():+.1f} {fell}" in line


def test_signals_of_several_estimators_are_not_averaged(tmp_path: Path) -> None:
    """The better of two estimators is named; what sees no influence has none."""
    scores = {("SI", "tracin"): 0.4, ("SI", "influence_functions"): 0.8, ("loss", "tracin"): 0.7}
    scores["loss", "influence_functions"] = 0.7
    rows = [
        {**CELL, "estimator": estimator, "signal": signal, "metric": "f1", "value": value}
        for (signal, estimator), value in scores.items()
    ]
    write_parquet(pd.DataFrame(rows), tmp_path / "summary.parquet")
    assert closing_lines(tmp_path, 1.0)[1] == "  digits: uniform: SI (Koh & Liang) 0.80"
    scores["loss", "tracin"] = scores["loss", "influence_functions"] = 0.9
    rows = [{**row, "value": scores[row["signal"], row["estimator"]]} for row in rows]
    write_parquet(pd.DataFrame(rows), tmp_path / "summary.parquet")
    assert closing_lines(tmp_path, 1.0)[1] == "  digits: uniform: loss 0.90"


def test_a_dataset_that_a_network_has_learnt_is_marked_and_explained(tmp_path: Path) -> None:
    summary(tmp_path, SI=0.75)
    lines = closing_lines(tmp_path, 1.0, memorised=[["digits", "mlp"], ["digits", "another"]])
    assert lines[1] == "  digits†: uniform: SI 0.75"
    assert lines[2].startswith("  † The weights that this network starts from have learnt")
    assert not any("†" in line for line in closing_lines(tmp_path, 1.0, memorised=[["mnist", "mlp"]]))


def test_a_study_without_repair_or_without_a_grid_has_less_to_say(tmp_path: Path) -> None:
    assert closing_lines(tmp_path, 1.0) == []
    (tmp_path / "tables").mkdir()
    (line,) = closing_lines(tmp_path, 1.0)
    assert line.startswith(f"Took 1 s. Look at {tmp_path}/figures and {tmp_path}/tables;")
    summary(tmp_path, SI=0.75)
    assert len(closing_lines(tmp_path, 1.0)) == 3


def test_a_broken_summary_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "summary.parquet").write_bytes(b"no parquet")
    with pytest.raises(GlitchtraceError, match="cannot be read as parquet"):
        closing_lines(tmp_path, 1.0)

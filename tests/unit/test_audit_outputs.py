"""What an audit writes: a page that is safe and small, data that differ in the repairs alone, lists that apply."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glitchtrace.audit import example
from glitchtrace.audit.cleaning import FLAG, neutral, restored
from glitchtrace.audit.run import audit_path
from glitchtrace.command import main
from glitchtrace.core import files


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audit of a table with names that mean something to a browser and to a spreadsheet."""
    folder = tmp_path_factory.mktemp("audit")
    table, _ = example.example()
    table["diagnosis"] = table.diagnosis.map({"benign": "<b onload=alert(1)>", "malignant": "=HYPERLINK(1)"})
    table["patient"] = "../<script>" + table.patient
    table.to_csv(folder / "own.csv", index=False, sep=";", encoding="utf-16")
    audit_path(folder / "own.csv", label="diagnosis", id="patient", out=folder / "out", gain_repeats=2)
    return folder


def test_the_page_is_one_file_that_runs_nothing_but_its_own_script(audited: Path) -> None:
    text = (audited / "out/report.html").read_text()
    assert len(text) < 15e6
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert "<b onload" not in text
    assert "../<script>" not in text
    assert text.count("<script") == 2
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    assert any(row["id"].startswith("../<script>") for row in data["rows"])


def test_no_cell_of_the_list_is_a_formula(audited: Path) -> None:
    with open(audited / "out/issues.csv", encoding="utf-8", newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert "'=HYPERLINK(1)" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "@", "+"))]


@pytest.mark.parametrize("text", ["=1+1", "+a", "-b", "@c", "\tx", "'=1", "plain", "", "'plain"])
def test_what_is_neutralised_can_be_restored(text: str) -> None:
    assert not neutral(text).startswith(("=", "+", "-", "@", "\t"))
    if not text.startswith("'"):
        assert restored(neutral(text)) == text


def test_cleaned_data_differ_in_the_repairs_alone(audited: Path) -> None:
    before = pd.read_csv(audited / "own.csv", sep=";", encoding="utf-16", dtype=str)
    after = pd.read_csv(audited / "out/cleaned.csv", sep=";", encoding="utf-16", dtype=str)
    issues = files.read_parquet(audited / "out/issues.parquet")
    dropped = set(issues.row[issues.action == "drop"])
    kept = before[~before.index.isin(dropped)].reset_index(drop=True)
    changed = issues[issues.action == "relabel"].set_index("id").proposed
    assert len(dropped) == example.TWINS
    assert len(changed) > 30
    pd.testing.assert_frame_equal(after.drop(columns=["diagnosis", FLAG]), kept.drop(columns="diagnosis"))
    expected = kept.diagnosis.where(~kept.patient.isin(changed.index), kept.patient.map(changed))
    assert list(after.diagnosis) == list(expected)
    assert set(after.patient[after[FLAG] == "corrupted"]) == set(issues.id[issues.verdict == "corrupted"])


def test_a_reviewed_list_is_applied_to_the_rows_that_were_accepted(
    audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    issues = pd.read_csv(audited / "out/issues.csv")
    first = issues[issues.verdict == "mislabelled"].head(2).assign(decision=["accept", "refuse"])
    first.to_csv(tmp_path / "reviewed.csv", index=False)
    assert (
        main(
            ["apply", str(tmp_path / "reviewed.csv"), "--audit", str(audited / "out"), "--out", str(tmp_path)]
        )
        == 0
    )
    assert "cleaned-reviewed.csv" in capsys.readouterr().out
    before = pd.read_csv(audited / "own.csv", sep=";", encoding="utf-16", dtype=str)
    after = pd.read_csv(tmp_path / "cleaned-reviewed.csv", sep=";", encoding="utf-16", dtype=str)
    (differ,) = np.flatnonzero(before.diagnosis != after.diagnosis)
    assert differ == first.row.iloc[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n2,3\n", "column 'row' is missing"),
        ("row,action,proposed\n9999,relabel,x\n", "row '9999' is none of the 575 audited"),
        ("row,action,proposed\n1,explode,x\n", "unknown action 'explode'"),
        ("row,action,proposed\n1,relabel,x\n", "'x' is no class of the data"),
        ("row,action,proposed,audit\n1,drop,x,0123\n", "belongs to another audit"),
    ],
)
def test_a_list_that_does_not_fit_is_one_line(
    audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    (tmp_path / "list.csv").write_text(content)
    assert main(["apply", str(tmp_path / "list.csv"), "--audit", str(audited / "out")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_gain_compares_with_nothing_done_with_random_and_with_drops(audited: Path) -> None:
    gain = files.read_record(audited / "out/gain.json")
    assert set(gain["arms"]) == {"nothing", "repairs", "random", "drop", "random_drop"}
    assert gain["sentence"]
    for arm in ("repairs", "drop"):
        difference = gain["arms"][arm]["accuracy_difference"]
        assert difference["low"] <= difference["mean"] <= difference["high"]


@pytest.mark.parametrize(
    ("changes", "interval"),
    [([0.003], False), ([0.01, 0.01], False), ([0.01, 0.02], True), ([0.0, 0.0], True)],
)
def test_an_interval_and_a_proof_need_repeats_that_differ(changes: list[float], interval: bool) -> None:
    from glitchtrace.audit.gain import ARMS, _record
    from glitchtrace.audit.learners import learners
    from glitchtrace.audit.page import _gain

    scores = {arm: [(0.5 + change * (arm != "nothing"), 0.7 - change) for change in changes] for arm in ARMS}
    record = _record(scores, [3] * len(changes), (200, 100), learners(300, 4, 2, True)[0], 2)
    difference = record["arms"]["repairs"]["accuracy_difference"]
    assert (difference["low"] is not None) == (difference["high"] is not None) == interval
    assert (" to " in record["sentence"].split("loss")[0]) == interval
    assert interval or not any(word in record["sentence"] for word in ("rises", "falls", "improvement"))
    assert "nan" not in _gain(record)


def test_the_input_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, _ = example.example()
    path = tmp_path / "cleaned.csv"
    table.head(60).to_csv(path, index=False)
    before = path.read_bytes()
    assert (
        main(["audit", str(path), "--label", "diagnosis", "--out", str(tmp_path), "--gain-repeats", "0"]) == 1
    )
    assert "never written over" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_cleaned_data_are_the_same_in_blocks(
    audited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from glitchtrace.audit import cleaning

    monkeypatch.setattr(cleaning, "_BLOCK", 7)
    path = cleaning.apply(str(audited / "out/issues.csv"), None, str(tmp_path))
    assert path.read_bytes() == (audited / "out/cleaned.csv").read_bytes()

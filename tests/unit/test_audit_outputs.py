"""What an audit writes: a page that is safe and small, data that differ in the repairs alone, lists that apply."""

import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from glitchtrace.audit import cleaning, example, gain, page
from glitchtrace.audit.cleaning import FLAG, neutral, restored
from glitchtrace.audit.learners import Learner
from glitchtrace.audit.representation import Representation
from glitchtrace.audit.run import audit_path
from glitchtrace.audit.samples import from_arrays, read
from glitchtrace.audit.settings import Settings
from glitchtrace.command import main
from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.table_files import read_table


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


@pytest.mark.parametrize("text", ["=1+1", "+a", "-b", "@c", "\tx", "'=1", "''-1", "plain", "", "'plain", "'"])
def test_what_is_neutralised_can_be_restored(text: str) -> None:
    assert not neutral(text).startswith(("=", "+", "-", "@", "\t"))
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
        ("row,action,proposed\n²,drop,\n", "row '²' is none of the 575 audited"),
        (f"row,action,proposed\n{'9' * 5000},drop,\n", "is none of the 575 audited"),
        (
            "row,action,proposed\n1,drop,\n2,keep,\n1,keep,\n",
            "lines 2 and 4: row 1 has two actions, drop and keep",
        ),
        ("row,action,proposed\n", "a header and no rows"),
        ("row,action,proposed,audit\n1,drop,x,0123\n", "belongs to another audit"),
        ("row,action,proposed,decision\n1,drop,,accept\n2,drop,,acept\n", "line 3: unknown decision 'acept'"),
        ("row,action,proposed,Decision \n1,drop,,Ja\n", "line 2: unknown decision 'Ja'"),
        ("row,action,proposed,decision,DECISION\n1,drop,,yes,no\n", "two columns are named 'decision'"),
        ("row,action,proposed,decision,decision\n1,drop,,yes,no\n", "two columns are named 'decision'"),
        (
            "Row,Action,Proposed,Observed\n1,drop,,zz\n",
            "line 2: observed is 'zz' where row 1 of the data has",
        ),
        ("row,id,action,proposed\n1,zz,drop,\n", "line 2: id is 'zz' where row 1 of the data has"),
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


@pytest.mark.parametrize(
    ("decision", "counts"),
    [
        ("accept", True),
        ("ACCEPTED ", True),
        ("yes", True),
        ("Refuse", False),
        ("refused", False),
        ("", False),
    ],
)
def test_a_decision_is_found_whatever_the_capitals_of_its_column(
    audited: Path, tmp_path: Path, decision: str, counts: bool
) -> None:
    (tmp_path / "list.csv").write_text(
        f"Row,ACTION,proposed,Decision\n1,drop,,{decision}\n2,keep,,{decision}\n"
    )
    wanted = ["apply", str(tmp_path / "list.csv"), "--audit", str(audited / "out"), "--out", str(tmp_path)]
    assert main(wanted) == 0
    before, after = audited / "own.csv", tmp_path / "cleaned-reviewed.csv"
    assert (len(before.read_bytes()) > len(after.read_bytes())) == counts
    # A second time what was written is there: a list that is not there is still one line.
    assert main([wanted[0], str(tmp_path / "none.csv"), *wanted[2:]]) == 1


def test_a_list_of_another_audit_is_refused(
    audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows that lie elsewhere since, whether or not they are accepted: one line names the first, and the remedy."""
    listed = pd.read_csv(audited / "out/issues.csv", dtype=str, keep_default_na=False)
    ids = listed.set_index("row").id
    for name, decision in (("one", None), ("two", "refuse")):
        other = listed.assign(row=[str((int(row) + 1) % len(listed)) for row in listed.row])
        if decision:
            other["decision"] = decision
        other.to_csv(tmp_path / f"{name}.csv", index=False)
        arguments = ["apply", str(tmp_path / f"{name}.csv"), "--audit", str(audited / "out")]
        assert main([*arguments, "--out", str(tmp_path)]) == 1
        error = capsys.readouterr().err
        first = other.iloc[0]
        assert f"{name}.csv, line 2: id is '{first.id}' where row {first.row} of the data" in error
        assert f"has '{ids[first.row]}'; give the folder of the audit that wrote the list" in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("listed", "true", "alike"),
    [
        ("a/1.png", "a/1.png", True),
        ("a/1.png", "a/2.png", False),
        ("'=x", "=x", True),
        ("TRUE", "true", True),
        ("7", "007", True),
        ("1,5", "1.50", True),
        ("1.23457E+11", "123456789012", True),
        ("1.23457E+11", "123556789012", False),
        ("1,2E+12", "1234567890123", True),
        ("word…", "words", True),
        ("word…", "other words", False),
        ("", "a", False),
        ("a", "", False),
        ("", "", True),
    ],
)
def test_what_a_list_names_is_found_as_spreadsheet_and_page_write_it(
    listed: str, true: str, alike: bool
) -> None:
    assert cleaning.alike(listed, true) == alike


def test_a_label_may_be_listed_as_a_spreadsheet_writes_it(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(
        "x;y\n" + "".join(f"{n % 7}.5;{n * 1.5:.2f}\n".replace(".", ",") for n in range(60))
    )
    samples = read(tmp_path / "own.csv", Settings(label="y"))
    for observed, refused in (
        ("3,00", False),
        ("3", False),
        ("3.0", False),
        ("'3,00", True),
        ("4,5", True),
        ("", True),
    ):
        (tmp_path / "list.csv").write_text(f'row;action;proposed;observed\n2;drop;;"{observed}"\n')
        if refused:
            with pytest.raises(
                GlitchtraceError, match=r"line 2: observed is .* where row 2 of the data has '3,00'"
            ):
                cleaning.reviewed(tmp_path / "list.csv", samples, samples.digest)
        else:
            assert cleaning.reviewed(tmp_path / "list.csv", samples, samples.digest).dropped == {2}


def test_the_gain_compares_with_nothing_done_with_random_and_with_drops(audited: Path) -> None:
    found = files.read_record(audited / "out/gain.json")
    assert set(found["arms"]) == {"nothing", "repairs", "random", "drop", "random_drop"}
    assert found["sentence"]
    for arm in ("repairs", "drop"):
        difference = found["arms"][arm]["accuracy_difference"]
        assert difference["low"] <= difference["mean"] <= difference["high"]


@pytest.mark.parametrize(
    ("changes", "interval"),
    [
        ([0.003], False),
        ([0.01, 0.01], False),
        ([0.01, 0.01 + 2e-16], False),
        ([0.01, 0.02], True),
        ([0.0, 0.0], True),
        ([0.0, 2e-16], True),
    ],
)
def test_an_interval_and_a_proof_need_repeats_that_differ(changes: list[float], interval: bool) -> None:
    record = measured(changes, [(200, 100)] * len(changes))
    difference = record["arms"]["repairs"]["accuracy_difference"]
    assert (difference["low"] is not None) == (difference["high"] is not None) == interval
    assert (" to " in record["sentence"].split("loss")[0]) == interval
    assert interval or not any(word in record["sentence"] for word in ("rises", "falls", "improvement"))
    assert "nan" not in page._gain(record)
    assert "<svg" in page._gain(record)
    assert "<svg" not in page._gain({**record, "rows_repaired": 0.0}), "nothing repaired, nothing measured"


@pytest.mark.parametrize(
    ("changes", "sizes", "half", "rows"),
    [
        # Student's t at .975 × √(variance × (1/R + mean of measuring/training)), by hand.
        ([0.0, 0.02], [(200, 100), (200, 100)], 12.7062 * (0.0002 * (1 / 2 + 1 / 2)) ** 0.5, (200, 100)),
        ([0.0, 0.02], [(300, 200), (400, 100)], 12.7062 * (0.0002 * (1 / 2 + 11 / 24)) ** 0.5, (350, 150)),
        ([0.01, 0.02, 0.03], [(100, 50), (120, 30), (125, 25)], 4.30265 * (0.0001 * 0.65) ** 0.5, (115, 35)),
    ],
)  # fmt: skip
def test_the_interval_counts_the_rows_that_repeats_share(
    changes: list[float], sizes: list[tuple[int, int]], half: float, rows: tuple[int, int]
) -> None:
    record = measured(changes, sizes)
    found = record["arms"]["repairs"]["accuracy_difference"]
    assert found["mean"] == pytest.approx(np.mean(changes))
    assert [found["low"], found["high"]] == pytest.approx(
        [np.mean(changes) - half, np.mean(changes) + half], abs=1e-5
    )
    assert (record["rows_training"], record["rows_measuring"]) == rows


def test_with_times_the_gain_is_that_of_all_its_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    record = gain._record
    monkeypatch.setattr(gain, "_record", lambda scores, counts, sizes, *a: seen.extend(sizes) or record(
        scores, counts, sizes, *a))  # fmt: skip
    X = np.random.default_rng(0).normal(size=(120, 2))
    views = Representation(X.astype(np.float32), None, "")
    found = gain.measure(
        views, (X[:, 0] > 0).astype(int), 2, {}, None, np.arange(120.0), max_false=0.1, repeats=5, seed=0
    )
    # From 43 % of the rows, the last, down to 17 %, as the page says.
    assert seen == [(68, 52), (76, 44), (84, 36), (92, 28), (100, 20)]
    assert (found["rows_training"], found["rows_measuring"]) == (84, 36)


@pytest.mark.parametrize(
    ("classes", "times", "y", "why"),
    [
        (0, np.r_[np.arange(20), np.full(60, 99)], np.arange(80.0), "fewer than 10 rows are left to measure on"),
        (2, np.r_[np.arange(20), np.full(60, 99)], np.arange(80) % 2, "fewer than 10 rows are left to measure on"),
        (2, np.arange(80), np.arange(80) // 70, "the rows that would train are of a single class"),
    ],
)  # fmt: skip
def test_why_the_gain_is_not_measured(classes: int, times: np.ndarray, y: np.ndarray, why: str) -> None:
    views = Representation(np.arange(80, dtype=np.float32)[:, None], None, "")
    found = gain.measure(views, y, classes, {}, None, times, max_false=0.1, repeats=5, seed=0)
    assert found == gain.unmeasured(why)


def measured(changes: list[float], sizes: list[tuple[int, int]]) -> dict[str, Any]:
    """The record of repeats in which every repair changes accuracy and, the other way, loss by so much."""
    scores = {
        arm: [(0.5 + change * (arm != "nothing"), 0.7 - change) for change in changes] for arm in gain.ARMS
    }
    learner = Learner("linear", "lines", "a line", lambda seed: None)
    return gain._record(scores, [3] * len(changes), sizes, learner, 2)


def table_in(folder: Path, name: str, rows: int = 60) -> Path:
    """Some rows of the example in a file of their own."""
    folder.mkdir(exist_ok=True)
    example.example()[0].head(rows).to_csv(folder / name, index=False)
    return folder / name


@pytest.mark.parametrize(
    ("mine", "more", "message"),
    [
        ("cleaned.csv", [], "this is an input, which is never written over"),
        ("issues.csv", [], "this is an input"),
        ("t.csv", ["--trusted", "{here}/cleaned.csv"], "cleaned.csv: this is an input"),
        ("t.csv", ["--probabilities", "{here}/gain.json"], "gain.json: this is an input"),
        ("t.csv", [], "cleaned.csv: no audit wrote this file"),
    ],
)
def test_no_file_of_the_users_is_written_over(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    mine: str,
    more: list[str],
    message: str,
) -> None:
    path = table_in(tmp_path, mine)
    if mine == "t.csv":
        table_in(tmp_path, "cleaned.csv", 50)
    if "--probabilities" in more:
        with open(tmp_path / "gain.json", "wb") as stream:
            np.save(stream, np.full((60, 2), 0.5))
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr("glitchtrace.audit.run.detect", lambda *a: pytest.fail("refused before computing"))
    arguments = [part.replace("{here}", str(tmp_path)) for part in more]
    assert main(["audit", str(path), "--label", "diagnosis", *arguments, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_an_audit_takes_the_place_of_an_earlier_one_of_the_same_data_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        table_in(tmp_path / name, "t.csv", 60 if name == "a" else 70)
    more = ["--label", "diagnosis", "--gain-repeats", "0"]
    assert main(["audit", "a/t.csv", *more]) == 0
    assert main(["audit", "b/t.csv", *more]) == 1
    assert "results/audit/t: the audit of a/t.csv lies there; give another --out" in capsys.readouterr().err
    table_in(tmp_path / "a", "t.csv", 65)
    assert main(["audit", "./a/t.csv", *more]) == 0
    out = tmp_path / "results/audit/t"
    edited = (out / "issues.csv").read_text().replace("relabel", "keep", 1)
    (out / "issues.csv").write_text(edited)
    assert main(["audit", "a/t.csv", *more, "--max-false", "0.2"]) == 1
    assert "issues.csv: the list is not as the audit wrote it" in capsys.readouterr().err
    assert (out / "issues.csv").read_text() == edited
    monkeypatch.chdir(tmp_path / "a")
    assert main(["apply", str(out / "issues.csv")]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'a/a/t.csv'}: the audit in {out} read './a/t.csv'" in error
    assert "run apply in the folder in which the audit ran" in error


def test_what_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table_in(tmp_path, "t.csv")
    (tmp_path / "out/cleaned.csv").mkdir(parents=True)
    assert main(["audit", str(path), "--label", "diagnosis", "--out", str(tmp_path / "out")]) == 1
    assert f"{tmp_path / 'out/cleaned.csv'}: a folder stands where" in capsys.readouterr().err


def test_an_interrupt_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("glitchtrace.audit.run.detect", interrupted)
    path = table_in(tmp_path, "t.csv")
    assert main(["audit", str(path), "--label", "diagnosis", "--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "\nstopped; the same command goes on where it was stopped\n"


def test_labels_that_are_no_numbers_are_written_back(tmp_path: Path) -> None:
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.linspace(0, 1, 60)
    y[3], y[5] = np.inf, np.nan
    path = cleaning.write(from_arrays(X, y, Settings()), cleaning.Repairs({}, frozenset(), {}), tmp_path, "c")
    written = pd.read_csv(path).label
    np.testing.assert_array_equal(written, y)


def test_the_list_as_written_applies_to_the_same_bytes(audited: Path, tmp_path: Path) -> None:
    path = cleaning.apply(str(audited / "out/issues.csv"), None, str(tmp_path))
    assert path.read_bytes() == (audited / "out/cleaned.csv").read_bytes()


LINES = [
    "id;größe;text;y", ';1,5;"a;b";u', "", 'x;2,5;"two\nlines ""q""";"v"', ' y ;3,5;p"q"; u ', 'z;4,5;"";v',
    "k;5,5;ü;u",
]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv"])
def test_a_cleaned_text_file_keeps_every_other_byte(
    tmp_path: Path, encoding: str, end: str, name: str
) -> None:
    def stored(lines: list[str]) -> bytes:
        mark = "\ufeff" if "16" in encoding else ""
        return (mark + end.join(lines)).encode(encoding)

    packed = name.endswith(".gz")
    (tmp_path / name).write_bytes(gzip.compress(stored(LINES)) if packed else stored(LINES))
    samples = read(tmp_path / name, Settings(label="y"))
    for repairs, expected in (
        (cleaning.Repairs({}, frozenset(), {}), LINES),
        (
            cleaning.Repairs({1: "u", 2: "v"}, frozenset([3]), {0: "anomalous"}),
            [
                f"{LINES[0]};{FLAG}", f"{LINES[1]};anomalous", "", LINES[3].replace('"v"', '"u";""'),
                f"{LINES[4].replace(' u', ' v')};", f"{LINES[6]};",
            ],
        ),
    ):  # fmt: skip
        path = cleaning.write(samples, repairs, tmp_path, "cleaned")
        assert path.name == f"cleaned{name[1:]}"
        content = path.read_bytes()
        assert (gzip.decompress(content) if packed else content) == stored(expected)


def test_odd_quotes_and_marks_of_a_text_file_stay(tmp_path: Path) -> None:
    text = 'a,y,b\n\ufeff"1",u,"2" x\n"a"",""b",v,3\n"", u,"never\nclosed'
    (tmp_path / "t.csv").write_text(text)
    samples = read(tmp_path / "t.csv", Settings(label="y", delimiter=",", header=True))
    path = cleaning.write(samples, cleaning.Repairs({2: "v"}, frozenset(), {}), tmp_path, "c")
    assert path.read_text() == text.replace(' u,"never', ' v,"never')
    path = cleaning.write(samples, cleaning.Repairs({}, frozenset(), {2: "leak"}), tmp_path, "c")
    assert read_table(path, label=FLAG).text(FLAG).tolist() == ["", "", "leak"]


def test_the_flags_of_an_earlier_audit_are_written_anew(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": range(6), FLAG: ["", "leak", "", "", "", ""], "y": list("uvuvuv")})
    for name in ("t.csv", "t.parquet"):
        frame.to_csv(tmp_path / name, index=False) if name == "t.csv" else frame.to_parquet(tmp_path / name)
        samples = read(tmp_path / name, Settings(label="y"))
        assert [column.name for column in samples.columns] == ["a"]
        assert any(FLAG in note for note in samples.notes)
        path = cleaning.write(samples, cleaning.Repairs({}, frozenset(), {2: "anomalous"}), tmp_path, "c")
        found = pd.read_csv(path, keep_default_na=False) if name == "t.csv" else pd.read_parquet(path)
        pd.testing.assert_frame_equal(found, frame.assign(**{FLAG: ["", "", "anomalous", "", "", ""]}))


@pytest.mark.parametrize("columns", [["a", "y"], [0, 1], [("a", "b"), ("y", "")]])
def test_a_frame_keeps_its_index_and_categories_in_the_cleaned_file(
    tmp_path: Path, columns: list[Any]
) -> None:
    frame = pd.DataFrame({"a": range(6), "y": pd.Categorical(list("uvuvuv"), ["v", "u", "w"], ordered=True)})
    frame.index = pd.Index([f"r{row}" for row in range(6)], name="who")
    frame.columns = (
        pd.Index(columns) if isinstance(columns[0], str | int) else pd.MultiIndex.from_tuples(columns)
    )
    frame.to_parquet(tmp_path / "t.parquet")
    samples = read(tmp_path / "t.parquet", Settings(label="1"))
    path = cleaning.write(samples, cleaning.Repairs({}, frozenset(), {}), tmp_path, "c")
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame)
    repairs = cleaning.Repairs({0: "v"}, frozenset([2]), {5: "leak"})
    found = pd.read_parquet(cleaning.write(samples, repairs, tmp_path, "c"))
    assert found.index.equals(frame.index.delete(2))
    assert found.iloc[:, 1].dtype == frame.iloc[:, 1].dtype
    assert found.iloc[:, 1].tolist() == list("vvvuv")
    assert found[FLAG].tolist() == ["", "", "", "", "leak"]


def test_a_file_that_changes_under_the_audit_is_not_repaired(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,u\n2,v\n3,u\n")
    samples = read(tmp_path / "t.csv", Settings(label="y"))
    for content in ("a,y\n1,u\n2,v\n", "a,y\n1,u\n2,v\n3,u\n4,v\n", "a,y\n2,v\n1,u\n3,u\n"):
        (tmp_path / "t.csv").write_text(content)
        with pytest.raises(GlitchtraceError, match="has changed since it was read"):
            cleaning.write(samples, cleaning.Repairs({0: "v"}, frozenset(), {}), tmp_path, "cleaned")
        assert not (tmp_path / "cleaned.csv").exists()

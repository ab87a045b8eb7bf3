"""Generated bad inputs: whatever a file holds, the audit answers with findings or with one line, never a traceback.

``python tests/helpers/bad_inputs.py --trials 10000`` tries more of the same.
"""

import contextlib
import io
from pathlib import Path
from typing import Any

import bad_inputs
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import feather, parquet
from scipy.sparse import csr_matrix

import glitchtrace
from glitchtrace.audit import cleaning
from glitchtrace.audit.samples import from_arrays, load_array, read
from glitchtrace.audit.settings import Settings
from glitchtrace.command import main
from glitchtrace.core.errors import GlitchtraceError


@pytest.mark.parametrize("kind", bad_inputs.KINDS)
def test_no_input_ends_in_a_traceback(kind: str, tmp_path: Path) -> None:
    faults: list[str] = []
    trials = round(160 * bad_inputs.KINDS[kind][1])
    counts = bad_inputs.tried(kind, trials, 0, tmp_path, faults)
    assert not faults
    assert counts.total() >= trials


@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        (b"y,a\n" + b"".join(b"%d,%d\n" % (n % 2, n) for n in range(40)), []),
        (b"y,a\n" + b"".join(b"c%d,%d\n" % (n, n) for n in range(15)), []),
        (b"y,a\n" + b"".join(b"%d,%d\n" % (n % 2, n) for n in range(40)), ["--encoding", "base64"]),
        (b"y,a\n" + b"".join(b"%d,%d\n" % (n % 2, n) for n in range(40)), ["--encoding", "zlib"]),
        (b"y,a\n" + b"".join(b"%d,%d\n" % (n % 2, n) for n in range(40)), ["--out", "{here}/t.csv/below"]),
        # A fold in which a column has no value.
        (b"y,a,b\nc0,1,1\n" + b"".join(b"c%d,,\n" % (n % 2) for n in range(40)), []),
        (b"y,a,b\nc0,1,0\n" + b"".join(b"c%d,,%d\n" % (n % 2, n) for n in range(40)), []),
    ],
)
def test_what_was_once_a_traceback_is_none(tmp_path: Path, content: bytes, arguments: list[str]) -> None:
    case = bad_inputs.Case({"t.csv": content}, bad_inputs.asked("t.csv", "y", *arguments))
    assert bad_inputs.outcome(case, tmp_path)[0] in ("refused", "audited")


def test_labels_that_python_cannot_hold_are_written_back(tmp_path: Path) -> None:
    days = pa.array([2147483647, 3] * 20, pa.int32()).cast(pa.date32())
    feather.write_feather(pa.table({"y": days, "a": list(range(40))}), str(tmp_path / "t.arrow"))
    case = bad_inputs.Case({"t.arrow": (tmp_path / "t.arrow").read_bytes()}, bad_inputs.asked("t.arrow", "y"))
    assert bad_inputs.outcome(case, tmp_path)[0] == "audited"


@pytest.mark.parametrize(
    ("kind", "given", "known", "new"),
    [
        (pa.int64(), ["1", "2", "1"], "2", "7"),
        (pa.uint8(), ["1", "2", "1"], "2", "7"),
        (pa.decimal128(5, 1), ["1.0", "2.5", "1.0"], "2.5", "7.0"),
        (pa.string(), ["cat", "dog", "cat"], "dog", "cow"),
        (pa.string_view(), ["cat", "dog", "cat"], "dog", "cow"),
        (pa.dictionary(pa.int8(), pa.string()), ["dog", "cat", "dog"], "cat", "cow"),
        (pa.duration("s"), [1, 2, 1], None, None),
        (pa.time32("s"), [1, 2, 1], None, None),
        (pa.list_(pa.int8()), [[1], [2], [1]], None, None),
        (pa.struct({"a": pa.int8()}), [{"a": 1}, {"a": 2}, {"a": 1}], None, None),
    ],
)
@pytest.mark.parametrize("suffix", [".arrow", ".parquet"])
def test_labels_keep_their_type_in_the_cleaned_data(
    kind: pa.DataType, given: list[Any], known: str | None, new: str | None, suffix: str, tmp_path: Path
) -> None:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    text = isinstance(given[0], str)
    column = (pa.array(given * 10).cast(plain) if text else pa.array(given * 10, plain)).cast(kind)
    stored = pa.table({"y": column, "a": pa.array([str(n) for n in range(30)], pa.string_view())})
    stored = stored.replace_schema_metadata({"made by": "a person"})
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        parquet.write_table(stored, path)
        stored = parquet.read_table(path)
    else:
        feather.write_feather(stored, str(path))
    samples = read(path, Settings(label="y", text="a"))
    assert samples.table is not None
    known = known or samples.table.text("y")[1]
    repairs = cleaning.Repairs({0: known, **({4: new} if new else {})}, frozenset([29]), {})
    target = cleaning.write(samples, repairs, tmp_path, "cleaned")
    found = parquet.read_table(target) if suffix == ".parquet" else feather.read_table(str(target))
    assert found.schema.equals(stored.schema, check_metadata=True)
    expected = stored.column("y").to_pylist()
    expected[0] = expected[1]
    told = [str(value) for value in found.column("y").to_pylist()]
    if new:
        assert told[4] == new
        told[4] = str(expected[4])
    assert told == [str(value) for value in expected[:29]]
    assert found.column("a").to_pylist() == stored.column("a").to_pylist()[:29]


def test_a_console_is_told_nothing_that_steers_it(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\x1b[31m\u202e,b\n1,2\n3,4\n")
    error = io.StringIO()
    with contextlib.redirect_stderr(error):
        assert main(["audit", str(tmp_path / "t.csv"), "--label", "y"]) == 1
    assert "a\\x1b[31m\\u202e, b" in error.getvalue()


ROWS, LABELS = np.arange(12.0).reshape(6, 2), np.array([0, 1] * 3)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.ma.masked_array(ROWS, mask=ROWS == 3), LABELS, "row 1, column 1 is masked"),
        (ROWS, np.ma.masked_array(LABELS, mask=LABELS == 1), "labels: row 1 is masked"),
        (ROWS + 2.0**40, LABELS, "column 0: its values differ by less than single precision keeps"),
        (ROWS + 1e9, LABELS, "subtract their mean and scale them"),
        (ROWS, LABELS * 1j, "labels: type complex128"),
        (ROWS, [[1], [2, 3]], "rows of one length"),
        (pd.DataFrame(ROWS), LABELS[:5], "5 rows where the data have 6"),
    ],
)
def test_arrays_and_frames_are_checked(X: object, y: object, message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        from_arrays(X, y, Settings())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "objects.npy",
            r"\(it holds Python objects\); save it as text or numbers, such as array.astype\(str\)",
        ),
        ("t.csv", "t.csv: no array of labels; give a .npy file, written by numpy.save"),
        ("both.npz", "both.npz: no array of labels; give a .npy file"),
        ("none.npy", "no such file"),
    ],
)
def test_a_file_that_holds_no_array_is_told_what_it_lacks(name: str, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array(["a", None], dtype=object))
    np.savez(tmp_path / "both.npz", LABELS)
    (tmp_path / "t.csv").write_text("y\n1\n")
    with pytest.raises(GlitchtraceError, match=message):
        load_array(tmp_path / name, "labels")


FRAME = pd.DataFrame(ROWS, columns=["a", "b"]).assign(y=LABELS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group": "patient"}, "arrays: group has no effect on arrays; leave it out"),
        *(({name: "0"}, f"{name} has no effect on arrays") for name in
          ("label", "labels", "id", "time", "text", "drop", "backbone", "encoding")),
        ({"side": 64}, "side has no effect"), ({"quality": True}, "quality has no effect"),
        ({"header": False}, "header has no effect"),
        ({"id": [1, 2]}, "id: a value of type list does not fit; give the name of a column"),
        ({"text": ["a"]}, "text: a value of type list does not fit; give names of columns in one text"),
        ({"drop": 3}, "drop: '3' does not fit"),
        ({"group": 0}, "group has no effect on arrays"), ({"time": 0.5}, "time: '0.5' does not fit; give the name"),
        ({"probabilities": 3}, "probabilities: '3' does not fit; give a path"),
        ({"trusted": ROWS}, "trusted: a value of type ndarray does not fit; give a path"),
        ({"max_false": [0.1]}, "max_false: a value of type list does not fit; give a number"),
        ({"seed": 3.0}, "seed: 3.0 is no whole number"), ({"folds": True}, "folds: 'True' does not fit"),
        ({"quality": 1}, "quality: '1' does not fit; give true or false"), ({"side": 64.5}, "side: 64.5 pixels"),
        ({"out": 3}, "out: a value of type int does not fit; give a path"),
        ({"X": FRAME, "label": "y"}, "label: 'y' is one, and y is another"),
        ({"X": FRAME, "delimiter": ";"}, "delimiter has no effect on a table whose columns are typed"),
        ({"X": FRAME, "quality": True}, "quality has no effect on a table"),
        ({"X": "t.csv"}, "y: a file has its labels with it"),
        ({"X": "t.csv", "y": None, "group": LABELS}, "group: a value of type ndarray does not fit"),
    ],
)  # fmt: skip
def test_settings_without_effect_or_of_another_kind_are_refused(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        glitchtrace.audit(**{"X": ROWS, "y": LABELS, "gain_repeats": 0, **arguments})


@pytest.mark.parametrize("kind", ["csv", "parquet", "npy", "pictures"])
def test_the_command_refuses_options_without_effect(kind: str, tmp_path: Path) -> None:
    pd.concat([FRAME] * 4).to_csv(tmp_path / "t.csv", index=False)
    pd.concat([FRAME] * 4).to_parquet(tmp_path / "t.parquet")
    np.save(tmp_path / "t.npy", ROWS)
    np.save(tmp_path / "y.npy", LABELS)
    for place in ("left", "right"):
        (tmp_path / "t.pictures" / place).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "t.pictures" / place / "1.png")
    some = {"id": "0", "drop": "0", "labels": "{here}/y.npy", "side": "64", "decimal": ".", "label": "y"}
    idle = {"csv": ["labels", "side"], "parquet": ["labels", "side", "decimal"], "npy": ["id", "drop", "side",
            "decimal", "label"], "pictures": ["id", "drop", "decimal", "label"]}[kind]  # fmt: skip
    needed = {"csv": ["--label", "y"], "parquet": ["--label", "y"], "npy": ["--labels", "{here}/y.npy"]}
    for name in idle:
        case = bad_inputs.Case(
            {}, ["audit", f"{{here}}/t.{kind}", *needed.get(kind, []), f"--{name}", some[name]]
        )
        found, said = bad_inputs.outcome(case, tmp_path)
        assert found == "refused"
        assert f"{name} has no effect on" in said


def test_numbers_of_numpy_and_sparse_rows_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glitchtrace.audit.run._run", lambda samples, settings, *_: (samples, settings))
    samples, settings = glitchtrace.audit(
        csr_matrix(ROWS), LABELS, seed=np.int64(3), max_false=np.float32(0.2)
    )
    np.testing.assert_array_equal(samples.features, ROWS)
    assert type(settings.seed) is int
    assert type(settings.max_false) is float
    with pytest.raises(GlitchtraceError, match="does not fit memory"):
        glitchtrace.audit(csr_matrix((10**5, 10**5)), LABELS)


@pytest.mark.parametrize("place", [2, np.int64(2), "2"])
def test_a_column_of_a_frame_may_have_a_number_for_a_name(
    place: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glitchtrace.audit.run._run", lambda samples, *_: samples)
    frame = pd.DataFrame({0: [0.5, 0.1, 0.4, 0.2], 1: [0, 1, 0, 1], 2: [5, 5, 7, 7]})
    samples = glitchtrace.audit(frame, label=1, group=place)
    assert samples.groups.tolist() == [0, 0, 1, 1]
    assert glitchtrace.audit(frame, label=1, time=place).times.tolist() == [5, 5, 7, 7]


def test_a_stated_point_above_decimal_commas_is_refused(tmp_path: Path) -> None:
    rows = [f"{n},25;{'ab'[n % 2]};{n % 7}" for n in range(80)]
    (tmp_path / "t.csv").write_text("\n".join(["size;y;count", *rows]))
    with pytest.raises(
        GlitchtraceError, match=r"decimal is '\.', but the numbers of size have a decimal comma"
    ):
        read(tmp_path / "t.csv", Settings(label="y", decimal="."))
    for settings in (Settings(label="y"), Settings(label="y", decimal=",")):
        assert [column.name for column in read(tmp_path / "t.csv", settings).columns] == ["size", "count"]
    dropped = read(tmp_path / "t.csv", Settings(label="y", decimal=".", drop="size"))
    assert [column.name for column in dropped.columns] == ["count"]


def test_labels_of_any_kind_are_read() -> None:
    for y in (
        torch.tensor(LABELS, dtype=torch.bfloat16), pd.Series(LABELS, dtype="Int64"), LABELS.astype(object),
        pd.Series(["0", "1"] * 3, dtype="string"), LABELS[:, None], [0, 2**70] * 3,
    ):  # fmt: skip
        found = from_arrays(torch.tensor(ROWS, requires_grad=True), y, Settings())
        assert found.labels is not None
        assert found.labels.tolist() == LABELS.tolist()
    missing = from_arrays(ROWS, pd.Series(["a", pd.NA, "b"] * 2, dtype="string"), Settings())
    assert missing.labels is not None
    assert missing.labels.tolist() == [0, -1, 1, 0, -1, 1]

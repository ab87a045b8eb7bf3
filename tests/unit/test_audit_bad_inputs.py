"""Generated bad inputs: whatever a file holds, the audit answers with findings or with one line, never a traceback.

``python tests/helpers/bad_inputs.py --trials 10000`` tries more of the same.
"""

import contextlib
import io
from pathlib import Path

import bad_inputs
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import feather

from glitchtrace.audit import cleaning
from glitchtrace.audit.samples import from_arrays, read
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
        (pa.string(), ["cat", "dog", "cat"], "dog", "cow"),
        (pa.dictionary(pa.int32(), pa.string()), ["cat", "dog", "cat"], "dog", "cow"),
    ],
)
def test_labels_keep_their_type_in_the_cleaned_data(
    kind: pa.DataType, given: list[str], known: str, new: str, tmp_path: Path
) -> None:
    values = given * 10
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    column = pa.array(values).cast(plain)
    column = column.dictionary_encode() if pa.types.is_dictionary(kind) else column
    feather.write_feather(pa.table({"y": column, "a": list(range(30))}), str(tmp_path / "t.arrow"))
    samples = read(tmp_path / "t.arrow", Settings(label="y"))
    repairs = cleaning.Repairs(labels={0: known, 4: new}, dropped=frozenset(), flagged={})
    found = feather.read_table(str(cleaning.write(samples, repairs, tmp_path, "cleaned")))
    expected = [known, *values[1:4], new, *values[5:]]
    assert found.column("y").type == plain
    assert [str(value) for value in found.column("y").to_pylist()] == expected


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
        (ROWS + 1e9, LABELS, "subtract their mean first"),
        (ROWS, LABELS * 1j, "labels: type complex128"),
        (ROWS, [[1], [2, 3]], "rows of one length"),
        (pd.DataFrame(ROWS), LABELS[:5], "5 rows where the data have 6"),
    ],
)
def test_arrays_and_frames_are_checked(X: object, y: object, message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        from_arrays(X, y, Settings())


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

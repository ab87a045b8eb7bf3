"""Generated bad inputs: whatever a file holds, the audit answers with findings or with one line, never a traceback.

``python tests/helpers/bad_inputs.py --trials 10000`` tries more of the same.
"""

import contextlib
import io
from pathlib import Path

import bad_inputs
import pytest

from glitchtrace.command import main


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
    ],
)
def test_what_was_once_a_traceback_is_none(tmp_path: Path, content: bytes, arguments: list[str]) -> None:
    case = bad_inputs.Case({"t.csv": content}, bad_inputs.asked("t.csv", "y", *arguments))
    assert bad_inputs.outcome(case, tmp_path)[0] in ("refused", "audited")


def test_a_console_is_told_nothing_that_steers_it(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\x1b[31m\u202e,b\n1,2\n3,4\n")
    error = io.StringIO()
    with contextlib.redirect_stderr(error):
        assert main(["audit", str(tmp_path / "t.csv"), "--label", "y"]) == 1
    assert "a\\x1b[31m\\u202e, b" in error.getvalue()

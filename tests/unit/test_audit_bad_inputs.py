"""Generated bad inputs: whatever a file holds, the audit answers with findings or with one line, never a traceback.

The suite tries some hundred; ``GLITCHTRACE_EXAMPLES=10000`` tries more.
"""

import contextlib
import csv
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from glitchtrace.command import main

EXAMPLES = int(os.environ.get("GLITCHTRACE_EXAMPLES", "0"))
NASTY = [
    "", " ", "NA", "nan", "inf", "-inf", "1e999", "1,5", "1.5", "0x10", "1_000", "=1+1", "@cmd", "-2", "+3", "'x",
    "<script>alert(1)</script>", "../../etc/passwd", "a/b\\c", "é", "日本", "\u202e", "x" * 300, "true", "no",
    "2024-01-01", "31.12.2024", "1900-02-30", "a;b", "a\tb", 'say "so"', "line\nbreak", "{{data}}", "</script>", "%s",
]  # fmt: skip

cells = st.one_of(
    st.sampled_from(NASTY),
    st.integers(-3, 3).map(str),
    st.floats().map(str),
    st.text(st.characters(codec="utf-8"), max_size=5),
)
columns = st.one_of(
    st.lists(cells, min_size=1, max_size=60),
    st.lists(st.integers(0, 2).map(str), min_size=1, max_size=60),
    st.lists(st.floats(-1e300, 1e300).map(str), min_size=1, max_size=60),
    st.sampled_from(NASTY).map(lambda cell: [cell] * 30),
)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A text file: well written but odd, or cut, or bytes of anything."""
    names = draw(st.lists(st.sampled_from([*NASTY, "a", "b", "y", "label"]), min_size=1, max_size=4))
    found = [draw(columns) for _ in names]
    if draw(st.booleans()):  # rows enough to be judged
        found = [(column * 40)[:40] for column in found]
    rows = draw(st.sampled_from([min, max]))(len(column) for column in found)
    stream = io.StringIO()
    writer = csv.writer(
        stream,
        delimiter=draw(st.sampled_from(",;\t|")),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
    )
    if draw(st.booleans()):
        writer.writerow(names)
    for row in range(rows):
        writer.writerow([column[row % len(column)] for column in found])
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    content = stream.getvalue().encode(encoding, "replace")
    if draw(st.integers(0, 9)) == 0:
        content = content[: draw(st.integers(0, len(content)))]
    if draw(st.integers(0, 19)) == 0:
        content = draw(st.binary(max_size=60)) + content
    return content


def answer(arguments: list[str]) -> str:
    """What the command prints; fails where it is neither an answer nor one line."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = main(arguments)
    assert code in (0, 1)
    if code:
        assert error.getvalue().startswith("error: ")
        assert error.getvalue().count("\n") == 1
    return out.getvalue() or error.getvalue()


@settings(
    max_examples=EXAMPLES or 250,
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(content=tables(), label=st.sampled_from(["0", "1", "y", "label", "a"]), options=st.integers(0, 7))
@example(content=b"y,a\n" + b"".join(b"%d,%d\n" % (n % 2, n) for n in range(40)), label="y", options=0)
@example(content=b"y,a\n" + b"".join(b"c%d,%d\n" % (n, n) for n in range(15)), label="y", options=0)
def test_no_table_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, label: str, options: int
) -> None:
    folder = tmp_path_factory.mktemp("bad")
    path = folder / "t.csv"
    path.write_bytes(content)
    more: list[Any] = [] if options & 1 else ["--gain-repeats", "0"]
    more += ["--id", "0"] if options & 2 else []
    more += ["--trusted", str(path)] if options == 4 else []
    said = answer(["audit", str(path), "--label", label, "--out", str(folder / "out"), *more])
    if said.startswith("error"):
        return
    with open(folder / "out/issues.csv", encoding="utf-8", newline="") as stream:
        for row in csv.reader(stream):
            assert not [cell for cell in row if cell.startswith(("=", "@", "+", "\t"))]
    page = (folder / "out/report.html").read_text()
    assert page.count("<script") == 2
    assert page.count("</script>") == 2


def picture(kind: int, rng: np.random.Generator) -> bytes:
    if kind == 0:
        return b""
    stream = io.BytesIO()
    size = (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
    mode = ["L", "RGB", "RGBA", "P", "1", "I;16", "CMYK", "LA"][kind % 8]
    if mode == "I;16":
        made = Image.fromarray(rng.integers(0, 65535, size[::-1], dtype=np.uint16))
    else:
        made = Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8)).convert(mode)
    made.save(stream, "TIFF" if mode == "CMYK" else "PNG")
    content = stream.getvalue()
    return content[: len(content) // 2] if kind >= 16 else content


@settings(max_examples=max(EXAMPLES // 20, 4), deadline=None, derandomize=not EXAMPLES)
@given(
    kinds=st.lists(st.integers(0, 20), min_size=1, max_size=12),
    names=st.lists(st.sampled_from(["a", "b", "<b>", "=1", "é", ".."]), min_size=1, max_size=3, unique=True),
    seed=st.integers(0, 99),
)
def test_no_folder_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[int], names: list[str], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("bad")
    rng = np.random.default_rng(seed)
    for number, kind in enumerate(kinds):
        place: Path = folder / "pictures" / names[number % len(names)].replace("..", "dots")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(picture(kind, rng))
    answer(
        [
            "audit",
            str(folder / "pictures"),
            "--side",
            "32",
            "--gain-repeats",
            "0",
            "--out",
            str(folder / "out"),
        ]
    )

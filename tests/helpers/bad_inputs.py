"""Generated bad inputs of every kind, through the door of ``glitchtrace audit``, and what became of each.

    python tests/helpers/bad_inputs.py --trials 1000 --seed 1 --small --table docs/tables/audit_inputs.csv

The counts are added to those of the table; delete it to begin anew, and give every call a seed of its own.
Each kind is a strategy of hypothesis that gives the files of a folder and the arguments of the command.  An input is
refused in one line or audited.  A traceback, more memory than the limit, more time than a minute of the processor, a
network call, a formula in a CSV or markup of the data in the page are faults: exit status 1 where there is one.
"""

import argparse
import contextlib
import csv
import faulthandler
import gzip
import io
import json
import re
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import feather, parquet
from sklearn import ensemble, neural_network

from glitchtrace.command import main

OUTCOMES = ("refused", "audited", "traceback", "memory", "time", "network", "formula", "markup")
LIMIT = 1e9  # bytes beyond what the process held before
MOST_SECONDS = 60  # of its processor
_FEW_STEPS = 3
NASTY = [
    "", " ", "NA", "nan", "inf", "-inf", "1e999", "1,5", "1.5", "0x10", "1_000", "=1+1", "@cmd", "-2", "+3", "'x",
    "\t=1", "\r=1", "\n=1", "＝1", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><b>', "&amp;",
    "../../etc/passwd", "a/b\\c", "C:\\con", "é", "日本", "\u202e", "\u2028", "\x1b[31m", "\x7f", "x" * 300, "true",
    "no", "2024-01-01", "31.12.2024", "1900-02-30", "9999-12-31", "0001-01-01", "a;b", "a\tb", 'say "so"',
    "line\nbreak", "{{data}}", "</script>", "-->", "%s", "${x}", "\ud7ff", "٣", "½", "²",
]  # fmt: skip
LABELS = ["0", "1", "y", "label", "a"]


@dataclass
class Case:
    """Files by their path below the folder, and the arguments; ``{here}`` in these stands for the folder.

    ``links``: path → target of a symbolic link.
    """

    files: Mapping[str, bytes]
    arguments: list[str]
    links: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()


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
names = st.one_of(st.sampled_from([*NASTY, "a", "b", "y", "label", "id"]), st.text(max_size=4))


def written(
    rows: list[list[str]], delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL, end: str = "\n"
) -> str:
    """Rows as text."""
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(rows)
    return stream.getvalue()


def plain_rows(count: int, classes: int = 2) -> list[list[str]]:
    """Good rows of two numbers, a category and a label."""
    return [
        [f"{row * 0.7 % 3:.2f}", str(row % 7), "uvw"[row % 3], f"c{row % classes}"] for row in range(count)
    ]


HEADER = ["a", "b", "c", "y"]


def asked(file: str, label: str = "y", *more: str) -> list[str]:
    """The command with few folds and without its measurement of gain, which is what costs time."""
    return ["audit", "{here}/" + file, "--label", label, "--folds", "2", "--gain-repeats", "0", *more]


@st.composite
def cells_and_quoting(draw: st.DrawFn) -> Case:
    """A well-written file of odd cells, or one that is cut, or bytes of anything."""
    found_names = draw(st.lists(names, min_size=1, max_size=4))
    found = [draw(columns) for _ in found_names]
    if draw(st.integers(0, 3)) == 0:  # rows enough to be judged
        found = [(column * 40)[:40] for column in found]
    count = draw(st.sampled_from([min, max]))(len(column) for column in found)
    rows = [[column[row % len(column)] for column in found] for row in range(count)]
    header = [found_names] if draw(st.booleans()) else []
    content = written(
        header + rows,
        draw(st.sampled_from(",;\t|")),
        draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        draw(st.sampled_from(["\n", "\r\n"])),
    ).encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])), "replace")
    if draw(st.integers(0, 9)) == 0:
        content = content[: draw(st.integers(0, len(content)))]
    if draw(st.integers(0, 19)) == 0:
        content = draw(st.binary(max_size=60)) + content
    more = draw(
        st.sampled_from([[], ["--id", "0"], ["--trusted", "{here}/t.csv"], ["--time", "0"], ["--group", "0"]])
    )
    if draw(st.integers(0, 9)) == 0:
        return Case(
            {"t.csv": content}, ["audit", "{here}/t.csv", "--label", draw(st.sampled_from(LABELS)), *more]
        )
    return Case({"t.csv": content}, asked("t.csv", draw(st.sampled_from(LABELS)), *more))


@st.composite
def headers(draw: st.DrawFn) -> Case:
    """Names that are doubled, empty, formulas, markup, numbers, very long, too many, or all that there is."""
    kind = draw(st.integers(0, 6))
    count = draw(st.integers(0, 25))
    header = list(draw(st.lists(names, min_size=4, max_size=4)))
    if kind == 0:
        header = [draw(names)] * 4
    elif kind == 1:
        header = ["", "", "", ""]
    elif kind == 2:
        header = ["1", "2", "3", "4"]
    elif kind == 3:
        header = ["n" * draw(st.sampled_from([1000, 70_000, 300_000])), "b", "c", "y"]
    rows = plain_rows(count)
    if kind == 4:
        width = draw(st.sampled_from([200, 4999, 5001, 20_000]))
        header, rows = [f"n{place}" for place in range(width)], [["1"] * width for _ in range(min(count, 3))]
    if kind == 5:
        rows = [HEADER, HEADER, *rows]
    label = draw(st.sampled_from([header[-1].strip() or "3", "3", "y", "-1", "99999999999999999999", " y "]))
    more = draw(
        st.sampled_from([[], ["--no-header"], ["--id", "0"], ["--drop", "a,b"], ["--text", header[0]]])
    )
    mark = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    text = written([header, *rows]).encode("utf-8", "replace")
    return Case({"t.csv": mark + text}, asked("t.csv", f"{label}", *more))


@st.composite
def delimiters_and_line_ends(draw: st.DrawFn) -> Case:
    """Mixed line ends, ragged rows, blank lines, open quotes, and delimiters that are none."""
    delimiter = draw(st.sampled_from([",", ";", "\t", "|", ":", " ", "a", "§", "\x01"]))
    lines = [delimiter.join(row) for row in [HEADER, *plain_rows(draw(st.integers(1, 45)))]]
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        change = draw(
            st.sampled_from(["", delimiter, '"', "'", '""', '"a"b', "\\", "#", "\x00", "\x1a", delimiter * 9])
        )
        lines[place] = draw(st.sampled_from([lines[place] + change, change + lines[place], change]))
    ends = draw(
        st.lists(
            st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\r\n", "\x0b", "\u2028"]), min_size=1, max_size=3
        )
    )
    text = "".join(line + ends[number % len(ends)] for number, line in enumerate(lines))
    given_sign = draw(st.sampled_from(["", "", delimiter, "", ";;", "\n", '"', "é", "\\t", "tab", "\x00"]))
    more = ["--delimiter", given_sign] if given_sign else []
    more += draw(st.sampled_from([[], ["--decimal", ","], ["--no-header"]]))
    name = draw(st.sampled_from(["t.csv", "t.tsv", "t.txt", "t.tab", "T.CSV"]))
    return Case(
        {name: text.encode("utf-8", "replace")}, asked(name, draw(st.sampled_from(["y", "3"])), *more)
    )


@st.composite
def encodings(draw: st.DrawFn) -> Case:
    """Encodings found wrongly, given wrongly or unknown, zero bytes, bytes of anything, and broken gzip."""
    rows = [[f"é{cell}" if draw(st.integers(0, 9)) == 0 else cell for cell in row] for row in plain_rows(24)]
    text = written([HEADER, *rows])
    codec = draw(
        st.sampled_from(
            ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-7", "latin-1", "cp1252",
             "cp437", "shift_jis", "gb18030", "big5", "euc_kr", "koi8-r", "cp037"]
        )
    )  # fmt: skip
    content = text.encode(codec, "replace")
    damage = draw(st.integers(0, 5))
    if damage == 0:
        place = draw(st.integers(0, len(content)))
        content = (
            content[:place]
            + draw(st.sampled_from([b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80"]))
            + content[place:]
        )
    elif damage == 1:
        content = draw(st.binary(max_size=400))
    name = draw(st.sampled_from(["t.csv", "t.csv", "t.tsv", "t.csv.gz"]))
    if name.endswith(".gz"):
        content = gzip.compress(content, 1) if draw(st.booleans()) else content
        content = content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content
    chosen = draw(
        st.sampled_from(
            ["", "", "", codec, "utf-8", "utf-16", "ascii", "none", "rot13", "base64", "idna", "utf 8", "\x00",
             "punycode", "zlib", "unicode_escape", "mbcs"]
        )
    )  # fmt: skip
    more = ["--encoding", chosen] if chosen else []
    return Case({name: content}, asked(name, draw(st.sampled_from(["y", "3"])), *more))


@st.composite
def labels(draw: st.DrawFn) -> Case:
    """Thousands of classes, one class, classes of one row, none, numbers as classes, formulas, markup, paths."""
    count = draw(st.sampled_from([2, 3, 21, 24, 24, 60]))
    kind = draw(st.integers(0, 9))
    if kind == 0:
        count = 10_000
        found = [f"k{row}" for row in range(count)]
    elif kind == 1:
        found = ["only"] * count
    elif kind == 2:
        found = ["most"] * (count - 2) + ["one", "two"]
    elif kind == 3:
        found = [draw(st.sampled_from(["", "NA", "?", " "]))] * count
    elif kind == 4:
        found = [["1", "1.0", "01", "1e0", "2", "2.00"][row % 6] for row in range(count)]
    elif kind == 5:
        found = [f"{row * 1.37:.3f}" for row in range(count)]
    elif kind == 6:
        few = draw(st.lists(cells, min_size=1, max_size=4))
        found = [few[row % len(few)] for row in range(count)]
    elif kind == 7:
        found = [
            ["<script>alert(1)</script>", "=1+1", "../../x", '"><img src=x>'][row % 4] for row in range(count)
        ]
    elif kind == 8:
        found = [
            draw(st.sampled_from(["inf", "1e400", "-0", "nan", "1e308", "5"])) for _ in range(min(count, 60))
        ]
        found = (found * count)[:count]
    else:
        found = [str(row % 2) if draw(st.integers(0, 9)) else "" for row in range(min(count, 60))]
        found = (found * count)[:count]
    if draw(st.integers(0, 19)) == 0:
        count = 10_000
        found = [f"k{row // 2}" for row in range(count)]
    rows = [[*row[:3], label] for row, label in zip(plain_rows(count), found, strict=True)]
    more = draw(st.sampled_from([[], ["--task", "numbers"], ["--task", "classes"], ["--group", "c"]]))
    return Case({"t.csv": written([HEADER, *rows]).encode("utf-8", "replace")}, asked("t.csv", "y", *more))


@st.composite
def values(draw: st.DrawFn) -> Case:
    """Columns that are missing, constant, doubled, enormous, beyond every date, or one huge field."""
    count = draw(st.sampled_from([5, 21, 21, 60]))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    makers: list[Callable[[int], str]] = [
        lambda row: "",
        lambda row: "5",
        lambda row: str(row),
        lambda row: f"{rng.normal():.3f}",
        lambda row: f"{1e300 * (-1) ** row}",
        lambda row: ["1e-320", "0", "-0"][row % 3],
        lambda row: f"{1.7e308 if row % 2 else -1.7e308}",
        lambda row: f"{10**row}",
        lambda row: ["0001-01-01", "9999-12-31", "2024-02-30"][row % 3],
        lambda row: f"2024-01-{1 + row % 31:02d}T00:00:00{['Z', '+14:00', ''][row % 3]}",
        lambda row: f"{row % 40}.13.2024",
        lambda row: "w " * (row % 9) + f"word{row}",
        lambda row: "x" * (200_000 if row == 3 else 1),
        lambda row: str(row // 2),
        lambda row: NASTY[row % len(NASTY)],
        lambda row: "1,234.5" if row % 2 else "1.234,5",
        lambda row: "" if row else "1",
    ]
    chosen = draw(st.lists(st.integers(0, len(makers) - 1), min_size=1, max_size=5))
    header = [f"n{place}" for place in range(len(chosen))] + ["y"]
    rows = [[*(makers[place](row) for place in chosen), f"c{row % 2}"] for row in range(count)]
    if draw(st.integers(0, 5)) == 0:
        rows = [rows[0]] * count
    option = draw(
        st.sampled_from(
            [[], ["--id", "0"], ["--time", "0"], ["--group", "0"], ["--text", "n0"], ["--drop", "n0"]]
        )
    )
    return Case({"t.csv": written([header, *rows]).encode("utf-8", "replace")}, asked("t.csv", "y", *option))


@st.composite
def empty_and_short(draw: st.DrawFn) -> Case:
    """Nothing, white space, one cell, one row, a header alone, a folder or a link where a file is wanted."""
    content = draw(
        st.sampled_from(
            [b"", b" ", b"\n", b"\r", b"\n\n\n", b",", b",,,\n,,,\n", b"y", b"y\n", b"y\n1", b"a,y\n", b"a,y\n1,2\n",
             b"a,y\n1,2\n1,2\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff\xfe\x00\x00", b'"', b'""', b'"\n"', b"\x00",
             b"\x1f\x8b", b"PAR1", b"ARROW1", b"a,y\n1,2", b"y\nNA\nNA\n", b"a,y\n,\n,\n"]
        )
    )  # fmt: skip
    name = draw(
        st.sampled_from(
            [
                "t.csv",
                "t.tsv",
                "t.txt",
                "t.csv.gz",
                "t.parquet",
                "t.feather",
                "t.arrow",
                "t.npy",
                "t",
                "t.xlsx",
                "é.csv",
                " .csv",
                "-t.csv",
                "a b.csv",
            ]
        )
    )
    label = draw(st.sampled_from([*LABELS, ""]))
    links: dict[str, str] = {}
    folders: tuple[str, ...] = ()
    files = {name: content}
    form = draw(st.integers(0, 9))
    if form == 0:
        files, links = {}, {name: name}  # a link to itself
    elif form == 1:
        files, folders = {}, (name,)
    elif form == 2:
        files = {}
    more = draw(
        st.sampled_from(
            [[], ["--no-header"], ["--trusted", "{here}/none.csv"], ["--labels", "{here}/" + name]]
        )
    )
    return Case(files, asked(name, label, *more), links, folders)


@st.composite
def options(draw: st.DrawFn) -> Case:
    """A good table under options that do not fit it."""
    text = written([HEADER, *plain_rows(24)]).encode()
    extra = {
        "t.csv": text,
        "other.csv": written([["q", "y"], ["1", "c0"]]).encode(),
        "p.npy": _npy(np.full((24, 2), 0.5)),
    }
    pool = [
        ["--task", "numbers"], ["--max-false", "0"], ["--max-false", "nan"], ["--max-false", "2"], ["--folds", "1"],
        ["--folds", "20"], ["--seed", "-1"], ["--seed", "4294967295"], ["--id", "y"], ["--group", "y"], ["--time", "y"],
        ["--time", "c"], ["--time", "a"], ["--group", "c"], ["--group", "a"], ["--drop", "a,b,c"], ["--drop", "zz"],
        ["--text", "a,b,c"], ["--trusted", "{here}/other.csv"], ["--trusted", "{here}"], ["--trusted", "{here}/t.csv"],
        ["--probabilities", "{here}/p.npy"], ["--features", "{here}/p.npy"], ["--features", "{here}/t.csv"],
        ["--labels", "{here}/other.csv"], ["--backbone", "none"], ["--side", "1"], ["--side", "64"], ["--quality"],
        ["--gain-repeats", "1"], ["--gain-repeats", "101"], ["--label", "a"], ["--label", "b"], ["--id", "b"],
        ["--encoding", "utf-16"], ["--decimal", ","], ["--out", "{here}/t.csv"], ["--out", "{here}"],
        ["--out", "{here}/t.csv/below"], ["--delimiter", "b"],
    ]  # fmt: skip
    more = [
        part
        for place in draw(st.lists(st.integers(0, len(pool) - 1), min_size=1, max_size=3))
        for part in pool[place]
    ]
    return Case(extra, asked("t.csv", "y", *more))


def _npy(array: np.ndarray, allow: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow)
    return stream.getvalue()


def _columns_of_arrow(count: int, rng: np.random.Generator) -> list[pa.Array]:
    """A column of every kind that Arrow stores."""
    whole = np.arange(count)
    text = [NASTY[row % len(NASTY)] for row in range(count)]
    moments = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=7 * row) for row in range(count)]
    return [
        pa.array(rng.normal(size=count)),
        pa.array(np.where(whole % 3, rng.normal(size=count), np.inf)),
        pa.array(whole, pa.uint64()),
        pa.array(rng.normal(size=count).astype(np.float16)),
        pa.array([Decimal(row) / 8 for row in range(count)], pa.decimal128(38, 10)),
        pa.array([None] * count),
        pa.array([None if row % 2 else row for row in range(count)], pa.int8()),
        pa.array(text),
        pa.array(text, pa.large_string()),
        pa.array(text).dictionary_encode(),
        pa.array([f"c{row % 3}" for row in range(count)]).dictionary_encode(),
        pa.array((whole % 2).tolist()).dictionary_encode(),
        pa.array([row % 2 == 0 for row in range(count)]),
        pa.array([bytes([row % 256]) for row in range(count)]),
        pa.array([[float(row), 1.0] for row in range(count)]),
        pa.array([[float(row)] * (row % 3) for row in range(count)]),
        pa.array([[row, None] if row % 2 else None for row in range(count)]),
        pa.array([["a", "b"] for _ in range(count)]),
        pa.array([[[row], [row]] for row in range(count)]),
        pa.array([{"a": row, "b": [row]} for row in range(count)]),
        pa.array([[("k", row)] for row in range(count)], pa.map_(pa.string(), pa.int64())),
        pa.array(moments, pa.timestamp("ns", "Europe/Berlin")),
        pa.array(moments, pa.timestamp("us", "UTC")),
        pa.array([-(2**62) + row for row in range(count)], pa.timestamp("s")),
        pa.array([2**61 + row for row in range(count)], pa.timestamp("ms")),
        pa.array(whole.astype(np.int32), pa.int32()).cast(pa.date32()),
        pa.array(whole, pa.time64("us")),
        pa.array(whole, pa.duration("s")),
        pa.array([2**31 - 1 - row for row in range(count)], pa.int32()).cast(pa.date32()),
        pa.FixedSizeListArray.from_arrays(pa.array(rng.normal(size=2 * count)), 2),
        pa.array([f"{row % 2}" for row in range(count)]),
        pa.array((whole % 2).astype(np.float64)),
        pa.array([None if row % 5 == 0 else row % 2 for row in range(count)], pa.float32()),
        pa.array([(row, 1, 2) for row in range(count)], pa.month_day_nano_interval()),
    ]


@st.composite
def stored_tables(draw: st.DrawFn) -> Case:
    """Parquet and Feather: lists, structs, maps, zones, categories, huge dates, doubled names, flipped bytes."""
    count = draw(st.sampled_from([0, 1, 2, 25, 25]))
    every = _columns_of_arrow(count, np.random.default_rng(0))
    chosen = draw(st.lists(st.integers(0, len(every) - 1), min_size=1, max_size=5))
    found_names = [draw(st.sampled_from(["a", "b", "c", "=1", "<b>", ""])) for _ in chosen] + ["y"]
    last = draw(st.one_of(st.integers(0, len(every) - 1), st.sampled_from([10, 11, 12, 31, 32])))
    arrays = [every[place] for place in chosen] + [every[last]]
    suffix = draw(st.sampled_from([".parquet", ".feather", ".arrow"]))
    table = pa.Table.from_arrays(arrays, names=found_names)
    stream = io.BytesIO()
    try:
        if suffix == ".parquet":
            parquet.write_table(table, stream)
        else:
            feather.write_feather(table, stream, compression="uncompressed")
    except (pa.ArrowException, ValueError):
        stream = io.BytesIO(b"PAR1")
    content = stream.getvalue()
    damage = draw(st.integers(0, 9))
    if damage == 0 and content:
        place = draw(st.integers(0, len(content) - 1))
        content = (
            content[:place] + bytes([content[place] ^ (1 << draw(st.integers(0, 7)))]) + content[place + 1 :]
        )
    elif damage == 1:
        content = content[: draw(st.integers(0, len(content)))]
    more = draw(
        st.sampled_from(
            [
                [],
                [],
                ["--id", "0"],
                ["--time", "0"],
                ["--group", "0"],
                ["--text", "0"],
                ["--trusted", "{here}/t" + suffix],
                ["--task", "numbers"],
            ]
        )
    )
    return Case({"t" + suffix: content}, asked("t" + suffix, draw(st.sampled_from(["y", "y", "0"])), *more))


@st.composite
def arrays(draw: st.DrawFn) -> Case:
    """Arrays of every type and shape, labels and probabilities that do not fit them, and broken files."""
    count = draw(st.sampled_from([0, 1, 2, 24, 24]))
    rng = np.random.default_rng(0)
    table = rng.normal(size=(count, 3))
    hole = table.copy()
    hole[count // 2 :, :1] = np.nan
    features = [
        table, table, table, table.astype(np.float16), table.astype(np.complex64), table > 0, hole,
        np.where(table > 0, 1e39, table),
        (table * 10).astype(np.int64), table.astype("U8"), table[:, :0], table[0] if count else table, table[..., None],
        np.array(3.0), np.zeros((count, 2), "datetime64[s]"), np.zeros(count, [("a", "f4"), ("b", "i4")]),
        table.astype(np.longdouble), np.asfortranarray(table), np.zeros((count, 3)), table.astype(">f8"),
    ]  # fmt: skip
    whole = np.arange(count)
    targets = [
        whole % 2, whole % 3, (whole % 2).astype(float), (whole % 2).astype("U3"), whole, table[:, 0], whole % 2 == 0,
        np.zeros(count), np.full(count, np.nan), whole[:-1] % 2, table, (whole % 2).astype("S3"), whole.astype("M8[D]"),
        (whole % 2).astype(np.complex64), np.array([NASTY[row % 9] for row in whole], dtype="U300"),
        np.zeros(count, [("a", "f4")]), (whole % 2).astype(">i2"), whole.astype("m8[s]"),
    ]  # fmt: skip
    shares = [
        np.full((count, 2), 0.5), np.full((count, 3), 1 / 3), np.full((count, 2), 0.7), -np.ones((count, 2)),
        np.full((count, 2), np.nan), np.full(count, 0.5), np.full((count, 2), "a"), np.eye(2)[whole % 2],
        np.full((count, 2), 0.5 + 0j),
    ]  # fmt: skip
    files = {
        "x.npy": _npy(features[draw(st.integers(0, len(features) - 1))]),
        "y.npy": _npy(targets[draw(st.integers(0, len(targets) - 1))]),
        "p.npy": _npy(shares[draw(st.integers(0, len(shares) - 1))]),
    }
    if draw(st.integers(0, 9)) == 0:
        spoilt = draw(st.sampled_from(sorted(files)))
        files[spoilt] = draw(
            st.sampled_from(
                [
                    b"",
                    files[spoilt][:50],
                    files[spoilt][:-3],
                    b"\x93NUMPY",
                    _npy(np.array([None, 1]), True),
                    files[spoilt][:8] + b"\xff\xff" + files[spoilt][10:],
                ]
            )
        )
    more = draw(
        st.sampled_from(
            [
                [],
                [],
                ["--probabilities", "{here}/p.npy"],
                ["--features", "{here}/p.npy"],
                ["--trusted", "{here}/x.npy"],
                ["--task", "numbers"],
                ["--id", "0"],
                ["--group", "0"],
            ]
        )
    )
    labelled = ["--labels", "{here}/y.npy"] if draw(st.integers(0, 9)) else []
    return Case(files, ["audit", "{here}/x.npy", *labelled, "--gain-repeats", "0", *more])


def _place(draw: st.DrawFn, content: bytes) -> int:
    """A place in the bytes of a file whose length depends on its encoder, so that no draw depends on it."""
    return draw(st.integers(0, 9999)) * len(content) // 10_000


def _picture(draw: st.DrawFn, rng: np.random.Generator) -> tuple[str, bytes]:
    """Name's ending and bytes of one picture."""
    size = (draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    mode = draw(
        st.sampled_from(["L", "RGB", "RGBA", "P", "1", "I;16", "CMYK", "LA", "F", "I", "YCbCr", "HSV", "LAB"])
    )
    if mode in ("I;16", "F", "I"):
        kind = {"I;16": np.uint16, "F": np.float32, "I": np.int32}[mode]
        made = Image.fromarray((rng.random(size[::-1]) * 60_000).astype(kind))
    else:
        made = Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8))
        made = made.convert(mode) if mode not in ("LAB", "HSV") or draw(st.booleans()) else made
    form, ending = draw(
        st.sampled_from(
            [
                ("PNG", ".png"),
                ("JPEG", ".jpg"),
                ("TIFF", ".tif"),
                ("GIF", ".gif"),
                ("WEBP", ".webp"),
                ("BMP", ".bmp"),
                ("PPM", ".ppm"),
            ]
        )
    )
    more: dict[str, Any] = {}
    special = draw(st.integers(0, 12))
    if special == 0:
        exif = Image.Exif()
        exif[0x0112] = draw(st.sampled_from([0, 1, 3, 6, 8, 9, 99]))
        more = {"exif": exif.tobytes()}
    elif special == 1 and form in ("GIF", "WEBP", "PNG", "TIFF"):
        more = {"save_all": True, "append_images": [made] * draw(st.sampled_from([1, 3]))}
    elif special == 2:
        more = {"exif": b"Exif\x00\x00" + draw(st.binary(max_size=30))}
    stream = io.BytesIO()
    try:
        made.save(stream, form, **more)
    except Exception:  # what a writer of pictures cannot write is written as PNG
        stream = io.BytesIO()
        made.convert("RGB").save(stream, "PNG")
    content = stream.getvalue()
    damage = draw(st.integers(0, 11))
    if damage == 0:
        content = content[: _place(draw, content)]
    elif damage == 1:
        place = _place(draw, content)
        content = (
            content[:place] + bytes([content[place] ^ (1 << draw(st.integers(0, 7)))]) + content[place + 1 :]
        )
    elif damage == 2:
        content = draw(st.binary(max_size=50))
    elif damage == 3 and form == "PNG":
        content = _bomb(
            draw(
                st.sampled_from(
                    [(20_000, 20_000), (9_000, 9_000), (2**31 - 1, 1), (1, 60_000_000), (12_000, 8_000)]
                )
            )
        )
    elif damage == 4:
        ending = draw(st.sampled_from([".png", ".jpg", ".PNG", ".tiff", ".gif"]))
    return ending, content


def _bomb(size: tuple[int, int]) -> bytes:
    """A PNG of some kilobytes that says it has so many pixels, and holds as many of them as fit in 20 MB."""
    import struct
    import zlib

    width, height = size
    line = b"\x00" + b"\x00" * ((width + 7) // 8)
    body = zlib.compress(line * max(min(height, 20_000_000 // len(line)), 1), 9)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@st.composite
def pictures(draw: st.DrawFn) -> Case:
    """Folders of pictures: broken, cut, animated, CMYK, 16 bits, EXIF, bombs, odd names, links in loops."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    places = draw(
        st.lists(
            st.sampled_from(
                ["a", "b", "<b>", "=1", "é", "c/d", "", "x" * 200, ".hidden", "line\nbreak", "a b"]
            ),
            min_size=1,
            max_size=3,
            unique=True,
        )
    )
    files: dict[str, bytes] = {}
    count = draw(st.integers(0, 12))
    same: bytes | None = None
    for number in range(count):
        ending, content = _picture(draw, rng)
        if same is not None and draw(st.integers(0, 4)) == 0:
            content = same
        same = content
        place = places[number % len(places)]
        files[f"pictures/{place}/{number}{ending}".replace("//", "/")] = content
    links = {}
    if draw(st.integers(0, 5)) == 0:
        links = draw(
            st.sampled_from(
                [{"pictures/a/loop": ".."}, {"pictures/a/x.png": "x.png"}, {"pictures/a/gone.png": "nowhere.png"},
                 {"pictures/loop": "."}, {"pictures/a/out.png": "/etc/passwd"}, {"pictures/b/dev.png": "/dev/zero"}]
            )
        )  # fmt: skip
    folders = draw(st.sampled_from([("pictures",), ("pictures", "pictures/a/folder.png")]))
    more: list[str] = []
    if draw(st.integers(0, 3)) == 0:
        listed = [[file.removeprefix("pictures/"), draw(cells)] for file in sorted(files)]
        listed += draw(
            st.sampled_from([[], [["../../etc/passwd", "a"]], [["none.png", "a"]], [["", ""]], listed[:1]])
        )
        files["labels.csv"] = written(
            [draw(st.sampled_from([["file", "label"], ["a", "b"], ["file", "file"]])), *listed]
        ).encode("utf-8", "replace")
        more = ["--labels", "{here}/labels.csv"]
    more += draw(
        st.sampled_from([[], [], ["--trusted", "{here}/pictures"], ["--task", "numbers"], ["--id", "a"]])
    )
    return Case(
        files, ["audit", "{here}/pictures", "--side", "32", "--gain-repeats", "0", *more], links, folders
    )


@st.composite
def reviewed_lists(draw: st.DrawFn) -> Case:
    """Lists for ``apply`` that do not fit the audit, in a folder that may hold none."""
    rows = [
        [
            draw(cells),
            draw(st.sampled_from(["relabel", "drop", "flag", "keep", "RELABEL", "x", ""])),
            draw(cells),
            draw(st.sampled_from(["accept", "refuse", "", "x"])),
        ]
        for _ in range(draw(st.integers(0, 6)))
    ]
    rows += [
        [
            str(draw(st.integers(-1, 40))),
            "relabel",
            draw(st.sampled_from(["c0", "c1", "zz", "'=1"])),
            "accept",
        ]
    ]
    header = draw(
        st.sampled_from(
            [
                ["row", "action", "proposed", "decision"],
                ["row", "action", "proposed", "x"],
                ["a", "b", "c", "d"],
            ]
        )
    )
    table = written([HEADER, *plain_rows(30)]).encode()
    record = draw(
        st.sampled_from(
            [
                b"{}",
                b"",
                b"[1]",
                b"\xff",
                b'{"source": 1, "digest": 2, "settings": 3}',
                b'{"source": "{here}/t.csv", "digest": "x", "settings": {"label": "y"}}',
                b"null",
            ]
        )
    )
    files = {"l.csv": written([header, *rows]).encode("utf-8", "replace"), "t.csv": table}
    if draw(st.booleans()):
        files["summary.json"] = record
    where = draw(
        st.sampled_from([["--audit", "{here}/audit"], ["--audit", "{here}/audit"], ["--audit", "{here}"], []])
    )
    return Case(files, ["apply", "{here}/l.csv", *where, "--out", "{here}/out"])


KINDS: Mapping[str, tuple[st.SearchStrategy[Case], float]] = {
    "cells and quoting": (cells_and_quoting(), 0.17),
    "headers": (headers(), 0.1),
    "delimiters and line ends": (delimiters_and_line_ends(), 0.1),
    "encodings, zero bytes, gzip": (encodings(), 0.1),
    "labels": (labels(), 0.06),
    "values of columns": (values(), 0.06),
    "empty and short": (empty_and_short(), 0.1),
    "options": (options(), 0.06),
    "Parquet and Feather": (stored_tables(), 0.1),
    "arrays": (arrays(), 0.08),
    "folders of pictures": (pictures(), 0.03),
    "reviewed lists": (reviewed_lists(), 0.04),
}
_reached: list[str] = []


def watch_network() -> None:
    """Note and forbid every attempt to reach a network, from now on."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in (
            "socket.connect",
            "socket.getaddrinfo",
            "socket.gethostbyname",
            "socket.sendto",
            "urllib.Request",
        ):
            _reached.append(f"{event} {arguments!r}")
            raise ConnectionRefusedError(f"a test forbids {event}")

    sys.addaudithook(hook)


def shrink_learners() -> None:
    """Let forests, boosting and networks stop after a few steps, from now on.

    What they have learnt decides no outcome here, and their steps are two thirds of the time.
    """
    for kind, steps in (
        (ensemble.ExtraTreesClassifier, "n_estimators"), (ensemble.ExtraTreesRegressor, "n_estimators"),
        (ensemble.HistGradientBoostingClassifier, "max_iter"), (ensemble.HistGradientBoostingRegressor, "max_iter"),
        (neural_network.MLPClassifier, "max_iter"), (neural_network.MLPRegressor, "max_iter"),
    ):  # fmt: skip

        def fit(self: Any, *data: Any, whole: Any = kind.fit, steps: str = steps) -> Any:
            setattr(self, steps, _FEW_STEPS)
            return whole(self, *data)

        kind.fit = fit


def lay(case: Case, folder: Path) -> list[str]:
    """Write the files of a case; returns the arguments."""
    here = str(folder)
    for name in case.folders:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, content in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.replace(b"{here}", here.encode()))
    for name, target in case.links.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (folder / name).symlink_to(target)
    found = [argument.replace("{here}", here) for argument in case.arguments]
    return found if "--out" in found else [*found, "--out", str(folder / "out")]


def audited(folder: Path) -> None:
    """A good audit in ``folder/audit``, to which lists can be applied."""
    (folder / "good.csv").write_bytes(written([HEADER, *plain_rows(30)]).encode())
    arguments = asked("good.csv")
    arguments[1] = str(folder / "good.csv")
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([*arguments, "--out", str(folder / "audit")]) == 0


def outcome(case: Case, folder: Path) -> tuple[str, str]:
    """What became of one case, of OUTCOMES, and a word on it."""
    arguments = lay(case, folder)
    _reached.clear()
    held = _forget_peak()
    start = time.process_time()
    out, error = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = main(arguments)
    except SystemExit as stop:  # of the reader of arguments, whose usage takes some lines
        code = 1 if stop.code == 2 and "error:" in error.getvalue() else 3
    except BaseException:
        return "traceback", traceback.format_exc()
    grown = _memory("VmHWM") - held
    if _reached:
        return "network", _reached[0]
    if grown > LIMIT:
        return "memory", f"{grown / 1e9:.2f} GB"
    if time.process_time() - start > MOST_SECONDS:
        return "time", f"{time.process_time() - start:.0f} s"
    said = error.getvalue()
    if code == 1 and (said.startswith("usage:") or (said.startswith("error: ") and said.count("\n") == 1)):
        return ("refused", said) if _printable(said) else ("markup", said)
    if code:
        return "traceback", said
    if not _printable(out.getvalue()):
        return "markup", out.getvalue()
    return written_well(
        folder / "out" if "--out" not in case.arguments else Path(arguments[-1]), out.getvalue()
    )


def _printable(text: str) -> bool:
    """Whether a console is told nothing but text: no control sign of the data reaches it."""
    return not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


def written_well(out: Path, said: str) -> tuple[str, str]:
    """Whether what an audit wrote holds neither formulas in the list nor markup of the data in the page."""
    if (out / "issues.csv").is_file():
        csv.field_size_limit(sys.maxsize)  # cells may be longer than 128 KiB
        with open(out / "issues.csv", encoding="utf-8", newline="") as stream:
            for row in csv.reader(stream):
                for cell in row:
                    number = re.fullmatch(r"-?[\d.]+(e[-+]?\d+)?", cell)
                    if cell.startswith(("=", "@", "+", "\t", "\r", "\n", "＝", "＋", "－", "＠")) or (
                        cell.startswith("-") and not number
                    ):
                        return "formula", cell
    if (out / "report.html").is_file():
        page = (out / "report.html").read_text(encoding="utf-8")
        body = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.S)
        if (
            page.count("<script") != 2
            or page.count("</script>") != 2
            or re.search(r"<img src=x|<b>[^\d]|alert\(1\)>", body)
        ):
            return "markup", "the page holds markup of the data"
    return "audited", said


def _forget_peak() -> int:
    """Forget the peak of the process's memory; returns what it holds now, in bytes."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as stream:
        stream.write("5")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    with contextlib.suppress(OSError), open("/proc/self/status") as stream:
        for line in stream:
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


def tried(name: str, trials: int, number: int, place: Path, faults: list[str]) -> Counter[str]:
    """Outcomes of so many cases of one kind; faults are described in the list."""
    counts: Counter[str] = Counter()
    strategy, _ = KINDS[name]
    if name == "reviewed lists":
        audited(place)

    @seed(number)
    @settings(
        max_examples=trials, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=strategy)
    def one(case: Case) -> None:
        folder = place / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if name == "reviewed lists":
            shutil.copytree(place / "audit", folder / "audit")
        found, text = outcome(case, folder)
        counts[found] += 1
        if found not in ("refused", "audited"):
            faults.append(
                f"{name}: {found}: {text[-1500:]}\n  {case.arguments} {case.links} {str(case.files)[:1500]}"
            )
            print(faults[-1], file=sys.stderr, flush=True)

    one()
    return counts


def run(trials: int, number: int, chosen: list[str] | None = None) -> tuple[pd.DataFrame, list[str]]:
    """The table: kind × outcome, of ``trials`` cases in all."""
    rows, faults = [], []
    for name in chosen or list(KINDS):
        start = time.process_time()
        with tempfile.TemporaryDirectory() as place:
            counts = tried(name, max(round(trials * KINDS[name][1]), 1), number, Path(place), faults)
        rows.append({"kind": name, "trials": sum(counts.values()), **{key: counts[key] for key in OUTCOMES}})
        print(json.dumps(rows[-1]), f"{time.process_time() - start:.0f} CPU s", file=sys.stderr, flush=True)
    return pd.DataFrame(rows), faults


def command() -> int:
    """Try, count, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), help="these alone")
    parser.add_argument("--small", action="store_true", help="let learners stop after a few steps")
    parser.add_argument("--table", help="a CSV that the counts are added to")
    given_options = parser.parse_args()
    watch_network()
    if given_options.small:
        shrink_learners()
    faulthandler.enable()
    table, faults = run(given_options.trials, given_options.seed, given_options.kinds)
    print(table.to_string(index=False))
    if given_options.table:
        if Path(given_options.table).is_file():
            every = pd.concat([pd.read_csv(given_options.table), table])
            table = every.groupby("kind", sort=False, as_index=False).sum()
        table.to_csv(given_options.table, index=False, lineterminator="\n")
    return int(bool(faults))


if __name__ == "__main__":
    raise SystemExit(command())

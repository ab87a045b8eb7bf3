"""Tables of the user's own: what is found of a file, and what is said of a bad one."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.audit.cleaning import Repairs, reviewed
from glitchtrace.audit.cleaning import write as write_cleaned
from glitchtrace.audit.samples import Samples, check_probabilities, from_arrays, load_probabilities, read
from glitchtrace.audit.settings import Settings
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.table_files import Dialect, from_frame, read_table, typed

ROWS = [
    ("1,5", "red", "2024-01-05"),
    ("2,25", "blue", "2024-02-06"),
    ("-3,0", "red", ""),
    ("4,75", "", "2024-03-07"),
]


def write(folder: Path, text: str, encoding: str = "utf-8", name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_delimiter_encoding_decimal_and_header_are_found(
    tmp_path: Path, delimiter: str, encoding: str
) -> None:
    lines = [delimiter.join(("größe", "colour", "day")), *(delimiter.join(row) for row in ROWS)]
    table = read_table(write(tmp_path, "\r\n".join(lines) + "\r\n", encoding))
    assert table.names == ["größe", "colour", "day"]
    assert (table.dialect.delimiter, table.dialect.decimal, table.dialect.header) == (delimiter, ",", True)
    size = table.column("größe")
    assert size.role == "numeric"
    np.testing.assert_array_equal(size.values, [1.5, 2.25, -3.0, 4.75])
    assert table.column("colour").categories == ("blue", "red")
    np.testing.assert_array_equal(table.column("colour").values, [1, 0, 1, -1])
    day = table.column("day")
    assert day.role == "date"
    assert day.values[1] - day.values[0] == 32
    assert np.isnan(day.values[2])


def test_a_file_without_header_has_numbered_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "1,2,a\n3,4,b\n5,6,a\n")
    table = read_table(path)
    assert table.names == ["column 0", "column 1", "column 2"]
    assert table.resolve("2", "label") == "column 2"
    assert read_table(path, Dialect(header=True)).names == ["1", "2", "a"]


def test_a_name_asked_for_makes_the_first_row_a_header(tmp_path: Path) -> None:
    path = write(tmp_path, "x,kind\na,b\nc,d\n")
    assert read_table(path, label="kind").names == ["x", "kind"]


def test_quoted_delimiters_newlines_and_doubled_names(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, 'a,a,text\n1,2,"one, two\nthree ""four"""\n3,4,five\n'))
    assert table.names == ["a", "a (2)", "text"]
    assert table.text("text")[0] == 'one, two\nthree "four"'


def test_an_odd_cell_among_numbers_is_named_and_missing(tmp_path: Path) -> None:
    cells = [*map(str, range(99)), "see notes"]
    column = read_table(write(tmp_path, "x\n" + "\n".join(cells))).column("x")
    assert column.role == "numeric"
    assert column.odd == {99: "see notes"}
    assert np.isnan(column.values[99])


def test_text_identifiers_booleans_constants_and_nothing_are_told_apart(tmp_path: Path) -> None:
    rows = [f"name{n},the {n} quick brown foxes run,{n % 2 == 0},7,NA" for n in range(200)]
    table = read_table(write(tmp_path, "id,say,flag,same,none\n" + "\n".join(rows)))
    assert [table.column(name).role for name in table.names] == [
        "identifier", "text", "boolean", "constant", "empty",
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_binary_files_keep_their_types(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame(
        {
            "x": [1.0, np.inf, 3.0],
            "c": pd.Categorical(["u", None, "v"]),
            "t": pd.to_datetime(["2024-01-01", "2024-01-03", None]),
            "e": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        }
    )
    path = tmp_path / f"t{suffix}"
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_feather(path)
    table = read_table(path)
    assert [table.column(name).role for name in table.names] == [
        "numeric",
        "categorical",
        "date",
        "embedding",
    ]
    assert table.column("x").odd == {1: "inf"}
    assert table.column("e").values.shape == (3, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"a,b\n1,2\n1,2,3\n", "3 cells where the first row has 2"),
        (b"sep=;\na;b\n1;2\n", "line 1: .sep=;. tells Excel .* take this line off"),
        (b'"SEP=;"\r\na;b\r\n1;2\r\n', "line 1: .*SEP=;.* tells Excel"),
        (b"\x00\x01\x02", "zero bytes"),
        (b"a,b\n", "no rows"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(GlitchtraceError, match=message) as caught:
        read_table(path, Dialect(header=True))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("encoding", "taken"),
    [("latin-1", True), ("utf-16", True), ("cp037", True), ("ascii", True)]
    + [(name, False) for name in ("idna", "punycode", "base64", "undefined", "none-such")],
)
def test_an_encoding_is_one_in_which_files_can_be_written(tmp_path: Path, encoding: str, taken: bool) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("a,b\n1,2\n".encode(encoding if taken else "ascii"))
    if taken:
        assert read_table(path, Dialect(encoding=encoding)).names == ["a", "b"]
        return
    with pytest.raises(GlitchtraceError, match="unknown encoding"):
        read_table(path, Dialect(encoding=encoding))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=6),
            min_size=3,
            max_size=3,
        ),
        min_size=2,
        max_size=8,
    )
)
def test_cells_of_a_well_written_file_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    frame = pd.DataFrame(rows, columns=["a", "b", "c"])
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    frame.to_csv(path, index=False, quoting=1, lineterminator="\n")
    table = read_table(path, Dialect(delimiter=",", encoding="utf-8", header=True))
    for name in "abc":
        assert list(table.text(name)) == list(frame[name])
        table.column(name)


def test_a_frame_with_odd_objects_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, "a", None, (1, 2)], "y": [1, 2, 3, 4]})
    table = from_frame(frame)
    assert table.column("x").role == "categorical"
    assert table.column("y").role == "numeric"


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        (pd.cut(pd.Series([0.5, 1.5, None, 0.25]), [0, 1, 2]), ["(0, 1]", "(1, 2]", "", "(0, 1]"]),
        (pd.Series(pd.period_range("2024-01", periods=4, freq="M")).astype("category"), None),
        (pd.Series([(1, 2), None, (3,), (1, 2)], dtype="category"), ["(1, 2)", "", "(3,)", "(1, 2)"]),
    ],
)
@pytest.mark.parametrize("label", ["x", "y"])
def test_categories_of_any_type_are_read_and_written(
    tmp_path: Path, cells: pd.Series, texts: list[str] | None, label: str
) -> None:
    frame = pd.DataFrame({"x": pd.concat([cells] * 10, ignore_index=True).astype(cells.dtype)})
    frame["y"] = np.arange(40) // 2 % 2
    expected = list(texts or map(str, cells))
    samples = from_arrays(frame, None, Settings(label=label))
    assert samples.table is not None
    assert list(samples.table.text("x")) == expected * 10
    assert samples.table.feature("x").role == "categorical"
    cleaned = write_cleaned(
        samples,
        Repairs({1: expected[0]} if label == "x" else {1: "1"}, frozenset([7]), {}),
        tmp_path,
        "cleaned",
    )
    after = pa.parquet.read_table(cleaned).column("x").to_pylist()
    wanted = [text or None for text in expected * 10]
    if label == "x":
        wanted[1] = expected[0]
    assert after == wanted[:7] + wanted[8:]


@pytest.mark.parametrize("cells", ["text", "dates", "infinite"])
def test_every_odd_cell_of_a_long_column_is_named(cells: str) -> None:
    n, odd = 60_000, np.arange(1_001) * 37
    values = {
        "text": np.arange(n).astype(str).astype(object),
        "dates": np.array([f"20{day % 90 + 10}-01-05" for day in range(n)], dtype=object),
        "infinite": np.arange(n) / 7,
    }[cells]
    values[odd] = np.inf if cells == "infinite" else "broken"
    assert sorted(from_frame(pd.DataFrame({"x": values})).column("x").odd) == odd.tolist()


def labelled(folder: Path, labels: list[str], **settings: str) -> Samples:
    """Samples of a text file with these labels in turns, two of each at least."""
    rows = [f"{row * 7 % 11}.5,{labels[row % len(labels)]}" for row in range(max(40, 2 * len(labels)))]
    return read(write(folder, "x,y\n" + "\n".join(rows) + "\n"), Settings(label="y", **settings))


@pytest.mark.parametrize("word", ["none", "-", "?", "NA", "null", "missing", "nan"])
def test_a_word_for_missing_is_a_class_among_labels_and_none_among_features(
    tmp_path: Path, word: str
) -> None:
    found = labelled(tmp_path, [word, "mild", "", "severe"])
    assert found.class_names == tuple(sorted([word, "mild", "severe"]))
    assert found.observed().tolist()[:4] == [word, "mild", "", "severe"]
    assert any(f"'{word}' (10 rows)" in note and "leave it empty" in note for note in found.notes)
    assert "Rows without a label: 10; they get a proposal and train nothing." in found.notes
    column = read_table(write(tmp_path, f"x,y\na,1\n{word},2\nb,3\n")).column("x")
    assert column.values.tolist() == [0, -1, 1]


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (["setosa", "SETOSA", "other"], "'SETOSA' (13 rows) and 'setosa' (14 rows)"),
        (["new york", "NewYork", "b"], "'NewYork' (13 rows) and 'new york' (14 rows)"),
        (["1", "1.0", "2"], "'1' (14 rows) and '1.0' (13 rows)"),
        (["a", "b", "c1"], None),
    ],
)
def test_classes_that_are_written_in_two_ways_are_named(
    tmp_path: Path, labels: list[str], note: str | None
) -> None:
    found = labelled(tmp_path, labels)
    assert len(found.class_names) == 3
    said = [text for text in found.notes if "write them alike" in text]
    assert (note in said[0]) if note else not said


def test_one_row_is_no_rows() -> None:
    told = " ".join(from_arrays(np.eye(40), ["A", "", *["a"] * 38], Settings()).notes)
    assert "Rows without a label: 1;" in told
    assert "'A' (1 row) and 'a' (38 rows)" in told


def test_a_label_that_is_no_number_is_told_from_a_missing_one(tmp_path: Path) -> None:
    labels = [f"{row}.25" for row in range(200)]
    labels[3], labels[5], labels[8] = "see notes", "inf", ""
    found = labelled(tmp_path, labels)
    assert found.odd == {
        row: f"its label '{labels[row % 200]}' is no finite number" for row in (3, 5, 203, 205)
    }
    assert np.flatnonzero(np.isnan(found.target)).tolist() == [3, 5, 8, 203, 205, 208]
    assert any("'see notes' (2), 'inf' (2)" in note for note in found.notes)


def test_advice_on_too_many_values_leads_to_no_other_refusal(tmp_path: Path) -> None:
    with pytest.raises(GlitchtraceError, match=r"too many for classes; choose another column$"):
        from_arrays(np.eye(60), pd.date_range("2024-01-01", periods=60), Settings())
    labels = [f"{row}.25" if row % 5 else f"odd {row}" for row in range(60)]
    with pytest.raises(GlitchtraceError, match="or set task: numbers"):
        from_arrays(np.eye(60), labels, Settings())
    assert from_arrays(np.eye(60), labels, Settings(task="numbers")).numeric


def test_a_number_of_single_precision_is_as_short_as_it_was_written() -> None:
    values = np.array([0.1, 0.2, 3.0] * 4, dtype=np.float32)
    assert from_arrays(np.eye(12), values, Settings()).class_names == ("0.1", "0.2", "3")


TWELVE = [str(row % 12) for row in range(48)]


@pytest.mark.parametrize(
    ("labels", "as_numbers"),
    [
        (np.array(TWELVE), False),
        (np.array(TWELVE, dtype=object), False),
        (pd.Series(TWELVE, dtype="category"), False),
        (np.array(TWELVE, dtype=int), True),
        (np.array(TWELVE, dtype=np.float32), True),
        (pd.Series([*TWELVE[:-1], None]).astype("Int64"), True),
    ],
)
def test_classes_stand_in_the_order_of_numpy(labels: object, as_numbers: bool) -> None:
    wanted = [str(name) for name in np.unique(np.array(TWELVE, dtype=int if as_numbers else str))]
    assert list(from_arrays(np.eye(48), labels, Settings()).class_names) == wanted
    frame = pd.DataFrame(np.eye(48))
    assert list(from_arrays(frame, labels, Settings()).class_names) == wanted


def test_probabilities_are_taken_by_names_where_the_order_is_not_told(tmp_path: Path) -> None:
    samples = labelled(tmp_path, TWELVE)  # a text file does not say whether "10" is a number
    given = np.random.default_rng(0).dirichlet(np.ones(12), len(samples))
    np.save(tmp_path / "p.npy", given)
    with pytest.raises(GlitchtraceError, match="stand in another order as numbers than as text"):
        check_probabilities(load_probabilities(str(tmp_path / "p.npy")), samples, "p.npy")
    as_text = np.unique(TWELVE)
    wanted = given[:, [as_text.tolist().index(name) for name in samples.class_names]]
    frame = pd.DataFrame(given, columns=as_text)
    frame.to_csv(tmp_path / "p.csv")
    frame.to_parquet(tmp_path / "p.parquet")
    for found in (
        frame, frame[frame.columns[::-1]], frame.rename(columns=int),
        *(load_probabilities(str(tmp_path / name)) for name in ("p.csv", "p.parquet")),
    ):  # fmt: skip
        np.testing.assert_allclose(check_probabilities(found, samples, "p"), wanted, rtol=1e-12)
    with pytest.raises(GlitchtraceError, match="no column is named '10'"):
        check_probabilities(frame.rename(columns={"10": "ten"}), samples, "p")
    nine = labelled(tmp_path, TWELVE[:10])
    assert check_probabilities(np.full((len(nine), 10), 0.1), nine, "p").shape == (len(nine), 10)


def test_labels_of_a_stored_table_are_numbers_or_text_as_stored(tmp_path: Path) -> None:
    for kind, wanted in ((pa.string(), "10"), (pa.int8(), "2")):
        table = pa.table({"x": np.arange(48) * 0.3 % 1, "y": pa.array(TWELVE).cast(kind)})
        pa.parquet.write_table(table, tmp_path / "t.parquet")
        found = read(tmp_path / "t.parquet", Settings(label="y"))
        assert (found.class_names[2], found.order_told) == (wanted, True)


def rows_of(folder: Path, **columns: object) -> Samples:
    """Samples of a text file with these columns beside a column of noise and the label."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"noise": rng.normal(size=300), **columns})
    if "y" not in frame:
        frame["y"] = rng.choice(["u", "v", "w"], 300)
    frame.to_csv(folder / "t.csv", index=False)
    return read(folder / "t.csv", Settings(label="y"))


RNG = np.random.default_rng(1)


@pytest.mark.parametrize(
    ("values", "role"),
    [
        (np.arange(300), "identifier"),
        (RNG.permutation(np.arange(5000, 5300)), "identifier"),
        (np.arange(1000, 4000, 10), "identifier"),
        (np.sort(RNG.choice(1500, 300, replace=False)), "identifier"),  # the index of every fifth row
        ([*map(str, range(295)), *[""] * 5], "identifier"),
        (np.arange(300) / 4, "numeric"),
        (RNG.normal(size=300).round(2), "numeric"),
        (RNG.integers(0, 600, 300), "numeric"),
        (RNG.lognormal(10, 1, 300).round().astype(int), "numeric"),
        (np.unique(RNG.integers(0, 10**6, 301))[:300], "numeric"),
        (np.arange(300) // 2, "numeric"),
    ],
)
def test_numbers_that_count_the_rows_are_an_identifier(tmp_path: Path, values: object, role: str) -> None:
    found = rows_of(tmp_path, x=values)
    assert [column.name for column in found.columns] == (
        ["noise"] if role == "identifier" else ["noise", "x"]
    )
    note = "Column 'x' is not used as a feature: nearly every row has its own value."
    assert (note in found.notes) == (role == "identifier")
    assert found.table is not None
    assert found.table.column("x").role == "numeric"  # a time, or a label


def test_few_rows_may_be_measured_as_one_two_three(tmp_path: Path) -> None:
    assert (
        read_table(write(tmp_path, "x\n" + "\n".join(map(str, range(50))) + "\n")).feature("x").role
        == "numeric"
    )


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([f"{row * 1.5:.1f}" if row % 10 else "n.d." for row in range(300)], "'n.d.' (30)"),
        ([f"{row % 40}.5" if row % 10 else "n.d." for row in range(300)], "'n.d.' (30)"),
        ([f"{row % 40}.5{'%€'[row % 2]}" for row in range(300)], "not all written in one way"),
        ([f"10.0.{row % 7}.{row % 250}" for row in range(300)], None),
        ([f"{row % 40}.5" if row % 100 else "n.d." for row in range(300)], None),
        ([str(row % 5) if row % 10 else "x" for row in range(300)], None),
        (["abc"[row % 3] for row in range(300)], None),
    ],
)
def test_what_keeps_a_column_from_being_one_of_numbers_is_named(
    tmp_path: Path, cells: list[str], words: str | None
) -> None:
    said = [
        note for note in rows_of(tmp_path, x=cells).notes if "Most cells of column 'x' are numbers" in note
    ]
    assert (words in said[0]) if words else not said


def _amounts(form: str) -> list[str]:
    rng = np.random.default_rng(3)
    amounts = np.exp(rng.normal(7, 1.5, 300)).round(2) * np.where(np.arange(300) % 9, 1, -1)
    told = [f"{amount:,.2f}" for amount in amounts]
    swapped = [text.translate(str.maketrans(",.", ".,")) for text in told]
    whole = [text.partition(".")[0] for text in told]
    return {
        "1,234.56": told,
        "1.234,56": swapped,
        "1,234": whole,
        "1 234,56": [text.replace(".", " ") for text in swapped],
        "1\u202f234,56": [text.replace(".", "\u202f") for text in swapped],
        "1'234.56": [text.replace(",", "'") for text in told],
        "-$1,234.56": [f"-${text[1:]}" if text[0] == "-" else f"${text}" for text in told],
        "1.234,56 €": [f"{text} €" for text in swapped],
        "12.3%": [f"{amount:.1f}%" for amount in amounts],
        "12,3 %": [f"{amount:.1f} %".replace(".", ",") for amount in amounts],
    }[form]


_FORMS = [
    "1,234.56", "1.234,56", "1,234", "1 234,56", "1\u202f234,56",
    "1'234.56", "-$1,234.56", "1.234,56 €", "12.3%", "12,3 %",
]  # fmt: skip


@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize("decimal", [".", ","])
def test_numbers_with_separators_and_signs_are_read_and_written_back(form: str, decimal: str) -> None:
    cells = _amounts(form)
    point = "," if form in ("1.234,56", "1 234,56", "1\u202f234,56", "1.234,56 €", "12,3 %") else "."
    if form in ("1,234", "12.3%"):  # of which the decimal sign of the file decides
        decimal = point
    expected = np.array([float(re.sub(f"[^-0-9{point}]", "", text).replace(",", ".")) for text in cells])
    cells[7], expected[7] = "see notes", np.nan
    column = typed("x", pa.chunked_array([pa.array(cells)]), decimal)
    assert column.role == "numeric"
    assert column.odd == {7: "see notes"}
    np.testing.assert_array_equal(column.values, expected)
    assert "is read as numbers with" in column.note
    for row, text in enumerate(cells):
        assert row == 7 or column.writing.text(column.writing.plain(text)) == text


@pytest.mark.parametrize(
    ("cells", "decimal", "value"),
    [
        (["1,234", "850"], ".", 1234.0),
        (["1.234", "850"], ",", 1234.0),
        (["1.234", "850"], ".", 1.234),
        (["1,234", "850"], ",", 1.234),
        (["1.234", "0.850"], ",", 1.234),
        (["1.234", "1.234.567"], ".", 1234.0),
    ],
)
def test_the_decimal_sign_of_the_file_says_what_the_other_divides(
    cells: list[str], decimal: str, value: float
) -> None:
    column = typed("x", pa.chunked_array([pa.array(cells * 20)]), decimal)
    assert column.role == "numeric"
    assert column.values[0] == value


def test_a_numeric_target_keeps_its_writing(tmp_path: Path) -> None:
    rows = [f'{row * 7 % 11}.5,"{cell}"' for row, cell in enumerate(_amounts("-$1,234.56"))]
    samples = read(write(tmp_path, "x,y\n" + "\n".join(rows) + "\n"), Settings(label="y"))
    assert samples.numeric
    assert samples.written(np.array([1234.5, -12.0])) == ["$1,234", "-$12"]
    for proposed, new in (
        ("1234.5", "$1,234.5"),
        ("$1,234.50", "$1,234.50"),
        ("-12", "-$12"),
        (".5", "$0.5"),
        ("1e4", "$10,000"),
    ):
        (tmp_path / "list.csv").write_text(f'row,action,proposed\n3,relabel,"{proposed}"\n')
        assert reviewed(tmp_path / "list.csv", samples, samples.digest).labels == {3: new}
    cleaned = write_cleaned(samples, Repairs({3: "$1,234.50"}, frozenset(), {}), tmp_path, "cleaned")
    before, after = ((tmp_path / name).read_text().splitlines() for name in ("t.csv", cleaned.name))
    assert [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]] == [
        (before[4], f'{before[4].partition(",")[0]},"$1,234.50"')
    ]


def test_a_target_with_hardly_any_number_is_refused(tmp_path: Path) -> None:
    labels = [f"about {row}" if row % 3 else f"{row}.5" for row in range(60)]
    with pytest.raises(
        GlitchtraceError, match=r"80 of 120 labels in column 'y' are no finite numbers: 'about 1' \(2\)"
    ):
        labelled(tmp_path, labels, task="numbers")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"drop": "y"}, "column 'y' is the label, so drop has no effect on it"),
        ({"text": "x,y"}, "column 'y' is the label, so text has no effect on it"),
        ({"drop": "x", "text": "x"}, "column 'x' is dropped, so text has no effect on it"),
    ],
)
def test_a_column_is_named_for_one_thing(given: dict[str, str], message: str) -> None:
    frame = pd.DataFrame({"x": np.arange(40) % 7, "z": np.arange(40) % 5, "y": np.arange(40) % 2})
    with pytest.raises(GlitchtraceError, match=message):
        from_arrays(frame, None, Settings(label="y", **given))


def test_columns_of_several_levels_are_refused() -> None:
    columns = pd.MultiIndex.from_tuples([("p", "x"), ("p", "z")])
    with pytest.raises(GlitchtraceError, match="columns of several levels are not read"):
        from_arrays(pd.DataFrame(np.eye(40)[:, :2], columns=columns), np.arange(40) % 2, Settings())


def test_a_column_that_tells_the_label_is_named(tmp_path: Path) -> None:
    y = RNG.choice(["u", "v", "w"], 300)
    numbers = RNG.normal(size=300)
    code = np.array([ord(label) for label in y])
    nearly = np.where(np.arange(300) == 7, 0, code)
    nearly[8] = ord("v") if y[8] != "v" else ord("u")
    for columns, telling in (
        ({"x": y, "y": y}, ["x"]),
        ({"x": code * 1.5, "z": nearly, "y": y}, ["x"]),
        ({"x": np.arange(300) // 2, "y": (np.arange(300) // 2) % 3}, []),
        ({"x": 3 - 2 * numbers, "z": numbers**3, "y": numbers}, ["x"]),
        ({"x": RNG.normal(size=300), "y": y}, []),
    ):
        notes = rows_of(tmp_path, **columns).notes
        assert [note.split("'")[1] for note in notes if "alone tells the label" in note] == telling


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_those_of_the_file(tmp_path: Path, encoding: str, end: str) -> None:
    records = ["", "x,é,y", "1,a,u", "", "2,b,v", f'3,"one{end}{end}two",u', "4,d,v", "", ""]
    path = write(tmp_path, end.join(records), encoding)
    table = read_table(path)
    lines = path.read_bytes().decode(encoding).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert table.lines.tolist() == [3, 5, 6, 9]
    assert [lines[line - 1][0] for line in table.lines] == list("1234")
    assert read(path, Settings(label="y")).ids.tolist() == ["3", "5", "6", "9"]
    assert table.place(2) == "line 6"
    with pytest.raises(GlitchtraceError, match=r"line 10: 2 cells where the first row has 3"):
        read_table(write(tmp_path, end.join([*records[:-2], "5,e", ""]), encoding))
    assert read_table(write(tmp_path, "1,2\n\n3,4\n"), Dialect(header=False)).lines.tolist() == [1, 3]
    assert from_frame(pd.DataFrame({"a": [1, 2]})).place(1) == "row 1"


def test_a_name_that_two_columns_have_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "x,lab,lab\n" + "".join(f"{row % 7}.5,{'uv'[row % 2]},w\n" for row in range(30)))
    note = "More than one column is named 'lab': the first is meant by it, the next is 'lab (2)'."
    assert note in read(path, Settings(label="lab")).notes
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["lab", "lab"])
    assert note in from_arrays(frame, ["u", "v"] * 15, Settings()).notes


def test_a_word_for_no_group_is_named(tmp_path: Path) -> None:
    groups = ["p1", "none", "p2", "", "none", "p1"] * 5
    text = "x,g,y\n" + "".join(f"{row % 7}.5,{group},{'uv'[row % 2]}\n" for row, group in enumerate(groups))
    found = read(write(tmp_path, text), Settings(label="y", group="g"))
    assert "Taken for no group, so that each such row stands alone: 'none' (10)." in found.notes
    assert found.groups is not None
    assert len(set(found.groups)) == 2 + 15

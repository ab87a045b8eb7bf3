"""Tables of the user's own: CSV, TSV, Parquet and Feather files, or a frame, as typed columns.

Delimiter, encoding, decimal comma and header are found where they are not given.  Every cell of a text file is
kept as it was written, so that a cleaned copy differs in nothing but its repairs.
"""

import codecs
import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.paths import ending

if TYPE_CHECKING:
    import pyarrow as pa

Role = Literal[
    "numeric",
    "categorical",
    "date",
    "boolean",
    "text",
    "embedding",
    "identifier",
    "constant",
    "empty",
    "unusable",
]
#: What stands for a missing value in a column of features, whatever its case.
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-", "#n/a", "missing")
SUFFIXES = {
    ".csv": ",",
    ".tsv": "\t",
    ".txt": None,
    ".tab": "\t",
    ".parquet": None,
    ".feather": None,
    ".arrow": None,
}

_DELIMITERS = ",;\t|"
_SNIFFED = 2**18  # bytes that decide delimiter, header and decimal sign
# A column of which a larger share is no number is no column of numbers; what is smaller is an odd cell.
_ODD_SHARE = 0.02
_DATES = ("ISO8601", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d")
DATE_FORMS = "2021-01-31, 31.01.2021, 01/31/2021, 31/01/2021, 2021/01/31"  # the same, to be shown
_BOOLEAN = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "t": 1.0, "f": 0.0, "y": 1.0, "n": 0.0}
_TEXT_WORDS = 4  # words of a cell of free text, on average
_WIDEST = 5000  # columns
_IDENTIFIED = 50  # a column of no more different values is no identifier
_DENSE = 0.1  # share of the numbers of its range that an identifier holds at least
# Of n numbers drawn from r, n² / 2r pairs are equal on average; where none is, though so many should be, nothing was
# drawn: somebody counted.
_PAIRS = 20
_SHARE = 0.5  # of its cells that make a column look like numbers, and so many of them differ
_DIFFERENT = 10
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")
_SIGNS = "%€$£¥"
_SPACES = " \u00a0\u202f\u2009"
# Minus, sign, blanks, minus, the number, blanks, sign.
_NUMBER = re.compile(
    rf"([-+]?)([{_SIGNS}]?)([{_SPACES}]*)([-+]?)"
    rf"([\d.,](?:[\d.,'’{_SPACES}]*[\d.,])?)([{_SPACES}]*)([{_SIGNS}]?)"
)
_GROUPED = re.compile(rf"(?:[1-9]\d{{0,2}}([.,'’{_SPACES}])\d{{3}}(?:\1\d{{3}})*|\d+)(?:[.,]\d+)?")
_LINES = ("a,b\n1,2\n", "\u2603,é\n")  # that an encoding of text files must be able to write


@dataclass(frozen=True)
class Dialect:
    """How a text file is written; None where it is to be found."""

    delimiter: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    header: bool | None = None


@dataclass(frozen=True)
class Writing:
    """How the numbers of a column of text are written.

    ``decimal``: the decimal sign; ``thousands``: what stands before each three digits of a whole part, "" for
    nothing; ``before``, ``after``: a sign of a currency or of per cent with its blanks, which scales nothing.
    """

    decimal: str = "."
    thousands: str = ""
    before: str = ""
    after: str = ""

    @property
    def bare(self) -> bool:
        """Whether numbers stand without separators and signs."""
        return not (self.thousands or self.before or self.after)

    def plain(self, text: str) -> str:
        """A number of the column with a decimal point and nothing else; "" where the text is none so written."""
        if self.bare:
            number = _number(text, self.decimal)
            return text.replace(self.decimal, ".") if number == number else ""
        found = _NUMBER.fullmatch(text)
        if not found or (found[1] and found[4]):
            return ""
        if (found[2], found[7]) != (self.before.strip(), self.after.strip()):
            return ""
        body, mark = found[5], re.escape(self.decimal)
        whole = (
            rf"[1-9]\d{{0,2}}(?:{re.escape(self.thousands)}\d{{3}})+|\d{{1,3}}" if self.thousands else r"\d+"
        )
        if not re.fullmatch(rf"(?:{whole})(?:{mark}\d*)?|{mark}\d+", body):
            return ""
        digits = body.replace(self.thousands, "") if self.thousands else body
        return found[1] + found[4] + digits.replace(self.decimal, ".")

    def number(self, text: str) -> float:
        """The value of a number so written, NaN of any other text."""
        plain = self.plain(text)
        return _number(plain, ".") if plain else float("nan")

    def text(self, plain: str) -> str:
        """A number with a decimal point, ``plain``, as the column writes it."""
        if self.bare:
            return plain.replace(".", self.decimal)
        minus, digits = ("-", plain[1:]) if plain.startswith("-") else ("", plain)
        whole, _, rest = digits.partition(".")
        if self.thousands:
            whole = f"{int(whole):,}".replace(",", self.thousands)
        return f"{minus}{self.before}{whole}{self.decimal + rest if rest else ''}{self.after}"

    def said(self, column: str) -> str:
        """A sentence on a column that is not written barely."""
        parts = [f"'{self.thousands}' before each three digits"] if self.thousands else []
        sign = (self.before + self.after).strip()
        parts += [f"the sign '{sign}', which scales nothing"] if sign else []
        what = "comma" if self.decimal == "," else "point"
        return f"Column '{column}' is read as numbers with {' and '.join(parts)}; its decimal sign is the {what}."


@dataclass(frozen=True)
class Column:
    """One typed column.

    ``values``: float64 with NaN for missing (numeric, date in days, boolean), int32 codes with −1 for missing
    (categorical), objects with "" for missing (text), float32 (n, d), a missing one NaN throughout (embedding), or
    nothing.  ``odd``: row → cell that does not fit the role; of an embedding "" where there is none, else its first
    number that is not finite.  ``note``: a sentence on numbers that are written with separators or signs, or on what
    keeps a column of which most cells are numbers from being one of numbers, "" elsewhere.  ``writing``: how cells of
    text write its numbers.
    """

    name: str
    role: Role
    values: np.ndarray
    categories: tuple[str, ...] = ()
    odd: Mapping[int, str] = field(default_factory=dict)
    note: str = ""
    writing: Writing = field(default_factory=Writing)

    def missing(self) -> np.ndarray:
        """Which values (n,) are missing."""
        if self.role == "categorical":
            found: np.ndarray = self.values < 0
        elif self.role == "text":
            found = self.values == ""
        else:
            found = np.isnan(self.values.reshape(len(self.values), -1)).all(axis=1)
        return found


@dataclass(frozen=True)
class Table:
    """A table of the user's: its cells as they are, and typed columns.

    ``lines``: (n,) the line of the file on which each row begins, its position from 0 where there are no lines.
    ``doubled``: names that more than one column had.  ``stored``: the columns of a
    file that stores types, as they stand in it.
    """

    name: str
    cells: "pa.Table"
    dialect: Dialect
    suffix: str
    lines: np.ndarray
    doubled: tuple[str, ...] = ()
    stored: "pa.Schema | None" = None

    def __len__(self) -> int:
        return int(self.cells.num_rows)

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return list(self.cells.column_names)

    def resolve(self, column: str | int, option: str) -> str:
        """The name of the column that the user means: its name, or its position from 0.

        Raises GlitchtraceError where there is none.
        """
        return resolved(column, option, self.names, self.name, of_text=bool(self.dialect.delimiter))

    def place(self, row: int) -> str:
        """Where a row stands, for a message: its line, or its position from 0 where there are no lines."""
        return f"{'line' if self.dialect.delimiter else 'row'} {self.lines[row]}"

    def text(self, column: str, rows: np.ndarray | None = None) -> np.ndarray:
        """The cells of a column as text (n,) objects, "" where they are missing; of some rows where they are given."""
        cells = self.cells.column(column)
        return _as_text(cells if rows is None else cells.take(rows))

    def column(self, name: str, role: Role | None = None) -> Column:
        """A column with its type found, or of the ``role`` given."""
        return typed(name, self.cells.column(name), self.dialect.decimal or ".", role)

    def feature(self, name: str, role: Role | None = None) -> Column:
        """The same as a feature: numbers that count the rows are an identifier, as names of rows are."""
        column = self.column(name, role)
        counts = role is None and column.role == "numeric" and _number_the_rows(column.values)
        return replace(column, role="identifier") if counts else column


def resolved(column: str | int, option: str, names: Sequence[str], table: str, *, of_text: bool) -> str:
    """``Table.resolve`` from the names of the columns alone."""
    if str(column) in names:
        return str(column)
    if re.fullmatch(r"\d+", str(column)) and int(column) < len(names):
        return names[int(column)]
    known = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    last = f" (by position 0 to {len(names) - 1})" if re.fullmatch(r"-?\d+", str(column)) else ""
    above = ", or take off what stands above the line of names" if of_text else ""
    raise GlitchtraceError(
        f"{table}: there is no column '{column}'{last} for {option}; give one of these{above}: {known}"
    )


def at_hand(path: str | Path) -> Path:
    """The path of a file or folder that exists.  Raises GlitchtraceError, with a remedy, where none does."""
    if not str(path).strip():
        raise GlitchtraceError("no file or folder is named; give its path")
    if "://" in str(path):
        raise GlitchtraceError(f"{path}: this is an address, not a path; download it and give the file")
    if not Path(path).exists():
        raise GlitchtraceError(f"{path}: there is no such file or folder; correct the path")
    return Path(path)


def is_table(path: Path) -> bool:
    """Whether the name of a file says that it holds a table."""
    return path.suffix.lower() in SUFFIXES or (
        path.suffix.lower() == ".gz" and Path(path.stem).suffix == ".csv"
    )


def read_table(path: str | Path, dialect: Dialect | None = None, label: str | None = None) -> Table:
    """Read a CSV, TSV, Parquet or Feather file.

    ``label``: the name of the column wanted; a first row that holds it is a header.  Raises GlitchtraceError, one
    line with file, place, value and remedy, where the file cannot be read as a table.
    """
    path = at_hand(path)
    dialect = dialect or Dialect()
    if not files.is_text(path):
        raise GlitchtraceError(f"{path}: the path is no UTF-8; rename what is not")
    if path.is_dir():
        raise GlitchtraceError(f"{path}: this is a folder, not a table; give the file")
    try:
        size = path.stat().st_size
        if size == 0:
            raise GlitchtraceError(f"{path}: the file is empty; give a file with rows")
        suffix = path.suffix.lower()
        table = _read_binary(path, suffix) if suffix in (".parquet", ".feather", ".arrow") else None
        if table is None:
            table = _read_text(path, dialect, label)
    except OSError as error:
        raise GlitchtraceError(f"{path}: cannot be read ({error.strerror or error}); correct it") from None
    if len(table) == 0:
        raise GlitchtraceError(f"{path}: the table has a header and no rows; give a file with rows")
    return table


def from_frame(frame: Any, name: str = "table") -> Table:
    """A pandas frame as a Table.  Raises GlitchtraceError where a column cannot be stored."""
    import pyarrow as pa

    arrays, names = [], []
    for position, column in enumerate(frame.columns):
        series = frame.iloc[:, position]
        try:
            arrays.append(_with_plain_categories(pa.array(series, from_pandas=True), series))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            arrays.append(pa.array([None if value is None else str(value) for value in series], pa.string()))
        names.append(str(column))
    cells = _without_views(pa.table(arrays, names=_unique(names)))
    return Table(name, cells, Dialect(decimal="."), ".parquet", np.arange(len(cells)), _doubled(names))


def _with_plain_categories(cells: "pa.Array", series: Any) -> "pa.Array":
    """Cells whose categories are intervals, periods or lists, which Arrow neither casts nor writes, with their text."""
    import pyarrow as pa

    kind = cells.type
    if not pa.types.is_dictionary(kind) or not (
        isinstance(kind.value_type, pa.BaseExtensionType) or pa.types.is_nested(kind.value_type)
    ):
        return cells
    texts = pa.array([str(value) for value in series.cat.categories], pa.string())
    return pa.DictionaryArray.from_arrays(cells.indices, texts, ordered=kind.ordered)


def _read_binary(path: Path, suffix: str) -> Table:
    import pyarrow as pa
    from pyarrow import feather, parquet

    try:
        cells = parquet.read_table(path) if suffix == ".parquet" else feather.read_table(path)
        cells.validate(full=True)  # codes of categories that point nowhere are found out late otherwise
        stored, cells = cells.schema, _without_views(cells)
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, ArithmeticError) as error:
        kind = "Parquet" if suffix == ".parquet" else "Feather"
        raise GlitchtraceError(
            f"{path}: not a {kind} file ({_first_line(error)}); give the original"
        ) from None
    if cells.num_columns == 0:
        raise GlitchtraceError(f"{path}: the table has no columns; give a table with columns")
    names = cells.column_names
    cells = cells.rename_columns(_unique(names))
    return Table(
        str(path), cells, Dialect(decimal="."), suffix, np.arange(len(cells)), _doubled(names), stored
    )


def _without_views(cells: "pa.Table") -> "pa.Table":
    """The cells with text and bytes in the types of which Arrow can take rows."""
    import pyarrow as pa

    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    for place, column in enumerate(cells.columns):
        if column.type in plain:
            kind = plain[column.type]
            cells = cells.set_column(place, cells.field(place).with_type(kind), column.cast(kind))
    return cells


def names_in_text(path: Path, dialect: Dialect, label: str | None) -> list[str]:
    """Names of the columns of a text file, told from its beginning.  Raises as ``read_table``."""
    _, _, first = _sniffed(path, dialect)
    header = dialect.header if dialect.header is not None else _has_header(first, label)
    return _unique(_names(first[0], header=header))


def _names(first: Sequence[str], *, header: bool) -> list[str]:
    """Names of the columns by the first row, which is a header or none."""
    named = [cell.lstrip("\ufeff").strip() if header else "" for cell in first]
    return [name or f"column {position}" for position, name in enumerate(named)]


def _sniffed(path: Path, dialect: Dialect) -> tuple[str, str, list[list[str]]]:
    """Encoding, delimiter and first rows of a text file."""
    encoding = dialect.encoding or _encoding(path)
    start = _beginning(path, encoding)
    if re.match(r"(\"?)sep=.?\1[\r\n]", start, re.IGNORECASE):
        raise GlitchtraceError(
            f"{path}, line 1: {start.splitlines()[0]!r} tells Excel the delimiter and is no row; take this line off"
        )
    delimiter = dialect.delimiter or _delimiter(
        start, Path(path.stem if path.suffix == ".gz" else path).suffix
    )
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise GlitchtraceError(f"{path}: {delimiter!r} is no delimiter; give one character, such as ';'")
    first = _first_rows(start, delimiter)
    if not first:
        raise GlitchtraceError(f"{path}: the file holds no rows; give a file with rows")
    if len(first[0]) > _WIDEST:
        raise GlitchtraceError(
            f"{path}: {len(first[0])} columns; at most {_WIDEST} are read: select some of them"
        )
    return encoding, delimiter, first


def _read_text(path: Path, dialect: Dialect, label: str | None) -> Table:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    encoding, delimiter, first = _sniffed(path, dialect)
    width = len(first[0])
    names = [f"c{position}" for position in range(width)]

    def read(threads: bool, block: int) -> "pa.Table":
        return arrow_csv.read_csv(
            _stream(path),
            arrow_csv.ReadOptions(
                column_names=names, encoding=_arrow_encoding(encoding), use_threads=threads, block_size=block
            ),
            arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=True
            ),
        )

    try:
        try:
            cells = read(True, 2**24)
        except pa.ArrowInvalid as error:
            if "columns, got" in str(error) or "straddling" in str(error):
                cells = read(False, max(2**24, min(2**30, 2 * path.stat().st_size)))  # says the row
            else:
                raise
    except (pa.ArrowException, ValueError, UnicodeError, EOFError) as error:
        ragged = re.search(r"(?:Row #(\d+): )?Expected \d+ columns, got (\d+)", str(error))
        if ragged:
            known = Dialect(delimiter, encoding)
            begun = _begun(Table(str(path), pa.table({}), known, "", np.empty(0)))
            line = next((line for line, found in begun if found and len(found) != width), ragged[1])
            raise GlitchtraceError(
                f"{path}, line {line}: {ragged[2]} cells where the first row has {width} (delimiter {delimiter!r}); "
                "mend the row, quote its text, or give the delimiter"
            ) from None
        if "UTF8" in str(error) or isinstance(error, UnicodeError) or "utf" in str(error).lower():
            raise GlitchtraceError(
                f"{path}: the text is not {encoding}; give its encoding, such as latin-1"
            ) from None
        raise GlitchtraceError(f"{path}: not a table of text ({_first_line(error)}); mend the file") from None
    header = dialect.header if dialect.header is not None else _has_header(first, label)
    found_names = _names([str(cells.column(position)[0]) for position in range(width)], header=header)
    if header:
        cells = cells.slice(1)
    elif cells.num_rows:
        cells = (
            cells.set_column(
                0,
                "c0",
                pa.chunked_array(
                    [pa.array([t.lstrip("\ufeff") for t in cells.column(0).to_pylist()], pa.string())]
                ),
            )
            if str(cells.column(0)[0]).startswith("\ufeff")
            else cells
        )
    decimal = dialect.decimal or _decimal(first[1:] if header else first, delimiter)
    known = replace(dialect, delimiter=delimiter, encoding=encoding, decimal=decimal, header=header)
    cells = cells.rename_columns(_unique(found_names))
    rows = np.arange(len(cells)) + 1 + header
    table = Table(str(path), cells, known, ending(str(path)), rows, _doubled(found_names))
    return replace(table, lines=_lines(table))


def _stream(path: Path) -> Any:
    import pyarrow as pa

    return pa.input_stream(str(path), compression="gzip" if path.suffix == ".gz" else None)


def _arrow_encoding(encoding: str) -> str:
    return "utf8" if encoding in ("utf-8", "utf-8-sig", "utf8") else encoding


def _open(path: Path) -> Any:
    if path.suffix == ".gz":
        import gzip

        return gzip.open(path, "rb")
    return open(path, "rb")


def records(table: Table) -> Iterator[tuple[str, list[str]]]:
    """The records of a text file, header and blank lines too: each as it stands, with its line end, and its cells.

    A blank line, and a mark of the order of bytes, have no cells.
    """
    held: list[str] = []

    def held_lines(lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            held.append(line)
            yield line

    csv.field_size_limit(2**31 - 1)  # cells may be longer than 128 KiB
    # Without translation: line ends come as they are, each of the three kinds.
    with io.TextIOWrapper(_open(Path(table.name)), encoding=exact_codec(table), newline="") as stream:
        marked = next(stream, "")
        first = marked.removeprefix("\ufeff")
        if first != marked:
            yield "\ufeff", []
        lines = held_lines(itertools.chain([first], stream))
        for cells in csv.reader(lines, delimiter=table.dialect.delimiter or ","):
            yield "".join(held), cells
            held.clear()


def _begun(table: Table) -> Iterator[tuple[int, list[str]]]:
    """The line on which each record of a text file begins, and its cells."""
    line = 1
    for record, cells in records(table):
        yield line, cells
        line += len(re.findall("\r\n|\r|\n", record))


def _lines(table: Table) -> np.ndarray:
    """The line (n,) on which each row of a text file begins: blank lines and cells of several lines move it."""
    with io.TextIOWrapper(_open(Path(table.name)), encoding=exact_codec(table), newline="") as stream:
        if sum(1 for _ in stream) == len(table) + bool(table.dialect.header):
            return table.lines
    try:
        begun = [line for line, cells in _begun(table) if cells]
    except csv.Error:
        return table.lines
    found = np.array(begun[bool(table.dialect.header) :], dtype=np.int64)
    return found if len(found) == len(table) else table.lines


def exact_codec(table: Table) -> str:
    """A codec that gives the bytes of the file again, a mark at its beginning and the order of bytes included."""
    name = codecs.lookup(table.dialect.encoding or "utf-8").name
    if name not in ("utf-16", "utf-32"):
        return "utf-8" if name == "utf-8-sig" else name
    with _open(Path(table.name)) as binary:
        big = binary.read(4).startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
    return f"{name}-{'be' if big else 'le'}"


def _encoding(path: Path) -> str:
    """UTF-8 with or without mark, UTF-16 or UTF-32 with mark, else Windows-1252 if it fits, else Latin-1."""
    try:
        with _open(path) as stream:
            content = stream.read(2**22)
    except (EOFError, OSError) as error:
        raise GlitchtraceError(f"{path}: cannot be read ({_first_line(error)}); give the original") from None
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
    ):
        if content.startswith(mark):
            return name
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        # A character may be cut at the end of what was read.
        codecs.getincrementaldecoder("utf-8")().decode(content)
        return "utf-8"
    except UnicodeDecodeError:
        pass
    try:
        content.decode("cp1252")
        return "cp1252"
    except UnicodeDecodeError:
        return "latin-1"


def _beginning(path: Path, encoding: str) -> str:
    try:
        "".encode(encoding)  # refuses codecs that are not of text, such as base64
        decoder = codecs.getincrementaldecoder(encoding)()
        # Nor is it one of files in which a cleaned copy cannot be written as its rows come: idna, punycode.
        encoder = codecs.getincrementalencoder(encoding)("backslashreplace")
        written = b"".join(encoder.encode(line) for line in _LINES) + encoder.encode("", True)
        if not written.decode(encoding).startswith(_LINES[0]):
            raise LookupError
    except (LookupError, ValueError, TypeError):
        raise GlitchtraceError(
            f"{path}: unknown encoding '{encoding}'; give one such as utf-8 or latin-1"
        ) from None
    try:
        with _open(path) as stream:
            text: str = decoder.decode(stream.read(_SNIFFED))
    except (UnicodeError, EOFError, OSError) as error:
        raise GlitchtraceError(
            f"{path}: the text is not {encoding} ({_first_line(error)}); give its encoding, such as latin-1"
        ) from None
    if "\x00" in text:
        raise GlitchtraceError(
            f"{path}: the file holds zero bytes, so it is no text; give a CSV or Parquet file"
        )
    return text.lstrip("\ufeff")


def _first_rows(text: str, delimiter: str, count: int = 200) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) == count:
                return rows
    except csv.Error:
        pass
    return rows[:-1] if len(rows) > 1 and len(text) >= _SNIFFED // 4 else rows


def _delimiter(text: str, suffix: str) -> str:
    """The delimiter that divides most of the first rows into the same number of cells, the more the better."""
    usual = SUFFIXES.get(suffix.lower()) or ","
    best, found = (0.0, 0), usual
    for delimiter in sorted(_DELIMITERS, key=lambda each: each != usual):
        widths = [len(row) for row in _first_rows(text, delimiter)]
        if widths and widths[0] > 1:
            agreement = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
            if agreement > best:
                best, found = agreement, delimiter
    return found


def _has_header(rows: Sequence[Sequence[str]], label: str | None) -> bool:
    """Whether the first row names columns: it holds the label's name, or no numbers above columns of numbers."""
    first = [cell.lstrip("\ufeff").strip() for cell in rows[0]]
    if label is not None and label in first:
        return True
    if len(rows) < 2 or any(map(_is_number, first)):
        return False
    later = rows[1:]
    for position, name in enumerate(first):
        cells = [row[position] for row in later if position < len(row) and not _is_missing(row[position])]
        if cells and sum(map(_is_number, cells)) > 0.9 * len(cells):
            return True
        if cells and name not in cells and len(set(cells)) < len(cells) / 2:
            return True
    return False


def _decimal(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    if delimiter == ",":
        return "."
    cells = [cell.strip() for row in rows for cell in row]
    commas = sum(bool(re.fullmatch(r"[-+]?\d+,\d+", cell)) for cell in cells)
    points = sum(bool(re.fullmatch(r"[-+]?\d+\.\d+", cell)) for cell in cells)
    return "," if commas > points else "."


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def holds_numbers(kind: Any) -> bool:
    """Whether cells of an Arrow type are numbers."""
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def counted(cells: Iterable[str], most: int = 3) -> str:
    """The most frequent of some cells, each with its number."""
    found = Counter(str(cell)[:40] for cell in cells)
    said = [f"'{cell}' ({count})" for cell, count in found.most_common(most)]
    rest = len(found) - most
    return ", ".join(said) + (f" and {rest} other value{'s' * (rest != 1)}" if rest > 0 else "")


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?", cell.strip()))


def _unique(names: Sequence[str]) -> list[str]:
    """Names made different: the second ``a`` is ``a (2)``."""
    taken: set[str] = set()
    found = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name} ({number})"
        taken.add(candidate)
        found.append(candidate)
    return found


def _doubled(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name, count in Counter(names).items() if count > 1)


def _first_line(error: BaseException) -> str:
    return " ".join((str(error).strip() or type(error).__name__).splitlines()[0].split())[:200]


def _as_text(column: Any) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        try:
            column = pc.cast(column, kind.value_type)
        except pa.ArrowException:  # categories that are lists
            return np.array(["" if v is None else str(v) for v in column.to_pylist()], dtype=object)
        kind = column.type
    if pa.types.is_floating(kind):
        values = column.to_numpy(zero_copy_only=False)
        wide = values.astype(np.float64)
        whole = np.isfinite(wide) & (wide == np.round(wide)) & (np.abs(wide) < 1e15)
        # As short as its own type allows: 0.1 of single precision is not 0.10000000149011612.
        texts = [
            "" if np.isnan(v) else str(int(v)) if w else repr(float(str(v)))
            for v, w in zip(values, whole, strict=True)
        ]
        return np.array(texts, dtype=object)
    if pa.types.is_nested(kind):
        return np.array(["" if v is None else str(v) for v in column.to_pylist()], dtype=object)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        decoded = ["" if v is None else v.decode("utf-8", "backslashreplace") for v in column.to_pylist()]
        return np.array(decoded, dtype=object)
    try:
        found = pc.fill_null(pc.cast(column, pa.string()), "").to_numpy(zero_copy_only=False).astype(object)
    except pa.ArrowException:
        found = np.array(["" if v is None else str(v) for v in column.to_pylist()], dtype=object)
    result: np.ndarray = found
    return result


def typed(name: str, column: Any, decimal: str = ".", role: Role | None = None) -> Column:
    """A typed column from stored cells; see ``Column``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    nothing = np.empty(0)
    if pa.types.is_null(kind):
        return Column(name, "empty", nothing)
    if role in (None, "embedding") and (
        pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)
    ):
        return _embedding(name, column)
    if role in (None, "numeric") and (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    ):
        values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
        infinite = np.flatnonzero(np.isinf(values))
        odd = {int(row): str(values[row]) for row in infinite}
        values = np.where(np.isinf(values), np.nan, values)
        return _plain(name, "numeric", values, odd)
    if role in (None, "boolean") and pa.types.is_boolean(kind):
        values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
        return _plain(name, "boolean", values)
    if role in (None, "date") and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        stamps = pc.cast(column, pa.timestamp("us"), safe=False)
        days = pc.cast(stamps, pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64) / 86.4e9
        return _plain(name, "date", days)
    if role is None and (pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_map(kind)):
        return Column(name, "unusable", nothing)
    return _typed_text(name, _as_text(column), decimal, role, pa.types.is_dictionary(kind))


def check_decimal(table: Table, columns: Iterable[str]) -> None:
    """Raise GlitchtraceError where columns are numbers with a decimal comma in a table that is read by the point.

    Of a sign that was stated; one that was found is that of most cells.  ``1,234`` alone may be a thousand.
    """
    if table.dialect.decimal != "." or not table.dialect.delimiter:
        return
    found = [name for name in columns if _has_decimal_commas(table.text(name))]
    if found:
        raise GlitchtraceError(
            f"{table.name}: decimal is '.', but the numbers of {', '.join(found[:8])}"
            f"{', …' if len(found) > 8 else ''} have a decimal comma; set decimal to ',', or leave these columns out"
        )


def _has_decimal_commas(cells: np.ndarray) -> bool:
    """Whether cells are numbers by the comma and are none by the point."""
    counts = Counter(cell for cell in map(str.strip, cells) if not _is_missing(cell))

    def strange(sign: str) -> int:
        return sum(count for cell, count in counts.items() if np.isnan(_number(cell, sign)))

    most = _ODD_SHARE * counts.total()
    if strange(".") <= most or strange(",") > most:
        return False
    return any("," in cell and not _THOUSANDS.fullmatch(cell) for cell in counts)


def _number_the_rows(values: np.ndarray) -> bool:
    """Whether numbers run like an identifier: whole, all different, and as near to each other as no measurement is."""
    present = np.sort(values[~np.isnan(values)])
    n = len(present)
    if n <= max(_IDENTIFIED, 0.9 * len(values)) or np.abs(present[[0, -1]]).max() > 2**53:
        return False
    steps = np.diff(present)
    if steps.min() <= 0 or (present != np.round(present)).any():
        return False
    places = (present[-1] - present[0]) / np.gcd.reduce(steps.astype(np.int64)) + 1
    return bool(places <= min(n / _DENSE, n * n / (2 * _PAIRS)))


def _embedding(name: str, column: Any) -> Column:
    lists = [None if row is None or not len(row) else row for row in column.to_pylist()]
    widths = {len(row) for row in lists if row is not None}
    if len(widths) != 1:
        return Column(name, "empty" if not widths else "unusable", np.empty(0))
    width = widths.pop()
    try:
        values = np.array([[np.nan] * width if row is None else row for row in lists], dtype=np.float32)
    except (TypeError, ValueError):
        return Column(name, "unusable", np.empty(0))
    odd = {}
    for row in np.flatnonzero(~np.isfinite(values).all(axis=1)).tolist():
        odd[row] = "" if lists[row] is None else str(values[row][~np.isfinite(values[row])][0])
        values[row] = np.nan
    if len(odd) == len(values):
        return Column(name, "empty", np.empty(0), odd=odd)
    return Column(name, "embedding", values, odd=odd)


def _plain(name: str, role: Role, values: np.ndarray, odd: Mapping[int, str] | None = None) -> Column:
    present = values[~np.isnan(values)]
    if len(present) == 0:
        return Column(name, "empty", np.empty(0), odd=odd or {})
    if present.min() == present.max() and len(present) == len(values):
        return Column(name, "constant", values, odd=odd or {})
    return Column(name, role, values, odd=odd or {})


def _typed_text(name: str, cells: np.ndarray, decimal: str, role: Role | None, declared: bool) -> Column:
    import pandas as pd

    codes, uniques = pd.factorize(cells)
    stripped = [str(value).strip() for value in uniques]
    lost = np.array([_is_missing(value) for value in stripped], dtype=bool)
    missing = lost[codes]
    if missing.all():
        return Column(name, "empty", np.empty(0))
    kept = np.flatnonzero(~lost)
    counts = np.bincount(codes, minlength=len(uniques))
    present = int(counts[kept].sum())
    note = ""
    if role in (None, "numeric") and not declared:
        numbers = np.full(len(uniques), np.nan)
        writing, numbers[kept] = _writing([stripped[place] for place in kept], counts[kept], decimal)
        strange = np.isnan(numbers) & ~lost
        if counts[strange].sum() <= _ODD_SHARE * present or role == "numeric":
            odd = {int(row): str(cells[row]) for row in np.flatnonzero(strange[codes])}
            column = _plain(name, "numeric", numbers[codes], odd)
            return replace(column, writing=writing, note="" if writing.bare else writing.said(name))
        # Neither a sign nor a separator makes a number less like one.
        like = np.array([_is_written_number(value, decimal) for value in stripped]) & ~lost
        if like.sum() > _DIFFERENT and counts[like].sum() > _SHARE * present:
            note = _no_column_of_numbers(name, cells, codes, strange, like)
    if role in (None, "boolean") and not declared:
        flags = np.array([_BOOLEAN.get(value.lower(), np.nan) for value in stripped])
        if not np.isnan(flags[kept]).any():
            return _plain(name, "boolean", flags[codes])
    if role in (None, "date") and not declared:
        days = _days([stripped[place] for place in kept])
        strange = np.isnan(days)
        if counts[kept][strange].sum() <= _ODD_SHARE * present or role == "date":
            every = np.full(len(uniques), np.nan)
            every[kept] = days
            rows = np.flatnonzero(np.isnan(every)[codes] & ~missing)
            return _plain(name, "date", every[codes], {int(row): str(cells[row]) for row in rows})
    words = sum(len(stripped[place].split()) * int(counts[place]) for place in kept) / present
    if role == "text" or (
        role is None and not declared and words >= _TEXT_WORDS and len(kept) > 0.3 * present
    ):
        texts = np.array(
            ["" if gone else value for value, gone in zip(stripped, lost, strict=True)], dtype=object
        )
        return Column(name, "text", texts[codes])
    if role is None and not declared and len(kept) > 0.9 * present and len(kept) > _IDENTIFIED:
        return Column(name, "identifier", np.empty(0), note=note)
    categories = sorted({stripped[place] for place in kept})
    if len(categories) == 1 and not missing.any() and role is None:
        return Column(name, "constant", np.zeros(len(cells)))
    position = {value: code for code, value in enumerate(categories)}
    mapped = np.array(
        [-1 if gone else position[v] for v, gone in zip(stripped, lost, strict=True)], dtype=np.int32
    )
    return Column(name, "categorical", mapped[codes], tuple(categories), note=note)


def _writing(texts: Sequence[str], counts: np.ndarray, decimal: str) -> tuple[Writing, np.ndarray]:
    """How the numbers among different texts (u,), ``counts`` (u,) of each, are written, and their values.

    The writing that reads the most cells.  The decimal sign is that of the file, and the other of point and comma
    then divides thousands; it is the decimal sign of a column with a sign of a unit, or in which both occur in one
    number or one occurs twice, where only that reads more cells.
    """
    best = Writing(decimal)
    values = np.array([_number(text, decimal) for text in texts])
    lost = int(counts[np.isnan(values)].sum())
    other = "." if decimal == "," else ","
    # A point among decimal commas is a decimal point, too, where it does not divide thousands.
    if not lost and not (decimal == "," and any("." in text for text in texts)):
        return best, values
    found = [(_NUMBER.fullmatch(text), int(count)) for text, count in zip(texts, counts, strict=True)]
    like = [(match, count) for match, count in found if match]
    units: Counter[tuple[str, str]] = Counter()
    affixes: Counter[tuple[str, str]] = Counter()
    spaces = set()
    for match, count in like:
        units[match[2], match[7]] += count
        affixes[match[2] + match[3] if match[2] else "", match[6] + match[7] if match[7] else ""] += count
        spaces |= set(match[5]) & set(_SPACES + "'’")
    if not units:
        return best, values
    (sign, after), _ = units.most_common(1)[0]
    if sign and after:
        return best, values
    before, behind = next(
        each for each, _ in affixes.most_common() if (each[0].strip(), each[1].strip()) == (sign, after)
    )
    for mark, divider in (
        *((decimal, divider) for divider in (other, *sorted(spaces), "")),
        *((other, divider) for divider in (decimal, *sorted(spaces), "")),
    ):
        tried = Writing(mark, divider, before, behind)
        if tried.bare:
            continue
        plains = [tried.plain(text) for text in texts]
        bodies = [match[5] for (match, _), plain in zip(found, plains, strict=True) if match and plain]
        if divider and not any(divider in body for body in bodies):
            continue
        # Where nothing else tells, one number must show which of the two signs is which.
        told = sign or after or divider in spaces
        if mark == other and not (
            told or any(divider in body and (mark in body or body.count(divider) > 1) for body in bodies)
        ):
            continue
        read = np.array([_number(plain, ".") if plain else np.nan for plain in plains])
        left = int(counts[np.isnan(read)].sum())
        if left < lost or (left == lost and best.bare and divider == other and decimal == ","):
            best, values, lost = tried, read, left
    return best, values


def _is_written_number(text: str, decimal: str) -> bool:
    """Whether a text is a number, with or without a sign and with whatever separators."""
    found = _NUMBER.fullmatch(text)
    if not found or not _GROUPED.fullmatch(found[5]):
        return False
    other = "." if decimal == "," else ","
    return bool(found[2] or found[7] or not re.fullmatch(rf"\d+\{other}\d{{1,2}}", found[5]))


def _no_column_of_numbers(
    name: str, cells: np.ndarray, codes: np.ndarray, strange: np.ndarray, like: np.ndarray
) -> str:
    """What keeps a column of which most cells are ``like`` numbers from being one; ``strange``: not read as such."""
    if np.mean(strange[codes] & like[codes]) > _ODD_SHARE:
        return (
            f"Most cells of column '{name}' are numbers, but it is used as text: they are not all written in one way, "
            f"with the same sign and separators: {counted(cells[strange[codes]])}; write them alike."
        )
    return (
        f"Most cells of column '{name}' are numbers, but it is used as text: of {counted(cells[strange[codes]])} there "
        f"are more than {100 * _ODD_SHARE:g} %; correct or empty these cells."
    )


def _number(cell: str, decimal: str) -> float:
    text = cell.replace(",", ".") if decimal == "," else cell
    try:
        value = float(text)
    except ValueError:
        return float("nan")
    return value if abs(value) != float("inf") and "_" not in text else float("nan")


def _days(cells: Sequence[str]) -> np.ndarray:
    """Days since 1970 of dates written in the best of the known forms; NaN where a cell is none."""
    import pandas as pd

    best = np.full(len(cells), np.nan)
    if not cells or not any(sum(letter.isdigit() for letter in cell) >= 4 for cell in cells[:50]):
        return best
    for form in _DATES:
        try:
            found = pd.to_datetime(pd.Series(cells, dtype=object), format=form, errors="coerce", utc=True)
            days = ((found - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)).to_numpy(np.float64)
        except (ValueError, TypeError, OverflowError, ArithmeticError):  # dates beyond what pandas holds
            continue
        if np.isnan(days).sum() < np.isnan(best).sum():
            best = days
    return best


def first_undated(cells: np.ndarray) -> int:
    """The first row of cells (n,) that keeps them from being dates of one form: 0 where no cell is a date."""
    stripped = [str(cell).strip() for cell in cells]
    present = [row for row, cell in enumerate(stripped) if not _is_missing(cell)]
    strange = np.isnan(_days([stripped[row] for row in present]))
    return present[int(np.argmax(strange))]

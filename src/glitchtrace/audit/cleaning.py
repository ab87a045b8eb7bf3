"""Cleaned copies of the user's data, never over the input: labels changed, rows dropped, rows flagged."""

import csv
import gzip
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from glitchtrace.audit.samples import FLAG, Samples, read
from glitchtrace.audit.settings import Settings, from_mapping
from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data import table_files
from glitchtrace.data.table_files import Dialect, Table, read_table

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# Columns of a list that count.
_LISTED = ("row", "id", "verdict", "observed", "proposed", "action", "decision", "audit")
_ACTIONS = ("relabel", "drop", "flag", "keep")
# Whether a row counts; the page writes accept and refuse, and nothing where nobody has decided.
_DECISIONS = {
    "accept": True, "accepted": True, "yes": True,
    "refuse": False, "refused": False, "no": False, "": False,
}  # fmt: skip


@dataclass(frozen=True)
class Repairs:
    """Row -> new label as text; rows to drop; row -> verdict to note."""

    labels: Mapping[int, str]
    dropped: frozenset[int]
    flagged: Mapping[int, str]


def proposed(table: "pd.DataFrame") -> Repairs:
    """The repairs that an audit proposes."""
    labels = table[table.action == "relabel"]
    flagged = table[table.action == "flag"]
    return Repairs(
        dict(zip(labels.row.tolist(), labels.proposed.tolist(), strict=True)),
        frozenset(table.row[table.action == "drop"].tolist()),
        dict(zip(flagged.row.tolist(), flagged.verdict.tolist(), strict=True)),
    )


def suffix(samples: Samples) -> str:
    """The ending of cleaned data."""
    return samples.table.suffix if samples.table is not None else ".csv"


def inputs(source: str | None, settings: Settings) -> list[str]:
    """The files and folders that an audit reads."""
    labels = settings.labels or (settings.label if source and source.endswith(".npy") else None)
    given = (source, labels, settings.trusted, settings.features, settings.probabilities)
    return [path for path in given if path]


def check_target(target: Path, given: Iterable[str]) -> None:
    """Raise GlitchtraceError where a file to be written is a folder, is one of the files ``given``, or is no UTF-8."""
    if not files.is_text(target):
        raise GlitchtraceError(f"{target}: the path is no UTF-8; give another --out")
    if target.is_dir():
        raise GlitchtraceError(f"{target}: a folder stands where a file is to be written; give another --out")
    if target.exists() and any(target.samefile(path) for path in given):
        raise GlitchtraceError(f"{target}: this is an input, which is never written over; give another --out")


def write(samples: Samples, repairs: Repairs, folder: Path, stem: str) -> Path:
    """Write the repaired data as ``folder/stem.*`` in the form of the input; returns the path.

    A text file keeps every sign but those of the repairs.  Pictures and arrays: a table of the rows that stay, with
    their labels.
    """
    target = folder / f"{stem}{suffix(samples)}"
    if samples.table is None:
        _write_list(samples, repairs, target)
    elif samples.table.dialect.delimiter:
        _write_text(samples.table, samples.label_column or "", repairs, target)
    else:
        _write_binary(samples.table, samples.label_column or "", repairs, target)
    return target


def _write_list(samples: Samples, repairs: Repairs, target: Path) -> None:
    given = samples.given()
    with (
        files.replacing(target) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        name = "file" if samples.pictures is not None else "row"
        writer.writerow([name, "label", *([FLAG] if repairs.flagged else [])])
        for row, id in enumerate(samples.ids):
            if row not in repairs.dropped:
                flag = [repairs.flagged.get(row, "")] if repairs.flagged else []
                writer.writerow([id, repairs.labels.get(row, given[row]), *flag])


def _write_text(table: Table, label: str, repairs: Repairs, target: Path) -> None:
    """Copy the records of the file as they stand, but for the cells and records that the repairs change."""
    names, observed = table.names, table.text(label)
    place = names.index(label)
    flag = names.index(FLAG) if FLAG in names and label != FLAG else None
    flagging = flag is not None or bool(repairs.flagged)
    delimiter = table.dialect.delimiter or ","
    changed = GlitchtraceError(f"{table.name}: the file has changed since it was read; run the audit again")
    with files.replacing(target) as temporary, _text(temporary, table_files.exact_codec(table)) as stream:
        row = -1 if table.dialect.header else 0
        for record, cells in table_files.records(table):
            written = record
            if cells and row < 0:
                if flagging and flag is None:
                    written = _with(record, None, FLAG, delimiter)
                row += 1
            elif cells:
                if row >= len(observed) or cells[place].lstrip("\ufeff") != observed[row].lstrip("\ufeff"):
                    raise changed
                if row in repairs.labels:
                    told = cells[place].strip()
                    new = cells[place].replace(told, repairs.labels[row], 1) if told else repairs.labels[row]
                    written = _with(written, place, new, delimiter)
                if flagging:
                    written = _with(written, flag, repairs.flagged.get(row, ""), delimiter)
                if row in repairs.dropped:
                    written = ""
                row += 1
            stream.write(written)
        if row != len(observed):
            raise changed


@contextmanager
def _text(path: Path, codec: str) -> Iterator[TextIO]:
    """A text file to write, compressed where its name says so, without a date or name in it."""
    with open(path, "wb") as raw:
        packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
        stream = io.TextIOWrapper(packed, encoding=codec, errors="backslashreplace", newline="")
        yield stream
        stream.close()


def _with(record: str, place: int | None, text: str, delimiter: str) -> str:
    """A record with another cell at a place, quoted where the old one is; None: with one more, after the last."""
    sign = re.escape(delimiter)
    cell = re.compile(rf'"[^"]*(?:""[^"]*)*("?)[^{sign}\r\n]*|[^{sign}\r\n]*')
    start = record.rfind(delimiter) + 1 if place is None and '"' not in record else 0
    number = 0
    while (
        (found := cell.match(record, start)) and number != place and record.startswith(delimiter, found.end())
    ):
        start, number = found.end() + 1, number + 1
    assert found is not None  # a cell may be empty
    end, quoted = found.end(), record.startswith('"', start)
    if quoted or any(each in text for each in (delimiter, '"', "\r", "\n")):
        text = '"{}"'.format(text.replace('"', '""'))
    if place is not None:
        return record[:start] + text + record[end:]
    closed = '"' if quoted and not found[1] else ""  # at the end of a file whose last quote is never closed
    return record[:end] + closed + delimiter + text + record[end:]


def _write_binary(table: Table, label: str, repairs: Repairs, target: Path) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import feather, parquet

    cells = table.cells.unify_dictionaries()
    place = table.names.index(label)
    column = cells.column(place)
    # Values are taken by their place: Python cannot hold every date and number that a file can.
    places = {text: row for row, text in enumerate(table.text(label))}
    new = sorted({text for text in repairs.labels.values() if text not in places})
    places |= {text: len(table) + number for number, text in enumerate(new)}
    source = np.arange(len(table))
    for row, text in repairs.labels.items():
        source[row] = places[text]
    if new:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        try:
            added = pc.cast(pa.array(new, pa.string()), kind)
        except pa.ArrowException:
            raise GlitchtraceError(
                f"{table.name}: column '{label}' of type {kind} cannot hold a new label, such as '{new[0]}'; "
                "store it as text or as floating point"
            ) from None
        column = pa.chunked_array([*pc.cast(column, kind).chunks, added], kind)
    columns = cells.columns
    columns[place] = column.take(pa.array(source))
    fields = list(table.stored or cells.schema)
    flag = table.names.index(FLAG) if FLAG in table.names and label != FLAG else None
    if flag is not None or repairs.flagged:
        flag = len(columns) if flag is None else flag
        flags = pa.array([repairs.flagged.get(row, "") for row in range(len(table))], pa.string())
        columns[flag : flag + 1] = [pa.chunked_array([flags])]
        fields[flag : flag + 1] = [pa.field(FLAG, pa.string())]
    kept = pa.array([row for row in range(len(table)) if row not in repairs.dropped], pa.int64())
    metadata = dict((table.stored or cells.schema).metadata or {})
    if len(fields) > len(table.names) and b"pandas" in metadata:
        # Of a frame whose columns have numbers for names: the new one has a word.
        metadata[b"pandas"] = json.dumps({**json.loads(metadata[b"pandas"]), "column_indexes": []}).encode()
    schema = pa.schema(fields, metadata=metadata or None)
    cells = pa.Table.from_arrays(
        [
            part if part.type == field.type else pc.cast(part, field.type)
            for part, field in zip((column.take(kept) for column in columns), fields, strict=True)
        ],
        schema=schema,
    )
    with files.replacing(target) as temporary:
        if table.suffix == ".parquet":
            parquet.write_table(cells, temporary)
        else:
            feather.write_feather(cells, str(temporary))


def apply(listed: str, audit: str | None, out: str | None) -> Path:
    """Write the data of an audit with the repairs of a list that a person has reviewed.

    ``listed``: ``issues.csv``, as written or edited, or the list that the page saved; rows of the latter count where
    ``decision`` is accept.  ``audit``: the folder of the audit, the list's own by default.  Returns the path of
    ``cleaned-reviewed.*``.  Raises GlitchtraceError where list, audit and data do not fit each other.
    """
    folder = Path(audit) if audit else Path(listed).parent
    if not (folder / "summary.json").is_file():
        raise GlitchtraceError(
            f"{folder}: no summary.json of an audit lies there; give its folder, --audit FOLDER"
        )
    summary = files.read_record(folder / "summary.json")
    try:
        source, digest = str(summary["source"] or ""), str(summary["digest"])
        settings = from_mapping({**summary["settings"], "gain_repeats": 0})
    except (KeyError, TypeError) as error:
        raise GlitchtraceError(
            f"{folder / 'summary.json'}: {error} is missing; run the audit again"
        ) from None
    if not source:
        raise GlitchtraceError(
            f"{folder}: this audit was of arrays in memory; use findings.repaired(y) there"
        )
    for path in inputs(source, settings):
        if not Path(path).exists():
            raise GlitchtraceError(
                f"{Path(path).absolute()}: the audit in {folder} read '{path}', which is not there; "
                "run apply in the folder in which the audit ran"
            )
    samples = read(source, settings)
    if samples.digest != digest:
        raise GlitchtraceError(f"{source}: the data have changed since the audit; run the audit again")
    repairs = reviewed(Path(listed), samples, digest)
    target = Path(out) if out else folder
    check_target(target / f"cleaned-reviewed{suffix(samples)}", [listed, *inputs(source, settings)])
    return write(samples, repairs, target, "cleaned-reviewed")


def reviewed(path: Path, samples: Samples, digest: str) -> Repairs:
    """The repairs of a list.  Raises GlitchtraceError, naming the line, where one cannot be."""
    columns, lines = _columns(path)
    for name in ("row", "action", "proposed"):
        if name not in columns:
            raise GlitchtraceError(
                f"{path}: column '{name}' is missing; give issues.csv or a list saved by the page"
            )
    if "audit" in columns and any(value not in ("", digest[:16]) for value in columns["audit"]):
        raise GlitchtraceError(
            f"{path}: the list belongs to another audit; give that audit's folder, --audit FOLDER"
        )
    labels, dropped, flagged = {}, set(), {}
    said: dict[int, tuple[int, str]] = {}
    observed = samples.observed()
    for number, line in enumerate(map(int, lines)):
        place = f"{path}, line {line}"
        decision = columns["decision"][number].strip() if "decision" in columns else "accept"
        if decision.lower() not in _DECISIONS:
            raise GlitchtraceError(
                f"{place}: unknown decision '{decision[:40]}'; write accept or refuse, or leave it empty"
            )
        text = columns["row"][number].strip()
        if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) >= len(samples):
            raise GlitchtraceError(
                f"{place}: row '{text[:40]}' is none of the {len(samples)} audited; correct it"
            )
        row, action = int(text), columns["action"][number].strip().lower() or "keep"
        for name, true in (("id", str(samples.ids[row])), ("observed", observed[row])):
            # A spreadsheet takes signs and separators from a number.
            bare = samples.writing.plain(true) if name == "observed" else ""
            if name in columns and not any(
                alike(columns[name][number], each) for each in (true, bare or true)
            ):
                raise GlitchtraceError(
                    f"{place}: {name} is '{columns[name][number][:40]}' where row {row} of the data has "
                    f"'{true[:40]}'; give the folder of the audit that wrote the list, --audit FOLDER, or correct it"
                )
        if not _DECISIONS[decision.lower()]:
            continue
        if action not in _ACTIONS:
            raise GlitchtraceError(f"{place}: unknown action '{action[:40]}'; known: {', '.join(_ACTIONS)}")
        if action == "relabel":
            labels[row] = _new_label(columns["proposed"][number], samples, place)
            action = f"relabel as '{labels[row][:40]}'"
        elif action == "drop":
            dropped.add(row)
        elif action == "flag":
            flagged[row] = columns["verdict"][number] if "verdict" in columns else "flagged"
        first, before = said.setdefault(row, (line, action))
        if before != action:
            raise GlitchtraceError(
                f"{path}, lines {first} and {line}: row {row} has two actions, {before} and {action}; keep one"
            )
    return Repairs(labels, frozenset(dropped), flagged)


def _columns(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The columns of a list that count, as text, by their names in small letters, and the line (n,) of each row."""
    table = read_table(path, Dialect(header=True))
    columns: dict[str, np.ndarray] = {}
    for name in table.names:
        known = name.strip().lower()
        if known not in _LISTED:
            continue
        if known in columns or name in table.doubled:
            raise GlitchtraceError(f"{path}: two columns are named '{known}'; keep one of them")
        columns[known] = table.text(name)
    return columns, table.lines


def alike(listed: str, true: str) -> bool:
    """Whether a list names an id or a label of the data: spreadsheets write numbers, of which they round long ones, and
    true or false in their own way, and the page cuts long texts short.
    """
    if listed == true:
        return True
    texts = {listed.strip().casefold(), restored(listed).strip().casefold()}
    told = true.strip().casefold()
    if told in texts or any(text.endswith("…") and told.startswith(text[:-1]) for text in texts):
        return True
    number = table_files._number(told.replace(",", "."), ".")
    for text in (each.replace(",", ".") for each in texts):
        rounded = re.fullmatch(r"-?[0-9]\.?([0-9]*)e\+[0-9]{1,3}", text)
        if table_files._number(text, ".") == (float(f"{number:.{len(rounded[1])}e}") if rounded else number):
            return True
    return False


def _new_label(text: str, samples: Samples, place: str) -> str:
    """The label that a list proposes, as the data write it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    value = restored(text)
    if not samples.numeric:
        if value not in samples.class_names:
            raise GlitchtraceError(f"{place}: '{value[:40]}' is no class of the data; correct it")
        return value
    writing = samples.writing
    if not writing.plain(value):  # a bare number, or one with a decimal point, is written as the column is
        number = table_files._number(value, writing.decimal)
        if number != number:
            raise GlitchtraceError(f"{place}: '{value[:40]}' is no number; correct it")
        value = value if writing.bare else writing.text(f"{Decimal(value.replace(writing.decimal, '.')):f}")
    if samples.table is not None and samples.table.stored is not None:
        kind = samples.table.cells.column(samples.label_column).type
        try:
            pc.cast(pa.scalar(value), kind)
        except pa.ArrowException:
            raise GlitchtraceError(
                f"{place}: '{value[:40]}' is no {kind} as column '{samples.label_column}' holds; correct it"
            ) from None
    return value.replace(".", writing.decimal) if writing.bare else value


def neutral(value: object) -> str:
    """Text that no spreadsheet takes for a formula: a leading apostrophe before the signs that begin one.

    Text that begins as such text does gets one more, so that ``restored`` gives every text again.
    """
    text = str(value)
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def restored(text: str) -> str:
    """The text behind ``neutral``."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text

"""Cleaned copies of the user's data, never over the input: labels changed, rows dropped, rows flagged."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glitchtrace.audit.samples import Samples, read
from glitchtrace.audit.settings import from_mapping
from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.table_files import Table, read_table

if TYPE_CHECKING:
    import pandas as pd

FLAG = "glitchtrace_flag"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_BLOCK = 2**14  # rows of a text file that are held as text at once
_ACTIONS = ("relabel", "drop", "flag", "keep")


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


def write(samples: Samples, repairs: Repairs, folder: Path, stem: str) -> Path:
    """Write the repaired data as ``folder/stem.*`` in the form of the input; returns the path.

    Pictures and arrays: a table of the rows that stay, with their labels.  Raises GlitchtraceError where it would
    be written over the input.
    """
    kept = np.array([row for row in range(len(samples)) if row not in repairs.dropped], dtype=np.int64)
    suffix = samples.table.suffix if samples.table is not None else ".csv"
    target = folder / f"{stem}{suffix}"
    if target.exists() and Path(samples.name).exists() and target.resolve() == Path(samples.name).resolve():
        raise GlitchtraceError(
            f"{target}: this is the input, which is never written over; give another --out"
        )
    if samples.table is None:
        observed = samples.observed()
        column = "file" if samples.pictures is not None else "row"
        names = [column, "label", *([FLAG] if repairs.flagged else [])]
        rows = (
            [
                samples.ids[row],
                repairs.labels.get(row, observed[row]),
                *([repairs.flagged.get(row, "")] * bool(repairs.flagged)),
            ]
            for row in map(int, kept)
        )
        _write_text(target, names, rows, ",", "utf-8")
    elif suffix == ".csv":
        _write_table(samples.table, samples.label_column or "", repairs, kept, target)
    else:
        _write_binary(samples, repairs, kept, target, suffix)
    return target


def _write_table(table: Table, label: str, repairs: Repairs, kept: np.ndarray, target: Path) -> None:
    names = list(table.names)
    place = names.index(label)

    def lines() -> Iterator[list[Any]]:
        for some in np.array_split(kept, len(kept) // _BLOCK + 1):
            columns = [table.text(name, some) for name in table.names]
            columns[place] = np.array(
                [
                    repairs.labels.get(row, cell)
                    for row, cell in zip(some.tolist(), columns[place], strict=True)
                ],
                dtype=object,
            )
            if repairs.flagged:
                columns.append(
                    np.array([repairs.flagged.get(row, "") for row in some.tolist()], dtype=object)
                )
            yield from map(list, zip(*columns, strict=True))

    if repairs.flagged:
        names.append(FLAG)
    header = names if table.dialect.header else None
    _write_text(target, header, lines(), table.dialect.delimiter or ",", table.dialect.encoding or "utf-8")


def _write_text(
    target: Path, names: list[str] | None, rows: Iterable[list[Any]], delimiter: str, encoding: str
) -> None:
    with (
        files.replacing(target) as temporary,
        open(temporary, "w", encoding=encoding, errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        if names is not None:
            writer.writerow(names)
        writer.writerows(rows)


def _write_binary(samples: Samples, repairs: Repairs, kept: np.ndarray, target: Path, suffix: str) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import feather, parquet

    assert samples.table is not None
    cells, label = samples.table.cells, samples.label_column or ""
    place = cells.column_names.index(label)
    column = cells.column(place)
    kind = column.type
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    # Values are taken by their place: Python cannot hold every date and number that a file can.
    places = {text: row for row, text in enumerate(samples.table.text(label))}
    new = sorted({text for text in repairs.labels.values() if text not in places})
    try:
        added = pc.cast(pa.array(new, pa.string()), plain)
    except pa.ArrowException:
        raise GlitchtraceError(
            f"{samples.name}: column '{label}' takes no new label of another type"
        ) from None
    places |= {text: len(samples) + number for number, text in enumerate(new)}
    source = np.arange(len(samples))
    for row, text in repairs.labels.items():
        source[row] = places[text]
    changed = pa.chunked_array([*pc.cast(column, plain).chunks, added], plain).take(pa.array(source))
    cells = cells.set_column(place, label, changed)
    if repairs.flagged:
        cells = cells.append_column(
            FLAG, pa.array([repairs.flagged.get(row, "") for row in range(len(samples))])
        )
    cells = cells.take(pa.array(kept))
    with files.replacing(target) as temporary:
        if suffix == ".parquet":
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
        source, digest = summary["source"], str(summary["digest"])
        settings = from_mapping({**summary["settings"], "gain_repeats": 0})
    except (KeyError, TypeError) as error:
        raise GlitchtraceError(
            f"{folder / 'summary.json'}: {error} is missing; run the audit again"
        ) from None
    if not source:
        raise GlitchtraceError(
            f"{folder}: this audit was of arrays in memory; use findings.repaired(y) there"
        )
    samples = read(source, settings)
    if samples.digest != digest:
        raise GlitchtraceError(f"{source}: the data have changed since the audit; run the audit again")
    return write(
        samples, reviewed(Path(listed), samples, digest), Path(out) if out else folder, "cleaned-reviewed"
    )


def reviewed(path: Path, samples: Samples, digest: str) -> Repairs:
    """The repairs of a list.  Raises GlitchtraceError, naming the line, where one cannot be."""
    table = read_table(path)
    for name in ("row", "action", "proposed"):
        if name not in table.names:
            raise GlitchtraceError(
                f"{path}: column '{name}' is missing; give issues.csv or a list saved by the page"
            )
    columns = {name: table.text(name) for name in table.names}
    if "audit" in columns and any(value not in ("", digest[:16]) for value in columns["audit"]):
        raise GlitchtraceError(
            f"{path}: the list belongs to another audit; give that audit's folder, --audit FOLDER"
        )
    labels, dropped, flagged = {}, set(), {}
    classes = set(samples.class_names)
    for number in range(len(table)):
        place = f"{path}, line {number + table.first_row}"
        if "decision" in columns and columns["decision"][number].strip().lower() not in (
            "accept",
            "accepted",
            "yes",
        ):
            continue
        text = columns["row"][number].strip()
        if not text.isdigit() or int(text) >= len(samples):
            raise GlitchtraceError(
                f"{place}: row '{text[:40]}' is none of the {len(samples)} audited; correct it"
            )
        row, action = int(text), columns["action"][number].strip().lower() or "keep"
        if action not in _ACTIONS:
            raise GlitchtraceError(f"{place}: unknown action '{action[:40]}'; known: {', '.join(_ACTIONS)}")
        if action == "relabel":
            value = restored(columns["proposed"][number])
            if samples.numeric:
                try:
                    float(value)
                except ValueError:
                    raise GlitchtraceError(f"{place}: '{value[:40]}' is no number; correct it") from None
            elif value not in classes:
                raise GlitchtraceError(f"{place}: '{value[:40]}' is no class of the data; correct it")
            labels[row] = value
        elif action == "drop":
            dropped.add(row)
        elif action == "flag":
            flagged[row] = columns["verdict"][number] if "verdict" in columns else "flagged"
    return Repairs(labels, frozenset(dropped), flagged)


def neutral(value: object) -> str:
    """Text that no spreadsheet takes for a formula: a leading apostrophe before the signs that begin one."""
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def restored(text: str) -> str:
    """The text behind ``neutral``."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text

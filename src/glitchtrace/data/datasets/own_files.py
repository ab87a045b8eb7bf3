"""Data of the user's own in a study: a table, arrays or a folder of pictures, named by path.

A variant is a data set: ``table_file@mine`` and ``table_file@yours`` have a source each.  What its file holds, not
when it was written, decides what runs again.
"""

import json
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.study_files import KeyedError
from glitchtrace.data import doors
from glitchtrace.data.picture_folders import SUFFIXES, read_folder, squares
from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import checksum, read_arrays
from glitchtrace.data.table_files import Column, Dialect, check_decimal, names_in_text, read_table, resolved
from glitchtrace.data.tables import MISSING, standardised

KIND = "dataset"
CARDS = {
    "array_file": {
        "summary": "Arrays of one's own in an npz file: one row of numbers per sample, and labels.",
        "modality": "table",
        "classes": None,
        "rows": {},
        "shape": None,
        "own": True,
        "licence": "that of the file",
        "citation": "none",
        "source": "your own file",
        "settings": {
            "path": {
                "type": ["string", "null"],
                "description": "The npz file, from the working directory.",
                "default": None,
            },
            "features": {
                "type": "string",
                "description": "Name of the array (n, d) of numbers.",
                "default": "features",
            },
            "labels": {
                "type": "string",
                "description": "Name of the array (n,) of labels, whole numbers or text.",
                "default": "labels",
            },
        },
    },
    "picture_folder": {
        "summary": "Pictures of one's own in a folder with a subfolder per class, made squares of one size.",
        "modality": "image",
        "classes": None,
        "rows": {},
        "shape": None,
        "own": True,
        "licence": "that of the files",
        "citation": "none",
        "source": "your own folder",
        "settings": {
            "path": {
                "type": ["string", "null"],
                "description": "The folder, from the working directory.",
                "default": None,
            },
            "side": {
                "type": "integer",
                "minimum": 8,
                "maximum": 512,
                "description": "Pixels of a side; each picture is stretched to a square, in three channels.",
                "default": 32,
            },
        },
    },
    "table_file": {
        "summary": "A table of one's own: CSV, TSV, Parquet or Feather, one row per sample.",
        "modality": "table",
        "classes": None,
        "rows": {},
        "shape": None,
        "own": True,
        "licence": "that of the file",
        "citation": "none",
        "source": "your own file",
        "settings": {
            "path": {
                "type": ["string", "null"],
                "description": "The file, from the working directory.",
                "default": None,
            },
            "label": {
                "type": ["string", "integer", "null"],
                "minimum": 0,
                "description": "The column of classes: its name, or its position from 0.",
                "default": None,
            },
            "leave_out": {
                "type": "array",
                "uniqueItems": True,
                "items": {"type": ["string", "integer"], "minimum": 0},
                "description": "Columns that no model may see.",
                "default": [],
            },
            "delimiter": {
                "type": ["string", "null"],
                "description": "Of a text file; null finds it.",
                "default": None,
            },
            "encoding": {
                "type": ["string", "null"],
                "description": "Of a text file; null finds it.",
                "default": None,
            },
            "decimal": {
                "enum": [".", ",", None],
                "description": "Decimal sign of a text file; null finds it.",
                "default": None,
            },
        },
    },
}


@dataclass(frozen=True)
class OwnReader:
    """Data of the user's own as a component.

    ``read`` gives the pool of the settings; ``rows`` how many rows it will have at most, told from names, header or
    line ends.  Both raise GlitchtraceError, one line, where the path is no such data; a KeyedError where another
    setting names what the data have not.
    """

    read: Callable[[Mapping[str, Any]], Pool]
    count: Callable[[Path, Mapping[str, Any]], int]

    def rows(self, settings: Mapping[str, Any]) -> int:
        """Rows at most, for planning; each state of a file is counted once."""
        path = Path(settings["path"])
        try:
            state = path.stat()
            return _counted(self.count, path, state.st_mtime_ns, state.st_size, json.dumps(dict(settings)))
        except OSError as error:
            raise GlitchtraceError(
                f"{path}: cannot be read ({error.strerror or error}); correct datasets.*.path"
            ) from None


@cache
def _counted(
    count: Callable[[Path, Mapping[str, Any]], int], path: Path, _changed: int, _size: int, settings: str
) -> int:
    return count(path, json.loads(settings))


# --- tables ---------------------------------------------------------------------------------------------------------


def read_table_file(settings: Mapping[str, Any]) -> Pool:
    """The rows of a table file.

    Numbers, dates (as days) and yes/no columns are numbers; a column with missing ones gets the median there, and a
    column ``… missing`` beside it.  Numbers that float32 would make the same are standardised in float64.
    Categories are codes, a missing one is the category ``missing``.  Free text, identifiers, and columns that are
    constant or empty are left out.  Raises GlitchtraceError for a row without a label, an odd cell, and where no
    column is left.
    """
    path = settings["path"]
    table = read_table(path, _dialect(settings), _wanted(settings))
    label = table.resolve(settings["label"], "label")
    left = {table.resolve(column, "leave_out") for column in settings["leave_out"]}
    if label in left:
        raise GlitchtraceError(
            f"{path}: column '{label}' is both the label and under leave_out; take it out of one"
        )
    skipped = {label, *left}
    if settings["decimal"]:
        check_decimal(table, [name for name in table.names if name not in skipped])
    columns: dict[str, np.ndarray] = {}
    categories: dict[str, tuple[str, ...]] = {}
    left_out = []
    for name in table.names:
        if name in skipped:
            continue
        column = table.feature(name)
        if column.odd:
            row, cell = next(iter(column.odd.items()))
            raise GlitchtraceError(
                f"{path}: column '{name}' is {column.role}, but {table.place(row)} holds '{cell[:40]}'; "
                "mend the cell, or list the column under leave_out"
            )
        if column.role in ("numeric", "date", "boolean"):
            columns.update(_numbers(column))
        elif column.role == "categorical":
            columns[name], categories[name] = _codes(column)
        elif column.role == "embedding":
            for place in range(column.values.shape[1]):
                columns[f"{name}[{place}]"] = column.values[:, place]
        else:
            left_out.append(f"{name} ({column.role})")
        if column.note:
            print(f"{path}: {column.note}", file=sys.stderr)
    if left_out:
        print(f"{path}: left out {', '.join(left_out)}", file=sys.stderr)
    if not columns:
        raise GlitchtraceError(f"{path}: no column of numbers or categories beside the label; add one")
    labels, classes = _labels(table.text(label), f"{path}: column '{label}'", table.place)
    _refuse_numbers(table.column(label), labels, len(classes), path)
    return Pool(
        features=np.stack(list(columns.values()), axis=1).astype(np.float32),
        labels=labels,
        class_names=classes,
        parts={"all": (0, len(table))},
        columns=tuple(columns),
        categories=categories,
        checksums={Path(path).name: checksum(Path(path), "sha256")},
    )


def _refuse_numbers(column: Column, labels: np.ndarray, classes: int, path: str) -> None:
    """Raise GlitchtraceError where a label is a column of measured numbers: some value is there once."""
    if column.role != "numeric" or np.bincount(labels).min() > 1:
        return
    whole = (column.values == np.round(column.values)).all()
    if not whole or 2 * classes > len(labels):
        raise GlitchtraceError(
            f"{path}: column '{column.name}' holds numbers, {classes} different ones in {len(labels)} rows, and no "
            "classes; set datasets.*.label to a column of classes"
        )


def _numbers(column: Column) -> dict[str, np.ndarray]:
    """A column of numbers, and where it has gaps one that says so."""
    lost = np.isnan(column.values)
    filled = np.where(lost, np.median(column.values[~lost]), column.values)
    found = {column.name: standardised(filled)}
    if lost.any():
        found[f"{column.name} missing"] = lost.astype(np.float32)
    return found


def _codes(column: Column) -> tuple[np.ndarray, tuple[str, ...]]:
    lost = column.values < 0
    names = (*column.categories, MISSING) if lost.any() else column.categories
    return np.where(lost, len(column.categories), column.values), names


def _labels(
    cells: np.ndarray, origin: str, place: Callable[[int], str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes and names of classes given as text; names that are all numbers are sorted as such."""
    texts = np.array([str(cell).strip() for cell in cells], dtype=object)
    if (texts == "").any():
        row = int((texts == "").argmax())
        raise GlitchtraceError(f"{origin}: {place(row)} has no label; drop it or fill it in")
    names = sorted(set(texts), key=lambda text: (not text.lstrip("+-").isdecimal(), text))
    if all(name.lstrip("+-").isdecimal() for name in names):
        names.sort(key=int)
    codes = {name: code for code, name in enumerate(names)}
    return np.array([codes[text] for text in texts], dtype=np.int64), tuple(names)


def _wanted(settings: Mapping[str, Any]) -> str:
    """The column of the label as text.  Raises KeyedError where none is named."""
    if settings["label"] is None:
        raise KeyedError(
            f"{settings['path']}: which column is the label is not said; set datasets.*.label", ["label"]
        )
    return str(settings["label"])


def _dialect(settings: Mapping[str, Any]) -> Dialect:
    return Dialect(settings["delimiter"], settings["encoding"], settings["decimal"])


def _count_table(path: Path, settings: Mapping[str, Any]) -> int:
    label = _wanted(settings)
    if path.suffix.lower() in (".csv", ".tsv", ".txt", ".tab"):
        with open(path, "rb") as stream:
            lines = sum(block.count(b"\n") for block in iter(lambda: stream.read(2**20), b""))
        _look_for(settings, names_in_text(path, _dialect(settings), label), of_text=True)
        return lines + 1
    if path.suffix.lower() == ".parquet":
        from pyarrow import ArrowException, parquet

        with suppress(ArrowException):  # reading says what is wrong with it
            _look_for(settings, parquet.read_schema(path).names, of_text=False)
            return int(parquet.read_metadata(path).num_rows)
    table = read_table(path, _dialect(settings), label)
    _look_for(settings, table.names, of_text=False)
    return len(table)


def _look_for(settings: Mapping[str, Any], names: Sequence[str], *, of_text: bool) -> None:
    """Raise KeyedError where the label, or a column to leave out, is none of a table's."""
    for key, columns in (("label", [settings["label"]]), ("leave_out", settings["leave_out"])):
        for column in columns:
            try:
                resolved(column, key, names, settings["path"], of_text=of_text)
            except GlitchtraceError as error:
                raise KeyedError(str(error), [key]) from None


# --- arrays ---------------------------------------------------------------------------------------------------------


def read_array_file(settings: Mapping[str, Any]) -> Pool:
    """The rows of an npz file.  Raises GlitchtraceError, naming the array, where it is missing or unusable."""
    path = Path(settings["path"])
    given, observed = read_arrays(path, (settings["features"], settings["labels"]))
    if given.ndim > 2:
        raise GlitchtraceError(
            f"{path}: {settings['features']} has shape {given.shape}; give (n, d), or pictures as a picture_folder"
        )
    features = doors.features(given, f"{path}: {settings['features']}").astype(np.float64)
    labels, classes = doors.labels(observed, f"{path}: {settings['labels']}", rows=len(features))
    return Pool(
        features=np.stack([standardised(column) for column in features.T], axis=1),
        labels=labels,
        class_names=tuple(str(name) for name in classes),
        parts={"all": (0, len(features))},
        columns=tuple(f"x{number}" for number in range(1, features.shape[1] + 1)),
        checksums={path.name: checksum(path, "sha256")},
    )


def _count_arrays(path: Path, settings: Mapping[str, Any]) -> int:
    """Rows of the two arrays, the longer of them, from their headers."""
    rows: dict[str, int] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as stream:
                    version = np.lib.format.read_magic(stream)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape = read(stream)[0]
                    rows[member.removesuffix(".npy")] = shape[0] if shape else 0
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise GlitchtraceError(f"{path}: not an npz file ({error}); write it with numpy.savez") from None
    for key in ("features", "labels"):
        if settings[key] not in rows:
            raise KeyedError(
                f"{path}: there is no array '{settings[key]}' in it, but {', '.join(rows) or 'none'}; name one of "
                "these",
                [key],
            )
    return max(rows[settings["features"]], rows[settings["labels"]])


# --- pictures -------------------------------------------------------------------------------------------------------


def read_picture_folder(settings: Mapping[str, Any]) -> Pool:
    """The pictures of a folder, uint8 (n, side, side, 3).  Raises GlitchtraceError for one that cannot be read."""
    folder, side = Path(settings["path"]), settings["side"]
    if not folder.is_dir():
        raise GlitchtraceError(f"{folder}: this is no folder; give a folder with a subfolder per class")
    pictures = read_folder(folder)
    stray = [file for file, label in zip(pictures.files, pictures.labels, strict=True) if not label]
    if stray:
        raise GlitchtraceError(f"{folder}: {stray[0]} lies in no class subfolder; move it into one")
    pixels = np.empty((len(pictures), side, side, 3), dtype=np.uint8)
    for row, square, _, fault, _ in squares(pictures, side, range(len(pictures))):
        if square is None:
            raise GlitchtraceError(f"{pictures.path(row)}: {fault}; replace or remove it")
        pixels[row] = square
    labels, classes = _labels(
        np.array(pictures.labels, dtype=object), str(folder), pictures.files.__getitem__
    )
    return Pool(
        features=pixels,
        labels=labels,
        class_names=classes,
        parts={"all": (0, len(pictures))},
        checksums={folder.name: f"crc32:{files.content(folder)}"},
    )


def _count_pictures(folder: Path, _settings: Mapping[str, Any]) -> int:
    return sum(Path(file).suffix.lower() in SUFFIXES for file in files.below(folder))


COMPONENTS = {
    "array_file": OwnReader(read_array_file, _count_arrays),
    "picture_folder": OwnReader(read_picture_folder, _count_pictures),
    "table_file": OwnReader(read_table_file, _count_table),
}

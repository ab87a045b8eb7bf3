"""The user's data as samples: ids, labels, groups, times, and what represents them."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from glitchtrace.audit.settings import DIALECT, Settings
from glitchtrace.audit.store import digest_of
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data import doors, table_files
from glitchtrace.data.table_files import Column, Dialect, Table, Writing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from glitchtrace.data.picture_folders import Pictures

FLAG = "glitchtrace_flag"  # the column of cleaned data that marks rows to look at
_FEW_VALUES = 20  # a column of at most so many whole numbers is a column of classes
_OFTEN = 10  # rows of a value, or of a class, that are no accident
_NPY = b"\x93NUMPY"  # with which such a file begins
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_MOST_CELLS = 3 * 10**8  # of a table of probabilities, rows × classes


@dataclass(frozen=True)
class Samples:
    """What is audited.

    ``labels``: (n,) codes of ``class_names``, −1 where missing; None for a numeric target.  ``target``: (n,)
    float64, NaN where missing, or None.  ``groups``: codes or None; ``times``: numbers or None.  ``hashes``: (n,)
    digest of the content of each sample without its id and label.  ``odd``: row → what is wrong with it at sight.
    ``texts``: labels (n,) of arrays as text.  ``writing``: how the numbers of a numeric target are written.
    ``unread``: (n,) whether a sample shows nothing that could be compared, None where all do.
    ``digest``: of everything that was read.  ``order_told``: see ``Target``.
    """

    kind: Literal["table", "pictures", "arrays"]
    name: str
    ids: np.ndarray
    hashes: np.ndarray
    digest: str
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    target: np.ndarray | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    group_names: np.ndarray | None = None
    columns: tuple[Column, ...] = ()
    table: Table | None = None
    label_column: str | None = None
    pictures: "Pictures | None" = None
    features: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    odd: Mapping[int, str] = field(default_factory=dict)
    unread: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    trusted: "Samples | None" = None
    order_told: bool = True
    texts: np.ndarray | None = None
    writing: Writing = field(default_factory=Writing)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def numeric(self) -> bool:
        """Whether the target is a number."""
        return self.target is not None

    def observed(self) -> np.ndarray:
        """Observed labels as text (n,), "" where missing."""
        if self.target is not None:
            told = [str(text).strip() for text in self.given()]
            return np.array(
                ["" if np.isnan(v) else t for v, t in zip(self.target, told, strict=True)], dtype=object
            )
        names = np.array([*self.class_names, ""], dtype=object)
        return names[self.labels]  # −1 is the last: ""

    def written(self, numbers: np.ndarray) -> list[str]:
        """Numbers as the numeric target is written, within what was observed of it.

        They have its decimals, but none finer than a thousandth of its spread, its decimal sign, and an exponent
        where most of its numbers have one: an integer column takes integers.
        """
        assert self.target is not None
        present = self.target[~np.isnan(self.target)]
        texts = [self.writing.plain(text) for text in self.observed() if text]
        most = float(np.abs(present).max())
        spread = float(np.std(present / most)) * most if most else 0.0
        finest = 3 - math.floor(math.log10(spread)) if spread > 0 else 0
        decimals = max(-int(Decimal(text).as_tuple().exponent) for text in set(texts))
        places = max(0, min(finest, decimals, 300))
        short = sum("e" in text.lower() for text in texts) > len(texts) / 2
        values = np.round(np.clip(numbers, present.min(), present.max()), places) + 0.0  # no −0
        return [self.writing.text(f"{v:.4g}" if short else f"{v:.{places}f}") for v in values]

    def given(self) -> np.ndarray:
        """The labels (n,) as text, as they were given."""
        if self.table is not None and self.label_column is not None:
            return self.table.text(self.label_column)
        if self.pictures is not None:
            return np.array(self.pictures.labels, dtype=object)
        assert self.texts is not None
        return self.texts


@dataclass(frozen=True)
class Target:
    """What a column of labels holds, see ``Samples``; ``odd``: row → what is wrong with its label.

    ``order_told``: whether the order of the classes follows from how they are stored.
    """

    labels: np.ndarray | None
    class_names: tuple[str, ...]
    numbers: np.ndarray | None
    notes: tuple[str, ...]
    odd: Mapping[int, str] = field(default_factory=dict)
    order_told: bool = True
    writing: Writing = field(default_factory=Writing)


def read(path: str | Path, settings: Settings, dialect: Dialect | None = None) -> Samples:
    """Samples of a file or folder.  Raises GlitchtraceError, one line, where they cannot be read."""
    path = table_files.at_hand(path)
    dialect = dialect or Dialect(settings.delimiter, settings.encoding, settings.decimal, settings.header)
    if path.is_dir():
        from glitchtrace.audit.picture_samples import read_pictures

        samples = read_pictures(path, settings, dialect)
    elif path.suffix == ".npy":
        if not settings.labels:  # the label of an array is a file, too
            settings = replace(settings, labels=settings.label, label=None)
        if not settings.labels:
            raise GlitchtraceError(f"{path}: an array needs its labels; give --labels labels.npy")
        labels = load_array(settings.labels, "labels")
        samples = from_arrays(load_array(path, "features"), labels, settings, str(path), ("labels",))
    elif table_files.is_table(path):
        if not settings.label:
            known = ", ".join(table_files.read_table(path, dialect).names[:8])
            raise GlitchtraceError(f"{path}: say which column is the label, --label COLUMN; columns: {known}")
        table = table_files.read_table(path, dialect, settings.label)
        samples = from_table(table, settings)
    else:
        known = " ".join(table_files.SUFFIXES)
        remedy = "save its sheet as CSV" if path.suffix.lower() in _SHEETS else "write it as one of these"
        raise GlitchtraceError(
            f"{path}: unknown kind of file '{path.suffix}'; {remedy} (known: a folder of pictures, .npy, {known})"
        )
    return with_extras(samples, settings)


def with_extras(samples: Samples, settings: Settings, given: Mapping[str, Any] | None = None) -> Samples:
    """The samples with the user's own features, probabilities, groups, times and trusted file, each checked.

    ``given``: what comes in memory, by the name of the setting.
    """
    arrays = dict(given or {})
    if settings.features:
        arrays["features"] = load_array(settings.features, "features")
    if settings.probabilities:
        arrays["probabilities"] = load_probabilities(settings.probabilities)
    for key, value in arrays.items():
        origin = getattr(settings, key) or key
        if key == "probabilities":
            found = check_probabilities(value, samples, origin)
            samples = replace(samples, probabilities=found, unread=None)
        else:
            found = doors.plain(value, origin)
            if key == "features":
                check_features(found, len(samples), origin)
                samples = replace(samples, features=found.astype(np.float32), unread=None)
            elif found.shape != (len(samples),):
                raise GlitchtraceError(
                    f"{key}: shape {found.shape} where the data have {len(samples)} rows; give one a row"
                )
            elif key == "group":
                groups, notes = groups_of(found)
                samples = replace(samples, groups=groups, notes=(*samples.notes, *notes))
            else:
                stored = _stored(found)
                times, notes = times_of(
                    table_files.typed("time", stored), table_files._as_text(stored), samples.name
                )
                samples = replace(samples, times=times, notes=(*samples.notes, *notes))
        samples = replace(samples, digest=digest_of(samples.digest, key, found))
    if settings.trusted:
        trusted = read_trusted(settings.trusted, samples, settings)
        if np.array_equal(trusted.hashes, samples.hashes):
            raise GlitchtraceError(
                f"{settings.trusted}: these are the audited data themselves; give others as trusted, or none"
            )
        samples = replace(samples, trusted=trusted, digest=digest_of(samples.digest, trusted.digest))
    return samples


def read_trusted(path: str | Path, samples: Samples, settings: Settings) -> Samples:
    """The samples of a trusted or test file, of the kind of ``samples``; they need no labels.

    Raises GlitchtraceError where they cannot be read, are of another kind or lack a column.
    """
    path = table_files.at_hand(path)
    kind = "pictures" if path.is_dir() else "arrays" if path.suffix == ".npy" else "table"
    if kind != samples.kind:
        raise GlitchtraceError(
            f"{path}: these are {kind}, the audited data {samples.kind}; give the same kind"
        )
    if kind == "pictures":
        from glitchtrace.audit.picture_samples import read_unlabelled

        return read_unlabelled(path)
    if kind == "arrays":
        assert samples.features is not None
        features = load_array(path, "features")
        check_features(features, None, str(path))
        if features.shape[1] != samples.features.shape[1]:
            raise GlitchtraceError(
                f"{path}: {features.shape[1]} columns where the audited array has {samples.features.shape[1]}; "
                "give the same columns"
            )
        features = features.astype(np.float32)
        hashes = hash_features(features)
        return Samples(
            "arrays",
            str(path),
            numbered(np.arange(len(features))),
            hashes,
            digest_of(hashes),
            features=features,
        )
    dialect = Dialect(settings.delimiter, settings.encoding, settings.decimal, settings.header)
    known = samples.columns[0].name if samples.columns else settings.label  # a row that holds it is a header
    table = table_files.read_table(path, dialect, known)
    columns = []
    for column in samples.columns:
        if column.name not in table.names:
            raise GlitchtraceError(
                f"{path}: column '{column.name}' is missing; give a file with the same columns"
            )
        columns.append(_like(table.column(column.name, column.role), column, len(table), str(path)))
    named = settings.id is not None and settings.id in table.names
    ids = table.text(str(settings.id)) if named else numbered(table.lines)
    hashes = hash_rows(columns, len(table))
    return Samples(
        "table", str(path), ids, hashes, digest_of(hashes, ids), columns=tuple(columns), table=table
    )


def _like(column: Column, first: Column, rows: int, origin: str) -> Column:
    """A column with the role of the audited one, whatever its own cells say."""
    if first.role == "embedding":
        if column.role != "embedding" or column.values.shape[1] != first.values.shape[1]:
            raise GlitchtraceError(
                f"{origin}: column '{first.name}' holds no lists of {first.values.shape[1]} numbers; correct it"
            )
        return column
    if len(column.values) == rows and (
        column.role == first.role or first.role not in ("categorical", "text")
    ):
        return replace(column, role=first.role)
    empty: dict[str, np.ndarray] = {
        "categorical": np.full(rows, -1, dtype=np.int32), "text": np.full(rows, "", dtype=object)
    }  # fmt: skip
    return Column(first.name, first.role, empty.get(first.role, np.full(rows, np.nan)))


def from_table(table: Table, settings: Settings) -> Samples:
    """Samples of a table; roles of columns are found where they are not given."""
    assert settings.label is not None
    text = DIALECT if table.dialect.delimiter or settings.trusted else ()
    data = "a text file" if table.dialect.delimiter else "a table whose columns are typed"
    settings.refuse_idle(table.name, data, ("label", "id", "group", "time", "text", "drop", *text))
    if len(table) < 2:
        raise GlitchtraceError(f"{table.name}: {len(table)} row; an audit compares rows: give at least two")
    label = table.resolve(settings.label, "label")
    special = {"label": label}
    for option in ("id", "group", "time"):
        given = getattr(settings, option)
        if given is not None:
            special[option] = table.resolve(given, option)
            if special[option] == label:
                raise GlitchtraceError(
                    f"{table.name}: column '{label}' is both the label and the {option}; choose another"
                )
    dropped = {table.resolve(name, "drop") for name in settings.columns_of("drop")}
    texts = {table.resolve(name, "text") for name in settings.columns_of("text")}
    if settings.decimal:
        used = [name for name in table.names if name not in (*special.values(), *dropped, *texts)]
        table_files.check_decimal(table, used)
    for option, named in (("drop", dropped & {label}), ("text", texts & {label, *dropped})):
        for name in sorted(named):
            other = "the label" if name == label else "dropped"
            raise GlitchtraceError(
                f"{table.name}: column '{name}' is {other}, so {option} has no effect on it; leave it out there"
            )
    notes: list[str] = []
    if table.dialect.delimiter:
        sign = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}.get(table.dialect.delimiter)
        notes.append(
            f"Read as text: delimiter {sign or table.dialect.delimiter}, encoding {table.dialect.encoding}, "
            f"decimal {'comma' if table.dialect.decimal == ',' else 'point'}, "
            f"{'with' if table.dialect.header else 'without'} header."
        )
    notes += [
        f"More than one column is named '{name}': the first is meant by it, the next is '{name} (2)'."
        for name in table.doubled
    ]
    columns: list[Column] = []
    for name in table.names:
        if name == label or name in dropped or name in (special.get("id"), special.get("group")):
            continue
        if name == FLAG:
            notes.append(
                f"Column '{name}' is of an earlier audit: it is not used, and written anew in cleaned data."
            )
            continue
        column = table.feature(name, "text" if name in texts else None)
        if column.note:
            notes.append(column.note)
        if column.role in ("identifier", "constant", "empty", "unusable"):
            notes.append(f"Column '{name}' is not used as a feature: {_WHY[column.role]}.")
        else:
            columns.append(column)
    if not columns and not settings.features and not settings.probabilities:
        raise GlitchtraceError(
            f"{table.name}: no column but the label can be used; give at least one with values that differ"
        )
    observed = table.text(label)
    # A text file does not say whether its labels are numbers or text.
    stored = None if table.dialect.delimiter else table_files.holds_numbers(table.cells.column(label).type)
    role: table_files.Role | None = "numeric" if settings.task == "numbers" else None
    found = targets(table.column(label, role), observed, settings, table.name, label, stored)
    notes += found.notes
    notes += [_TELLING.format(name) for name in _telling(columns, found)]
    ids = table.text(special["id"]) if "id" in special else numbered(table.lines)
    if "id" in special and len(set(ids)) < len(ids):
        notes.append(f"Column '{special['id']}' does not tell all rows apart; the column row does.")
    groups = times = None
    if "group" in special:
        groups, alone = groups_of(table.text(special["group"]))
        notes += alone
    if "time" in special:
        times, undated = times_of(table.column(special["time"]), table.text(special["time"]), table.name)
        notes += undated
    odd = dict(found.odd)
    for column in columns:
        kind = {"date": "dates", "embedding": "embeddings"}.get(column.role, "numbers")
        for row, cell in column.odd.items():
            held = f"'{cell[:40]}'" if cell else "nothing"
            odd.setdefault(row, f"column '{column.name}' holds {held} where other rows hold {kind}")
    hashes = hash_rows(columns, len(table))
    digest = digest_of(hashes, observed, ids, [table.names, label], groups, times)
    unread = _unread(columns, len(table))
    # What shows nothing equals nothing: each such row has a content of its own.
    hashes[unread] = np.flatnonzero(unread)
    for row in map(int, np.flatnonzero(unread)):
        odd.setdefault(row, "none of its columns holds a value")
    if unread.any():
        notes.append(
            f"Rows of which no column holds a value: {int(unread.sum())}; they train nothing and equal nothing."
        )
    return Samples(
        "table", table.name, ids, hashes, digest, found.labels, found.class_names, found.numbers, groups, times,
        table.text(special["group"]) if "group" in special else None, tuple(columns), table, label, odd=odd,
        unread=unread if unread.any() else None, notes=tuple(notes), order_told=found.order_told, writing=found.writing,
    )  # fmt: skip


def _unread(columns: Sequence[Column], rows: int) -> np.ndarray:
    """Which rows (n,) show nothing: no column holds a value of them."""
    unread = np.full(rows, bool(columns))
    for column in columns:
        unread &= column.missing()
    return unread


_WHY = {
    "identifier": "nearly every row has its own value",
    "constant": "it holds one value",
    "empty": "it holds no values",
    "unusable": "its type is not read",
}


_TELLING = (
    "Column '{}' alone tells the label of every row: where it was made from the label it holds its errors too, and "
    "they cannot be found; then leave it out (drop)."
)


def _telling(columns: Sequence[Column], found: Target) -> Iterator[str]:
    """Names of columns that tell the label of every row, by few values or, of a numeric target, as a line."""
    target = found.labels if found.labels is not None else found.numbers
    assert target is not None
    rows = np.flatnonzero(target >= 0 if found.labels is not None else ~np.isnan(target))
    if found.labels is not None and (np.bincount(target[rows]) >= _OFTEN).sum() < 2:
        return
    for column in columns:
        if column.role not in ("numeric", "categorical", "boolean", "date"):
            continue
        tells = _tells_class if found.labels is not None else _tells_number
        # Hardly any column passes the first rows, which cost next to nothing.
        if all(tells(column.values[some], target[some]) for some in (rows[: 100 * _OFTEN], rows)):
            yield column.name


def _tells_class(values: np.ndarray, labels: np.ndarray) -> bool:
    import pandas as pd

    codes, distinct = pd.factorize(values, use_na_sentinel=False)
    if not 2 <= len(distinct) <= len(values) / _OFTEN:
        return False
    one = np.empty(len(distinct), dtype=labels.dtype)
    one[codes] = labels
    return bool((one[codes] == labels).all())


def _tells_number(values: np.ndarray, numbers: np.ndarray) -> bool:
    with np.errstate(all="ignore"):  # what is beyond all bounds tells nothing
        x, y = (each - each.mean() for each in (values, numbers))
        x, y = x / np.abs(x).max(), y / np.abs(y).max()
        return bool(abs(x @ y) > (1 - 1e-9) * np.sqrt((x @ x) * (y @ y)) > 0)


def from_arrays(
    X: Any, y: Any, settings: Settings, name: str = "arrays", used: Sequence[str] = ()
) -> Samples:
    """Samples of features (n, d) and labels (n,), scikit-learn's conventions; a frame is read as a table.

    ``used``: settings that have had their effect.
    """
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        if getattr(X.columns, "nlevels", 1) > 1:
            raise GlitchtraceError(
                "X: columns of several levels are not read; give one name a column, "
                "frame.columns = ['_'.join(map(str, name)) for name in frame.columns]"
            )
        frame = X.copy(deep=False)
        label = settings.label
        if y is not None:
            if label is not None:
                raise GlitchtraceError(f"label: '{label}' is one, and y is another; give one of the two")
            label = "label" if "label" not in frame.columns else "label (y)"
            values = _labels(y)
            _aligned(len(values), len(frame), "labels")
            frame[label] = [None if doors.is_missing(v) else v for v in values.tolist()]
        if label is None:
            raise GlitchtraceError(
                "audit: say which labels to judge: audit(X, y), or audit(frame, label='column')"
            )
        if len(frame) == 0:
            raise GlitchtraceError("X: the frame has no rows; give at least two")
        return from_table(table_files.from_frame(frame, name), replace(settings, label=label))
    settings.refuse_idle(name, "arrays", used)
    features = doors.plain(X, name)
    if features.ndim != 2:
        raise GlitchtraceError(f"{name}: features of shape {features.shape}; give a matrix (rows, columns)")
    check_features(features, None, name)
    if y is None:
        raise GlitchtraceError("audit: say which labels to judge: audit(X, y)")
    values = _labels(y)
    _aligned(len(values), len(features), "labels")
    features = features.astype(np.float32)
    stored = _stored(values)
    column = table_files.typed("labels", stored, role="numeric" if settings.task == "numbers" else None)
    observed = table_files._as_text(stored)
    found = targets(column, observed, settings, name, "labels", table_files.holds_numbers(stored.type))
    hashes = hash_features(features)
    return Samples(
        "arrays", name, numbered(np.arange(len(features))), hashes, digest_of(hashes, observed), found.labels,
        found.class_names, found.numbers, features=features, odd=found.odd, notes=found.notes,
        texts=observed, writing=found.writing,
    )  # fmt: skip


def as_text(values: np.ndarray) -> np.ndarray:
    """Labels (n,) as the text by which an audit knows them."""
    return table_files._as_text(_stored(values))


def _stored(values: np.ndarray) -> "pa.ChunkedArray":
    """Values (n,) as cells of a table."""
    import pyarrow as pa

    try:
        return pa.chunked_array([pa.array(values, from_pandas=True)])
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        texts = [None if doors.is_missing(value) else str(value) for value in values.tolist()]
        return pa.chunked_array([pa.array(texts, pa.string())])


def _labels(y: Any) -> np.ndarray:
    """Labels (n,), one a row."""
    # As objects: nullable integers of pandas become floating-point numbers otherwise.
    values = doors.plain(y.astype(object) if hasattr(y, "iloc") else y, "labels")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise GlitchtraceError(f"labels: shape {values.shape}; give one label a row")
    if values.dtype.kind in "cV":
        raise GlitchtraceError(f"labels: type {values.dtype}; a label is a number or text")
    return values


def targets(
    column: Column, observed: np.ndarray, settings: Settings, origin: str, name: str, stored: bool | None
) -> Target:
    """Classes or numbers of the label column, as the data say.

    Only an empty cell is a missing label: "none", "-" or "NA" may be the name of a class.  ``stored``: whether the
    labels are stored as numbers, None of a text file, which does not say.  Classes have the order of ``np.unique``.
    """
    stripped = np.array([str(value).strip() for value in observed], dtype=object)
    missing = stripped == ""
    if missing.all():
        raise GlitchtraceError(f"{origin}: column '{name}' holds no labels; choose another column")
    notes = []
    if missing.any():
        notes.append(f"Rows without a label: {int(missing.sum())}; they get a proposal and train nothing.")
    numbers = (
        column.values
        if column.role in ("numeric", "constant") and len(column.values) == len(observed)
        else None
    )
    if settings.task == "numbers" and (numbers is None or column.role != "numeric"):
        raise GlitchtraceError(
            f"{origin}: column '{name}' holds no numbers that differ; set task: classes, or choose another"
        )
    distinct = len(set(stripped[~missing]))
    numeric = settings.task == "numbers"
    if settings.task == "auto" and column.role == "numeric" and numbers is not None:
        present = numbers[~np.isnan(numbers)]
        whole = bool(np.all(present == np.round(present)))
        numeric = distinct > _FEW_VALUES and (not whole or distinct > 0.05 * len(present))
    if numeric:
        assert numbers is not None
        notes.append(
            f"Column '{name}' holds numbers: they are judged by their residuals, the counterpart of wrong classes."
        )
        notes += [column.note] if column.note else []
        odd = np.flatnonzero(np.isnan(numbers) & ~missing)
        if 2 * len(odd) > (~missing).sum():
            raise GlitchtraceError(
                f"{origin}: {len(odd)} of {int((~missing).sum())} labels in column '{name}' are no finite numbers: "
                f"{table_files.counted(stripped[odd])}; write them as numbers, or set task: classes"
            )
        if len(odd):
            notes.append(
                f"Labels that are no finite numbers ({len(odd)}): {table_files.counted(stripped[odd])}."
            )
        return Target(
            None, (), numbers.astype(np.float64), tuple(notes),
            {int(row): f"its label '{stripped[row][:40]}' is no finite number" for row in odd}, writing=column.writing,
        )  # fmt: skip
    if distinct > max(2, 0.5 * (~missing).sum()) and distinct > 20:
        mostly = np.mean([_is_number(value) for value in stripped[~missing]]) > 0.5
        remedy = ", or set task: numbers for a numeric target" if mostly else ""
        raise GlitchtraceError(
            f"{origin}: column '{name}' holds {distinct} values in {len(observed)} rows, too many for classes; "
            f"choose another column{remedy}"
        )
    names = sorted(set(stripped[~missing]))
    if len(names) * len(observed) > _MOST_CELLS:
        raise GlitchtraceError(
            f"{origin}: {len(names)} classes × {len(observed)} rows do not fit memory; audit a part"
        )
    told = True
    if stored is not False and all(map(_is_number, names)):
        by_value = sorted(names, key=lambda text: (table_files._number(text, ","), text))
        told, names = stored is True or names == by_value, by_value
    position = {value: code for code, value in enumerate(names)}
    labels = np.array(
        [-1 if gone else position[v] for v, gone in zip(stripped, missing, strict=True)], dtype=np.int64
    )
    sizes = np.bincount(labels[labels >= 0], minlength=len(names))
    notes += _notes_on_classes(names, sizes.tolist())
    return Target(labels, tuple(names), None, tuple(notes), order_told=told)


def _notes_on_classes(names: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """Names that may mean "missing", and names that may be one: the user knows, the data do not."""
    notes = []
    said = [f"'{name[:40]}' ({size} row{'s' * (size != 1)})" for name, size in zip(names, sizes, strict=True)]
    words = [text for name, text in zip(names, said, strict=True) if table_files._is_missing(name)]
    if words:
        notes.append(
            f"A class like any other is {_few(words)}; if it means that the label is missing, leave it empty."
        )
    alike: dict[Any, list[str]] = {}
    for name, text in zip(names, said, strict=True):
        number = table_files._number(name, ".")
        alike.setdefault("".join(name.split()).casefold() if number != number else number, []).append(text)
    variants = [" and ".join(texts) for texts in alike.values() if len(texts) > 1]
    if variants:
        notes.append(
            f"Classes that differ in capitals, spaces or the writing of a number only: {_few(variants)}; "
            "if they are one, write them alike."
        )
    return notes


def _is_number(text: str) -> bool:
    value = table_files._number(text, ",")
    return value == value


def _few(texts: Sequence[str], most: int = 5) -> str:
    """The first of some texts, and how many more there are."""
    return "; ".join(texts[:most]) + (f"; and {len(texts) - most} more" if len(texts) > most else "")


def numbered(places: np.ndarray) -> np.ndarray:
    """Ids of rows without an id column: where they stand."""
    return np.array([str(place) for place in places.tolist()], dtype=object)


def groups_of(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Codes (n,) of groups, and notes; a row without group is a group of its own."""
    cells = np.asarray(values, dtype=str)
    found, inverse = np.unique(cells, return_inverse=True)
    codes = inverse.astype(np.int64)
    lone = np.array([table_files._is_missing(value) for value in found])[codes]
    codes[lone] = len(found) + np.arange(int(lone.sum()))
    words = cells[lone & (np.char.str_len(cells) > 0)]
    if not len(words):
        return codes, []
    return codes, [f"Taken for no group, so that each such row stands alone: {table_files.counted(words)}."]


def times_of(column: Column, cells: np.ndarray, origin: str) -> tuple[np.ndarray, list[str]]:
    """Times (n,) as numbers, NaN where there is none, and notes; ``cells``: (n,) the column as text.

    Raises GlitchtraceError where a column holds neither dates nor numbers, or a single time.
    """
    if column.role in ("constant", "empty"):
        what = "one time alone" if column.role == "constant" else "no time"
        raise GlitchtraceError(
            f"{origin}: column '{column.name}' holds {what}, so no row has a past; choose another, or leave time out"
        )
    if column.role not in ("date", "numeric"):
        row = table_files.first_undated(cells)
        raise GlitchtraceError(
            f"{origin}: column '{column.name}', row {row} holds '{str(cells[row])[:40]}', neither a number nor a date "
            f"of a form known ({table_files.DATE_FORMS}) and common to all; correct it, or choose another time column"
        )
    lost = np.flatnonzero(np.isnan(column.values))
    if not len(lost):
        return column.values, []
    return column.values, [
        f"Rows without a time: {len(lost)} (the first: row {lost[0]}); their labels are not judged and judge none."
    ]


def hash_rows(columns: Sequence[Column], rows: int) -> np.ndarray:
    """A digest (n,) uint64 of the typed cells of each row: 1 and 1.0 are one number."""
    import pandas as pd

    total = np.zeros(rows, dtype=np.uint64)
    for column in columns:
        if column.role == "embedding":
            each = np.array(
                [
                    int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), "little")
                    for row in column.values
                ],
                dtype=np.uint64,
            )
        elif column.role == "categorical":
            names = pd.util.hash_array(np.array([*column.categories, ""], dtype=object), categorize=False)
            each = names[column.values]
        elif column.role == "text":
            each = pd.util.hash_array(column.values, categorize=True)
        else:
            values = column.values if len(column.values) == rows else np.full(rows, np.nan)
            each = pd.util.hash_array(values.astype(np.float64) + 0.0)
        total = total * np.uint64(0x9E3779B97F4A7C15) + each
    return total


def hash_features(features: np.ndarray) -> np.ndarray:
    """A digest (n,) of each row of an array."""
    return np.array(
        [hashlib.blake2b(row.tobytes(), digest_size=8).hexdigest() for row in features], dtype=object
    )


def load_array(path: str | Path, what: str) -> np.ndarray:
    """An array from ``.npy``.  Raises GlitchtraceError where it is none."""
    path = table_files.at_hand(path)
    try:
        with open(path, "rb") as stream:
            begun = stream.read(len(_NPY))
        array: np.ndarray = np.load(path, allow_pickle=False) if begun == _NPY else np.empty(0)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())[:160]
        remedy = "give a .npy file"
        if "Object arrays" in reason:
            reason, remedy = (
                "it holds Python objects",
                "save it as text or numbers, such as array.astype(str)",
            )
        raise GlitchtraceError(f"{path}: no array of {what} ({reason}); {remedy}") from None
    if begun != _NPY:
        raise GlitchtraceError(f"{path}: no array of {what}; give a .npy file, written by numpy.save")
    return array


def check_features(features: np.ndarray, rows: int | None, origin: str) -> None:
    """Raise GlitchtraceError unless features are finite numbers (n, d) for all rows."""
    if features.ndim != 2 or not (np.issubdtype(features.dtype, np.number) or features.dtype == bool):
        raise GlitchtraceError(
            f"{origin}: features of shape {features.shape} and type {features.dtype}; give numbers (n, d)"
        )
    if np.iscomplexobj(features):
        raise GlitchtraceError(f"{origin}: features are complex; give real numbers")
    if rows is not None:
        _aligned(len(features), rows, origin)
    if len(features) < 2 or features.shape[1] < 1:
        raise GlitchtraceError(
            f"{origin}: features of shape {features.shape}; give at least two rows and one column"
        )
    doors.single(features, origin)


def load_probabilities(path: str) -> "np.ndarray | pd.DataFrame":
    """Probabilities from ``.npy``, or from a table whose columns are named by the classes."""
    if not table_files.is_table(Path(path)):
        return load_array(path, "probabilities")
    import pandas as pd

    table = table_files.read_table(path, Dialect(header=True))
    columns = {name: table.column(name, "numeric").values for name in table.names}
    nothing = np.full(len(table), np.nan)
    return pd.DataFrame(
        {name: values if len(values) == len(table) else nothing for name, values in columns.items()}
    )


def check_probabilities(given: Any, samples: Samples, origin: str) -> np.ndarray:
    """Probabilities (n, K) float64 with rows that sum to one, or GlitchtraceError.

    Columns of a table that are named by the classes are taken by their names, others in the order of the classes.
    """
    if samples.labels is None:
        raise GlitchtraceError(
            f"{origin}: probabilities belong to classes, the labels are numbers; set task: classes"
        )

    if not samples.order_told and doors.named_columns(given, samples.class_names, origin, as_text) is None:
        raise GlitchtraceError(
            f"{origin}: classes such as '{samples.class_names[-1]}' stand in another order as numbers than as text; "
            "give a table (CSV, Parquet, frame) whose columns are named by the classes"
        )
    found = doors.plain(doors.in_order(given, samples.class_names, origin, as_text), origin)
    wanted = (len(samples), len(samples.class_names))
    if found.shape != wanted:
        raise GlitchtraceError(
            f"{origin}: shape {found.shape}, wanted {wanted}: rows × classes in the order of np.unique; correct it"
        )
    values = np.maximum(doors.probabilities(found, origin).astype(np.float64), 0)
    result: np.ndarray = values / values.sum(axis=1, keepdims=True)
    return result


def _aligned(found: int, rows: int, origin: str) -> None:
    if found != rows:
        raise GlitchtraceError(
            f"{origin}: {found} rows where the data have {rows}; give one a row, in the same order"
        )

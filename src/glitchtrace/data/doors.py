"""The doors: what enters as an array is checked here, once, and trusted behind.

Every function takes what a user or a file gives, and returns an array of one fixed type and shape, or raises
GlitchtraceError that names the argument, the row where there is one, and the remedy.  ``name`` is what the caller calls
the argument; ``rows`` the number of samples that it must have, None where it decides the number itself.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError

# Rows of probabilities may miss 1 by what float16 rounds of a thousand classes.
_SUM_TOLERANCE = 2e-3
# Whole numbers up to here are exact in float64.
_EXACT = 2**53
# Entries of a sparse matrix that is made dense, which then takes 8 GB.
_MOST_DENSE = 10**9
# What single precision may change of a column, in its standard deviations; columns that are looked at together.
_MOST_LOST, _COLUMNS = 1e-2, 64
# Features beyond overflow in products of two rows.
_LARGEST = {np.dtype(np.float32): 1e17, np.dtype(np.float64): 1e150}


def labels(given: Any, name: str = "labels", *, rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels of n samples, as codes (n,) int64 in 0 … K−1, and the K sorted classes that they stand for.

    Integers, booleans and text are labels; so are floats that are whole numbers.  Raises GlitchtraceError for another
    shape, no sample, a missing label (NaN, None) and a number that is not whole.
    """
    array = _vector(given, name, rows)
    if array.dtype.kind == "O":
        array = _of_one_type(array.tolist(), name)
    if array.dtype.kind == "f":
        wide = array.astype(np.float64)
        whole = np.isfinite(wide) & (wide == np.rint(wide)) & (np.abs(wide) <= _EXACT)
        if not whole.all():
            row = int(np.argmin(whole))
            raise GlitchtraceError(
                f"{name}: row {row} is {array[row]}; a label is a whole number or text, above 2**53 an integer"
            )
        array = array.astype(np.int64)
    if array.dtype.kind not in "iubUS":
        raise GlitchtraceError(f"{name} has type {array.dtype}; a label is a whole number or text")
    if array.dtype.kind in "US":
        empty = np.char.str_len(array) == 0
        if empty.any():
            raise GlitchtraceError(f"{name}: row {int(np.argmax(empty))} has no label; drop it or fill it in")
    classes, codes = np.unique(array, return_inverse=True)
    return codes.astype(np.int64), classes


def codes(given: Any, classes: int, name: str = "labels", *, rows: int | None = None) -> np.ndarray:
    """Labels that are already columns of probabilities, (n,) int64 in 0 … K−1.

    ``classes`` is K.  Raises GlitchtraceError for anything else, naming the first row.
    """
    array = _vector(given, name, rows)
    if array.dtype.kind not in "iu":
        raise GlitchtraceError(f"{name} has type {array.dtype}; give the columns 0 to {classes - 1}")
    outside = (array < 0) | (array >= classes)
    if outside.any():
        row = int(np.argmax(outside))
        raise GlitchtraceError(
            f"{name}: row {row} is {array[row]}; with {classes} classes a label is 0 to {classes - 1}"
        )
    return array.astype(np.int64)


def probabilities(
    given: Any, name: str = "probabilities", *, rows: int | None = None, classes: int | None = None
) -> np.ndarray:
    """Class probabilities (n, K), float32 where they come in single or half precision, else float64.

    Raises GlitchtraceError for another shape, fewer than two classes, a value outside 0 … 1 or not finite, and a row
    that does not sum to 1.
    """
    array = _floats(_matrix(_numbers(given, name), name, rows))
    if classes is not None and array.shape[1] != classes:
        raise GlitchtraceError(
            f"{name} has {array.shape[1]} columns for {classes} classes; give one per class"
        )
    if array.shape[1] < 2:
        raise GlitchtraceError(
            f"{name} has {array.shape[1]} column; give one per class, at least two (of two classes both)"
        )
    _finite(array, name)
    if array.size and (array.min() < -_SUM_TOLERANCE or array.max() > 1 + _SUM_TOLERANCE):
        row = int(np.argmax((array < -_SUM_TOLERANCE).any(axis=1) | (array > 1 + _SUM_TOLERANCE).any(axis=1)))
        raise GlitchtraceError(
            f"{name}: row {row} holds a value outside 0 to 1; give probabilities, not logits (apply a softmax)"
        )
    sums = array.sum(axis=1, dtype=np.float64)
    wrong = np.abs(sums - 1) > _SUM_TOLERANCE
    if wrong.any():
        row = int(np.argmax(wrong))
        raise GlitchtraceError(f"{name}: row {row} sums to {sums[row]:.4g}; probabilities of a row sum to 1")
    return array


def checkpoints(
    given: Any, name: str = "probabilities", *, rows: int | None = None, classes: int | None = None
) -> tuple[np.ndarray, ...]:
    """Class probabilities at T checkpoints, each (n, K): from one array (n, K), from (T, n, K) or a list of (n, K).

    Raises GlitchtraceError as ``probabilities``, and where there is no checkpoint.
    """
    parts = of_checkpoints(given, name)
    if parts is None:
        return (probabilities(given, name, rows=rows, classes=classes),)
    found = [
        probabilities(part, f"{name}[{place}]", rows=rows, classes=classes)
        for place, part in enumerate(parts)
    ]
    if len({part.shape for part in found}) > 1:
        raise GlitchtraceError(
            f"{name}: the checkpoints have different shapes; give the same rows and classes"
        )
    return tuple(found)


def class_names(given: Any, columns: int, name: str = "classes") -> np.ndarray:
    """The label of each of K columns of probabilities, (K,).

    ``columns`` is K.  Raises GlitchtraceError for another number of them, a missing one, and one that stands twice.
    """
    array = _vector(given, name, None)
    if len(array) != columns:
        raise GlitchtraceError(
            f"{name}: {len(array)} names for {columns} columns of probabilities; give one each"
        )
    codes_of, distinct = labels(array, name)
    if len(distinct) < columns:
        twice = distinct[int(np.argmax(np.bincount(codes_of)))].item()
        raise GlitchtraceError(f"{name}: {twice!r} stands twice; give each column a label of its own")
    result: np.ndarray = distinct[codes_of]
    return result


def named_columns(
    given: Any,
    labels: Sequence[Any],
    name: str = "probabilities",
    read: Callable[[np.ndarray], np.ndarray] = lambda names: names,
) -> list[Any] | None:
    """The names of the columns of a table, as labels, where every label has one; None of an array and of other names.

    Columns that are only numbered have no names.  ``read``: makes labels of the names.  Raises GlitchtraceError where
    some labels have a column and others none, and for a label that two columns have.
    """
    if not hasattr(given, "columns") or list(given.columns) == list(range(len(given.columns))):
        return None
    names = np.empty(len(given.columns), dtype=object)
    for place, column in enumerate(given.columns):  # one by one: a name may be a tuple
        names[place] = column
    found: list[Any] = read(names).tolist()
    lacking = [label for label in labels if label not in found]
    if len(lacking) == len(labels):
        return None
    if lacking:
        raise GlitchtraceError(f"{name}: no column is named '{lacking[0]}'; give all that are needed")
    twice = [label for label in labels if found.count(label) > 1]
    if twice:
        raise GlitchtraceError(f"{name}: two columns are named '{twice[0]}'; give each a name of its own")
    return found


def in_order(
    given: Any,
    wanted: Sequence[Any],
    name: str = "probabilities",
    read: Callable[[np.ndarray], np.ndarray] = lambda names: names,
) -> Any:
    """A table as an array of the columns that are wanted, in this order, where it names them; of a list, each table.

    Arrays, and tables with other names, keep their order.  Raises GlitchtraceError as ``named_columns``.
    """
    parts = _tables(given, name)
    if list(parts) != [name]:
        return [in_order(part, wanted, key, read) for key, part in parts.items()]
    if not hasattr(given, "columns"):
        return given
    named = named_columns(given, wanted, name, read)
    array = plain(given, name)
    return array if named is None else array[:, [named.index(column) for column in wanted]]


def names_of(own: np.ndarray, **given: Any) -> np.ndarray | None:
    """The sorted names of the columns of the first table that is named by labels, (K,); None where none is.

    Raises GlitchtraceError where such a table has another order and stands beside an array, whose columns have none.
    """
    parts = {name: table for several, part in given.items() for name, table in _tables(part, several).items()}
    named = {name: named_columns(table, own.tolist(), name) for name, table in parts.items()}
    named = {name: columns for name, columns in named.items() if columns is not None}
    if not named:
        return None
    first = next(iter(named))
    found = labels(named[first], f"columns of {first}")[1]
    moved = [name for name, columns in named.items() if columns != found.tolist()]
    bare = [
        name
        for name, table in parts.items()
        if name not in named and table is not None and list(getattr(table, "columns", ())) != found.tolist()
    ]
    if moved and bare:
        raise GlitchtraceError(
            f"{bare[0]}: its columns have no names, and those of {moved[0]} name the classes in another order than "
            "the sorted one; name both, or give classes="
        )
    return found


def _tables(given: Any, name: str) -> dict[str, Any]:
    """What is given, by its name; of a list of tables each one."""
    if isinstance(given, list | tuple) and any(hasattr(part, "columns") for part in given):
        return {f"{name}[{place}]": part for place, part in enumerate(given)}
    return {name: given}


def of_checkpoints(given: Any, name: str) -> list[Any] | None:
    """The arrays of T checkpoints, from (T, n, c) or a list of (n, c); None of what is one array.

    Raises GlitchtraceError where there is no checkpoint.
    """
    several = (
        isinstance(given, list | tuple)
        and len(given)
        and all(
            getattr(part, "ndim", None) == 2 or (isinstance(part, list | tuple) and _ndim(part) == 2)
            for part in given
        )
    )
    if not several and _ndim(given) != 3:
        return None
    if not len(given):
        raise GlitchtraceError(f"{name} holds no checkpoint; give at least one")
    return list(given)


def features(given: Any, name: str = "features", *, rows: int | None = None) -> np.ndarray:
    """One row of numbers per sample, (n, d): float32 where it comes in single or half precision, else float64.

    More dimensions (pictures) are flattened.  Raises GlitchtraceError as ``check_features``.
    """
    return _floats(check_features(given, name, rows=rows))


def check_features(given: Any, name: str = "features", *, rows: int | None = None) -> np.ndarray:
    """The same in the type that it comes in, checked and not converted.

    Raises GlitchtraceError for another shape, no column, values that are missing, not finite, or too large for
    products or exactness, and for text.
    """
    array = _numbers(given, name)
    if array.ndim > 2:
        array = array.reshape(len(array), -1)
    array = _matrix(array, name, rows)
    if not array.shape[1]:
        raise GlitchtraceError(f"{name} has no column; give at least one number per sample")
    _finite(array, name)
    exact = array.dtype.kind in "iub"
    limit = _EXACT if exact else _LARGEST[_float_type(array.dtype)]
    if array.dtype.kind != "b" and max(float(array.max()), -float(array.min())) > limit:
        row = int(np.argmax((np.abs(array.astype(np.float64)) > limit).any(axis=1)))
        reason = "floating-point numbers do not keep it" if exact else "products of rows overflow"
        raise GlitchtraceError(
            f"{name}: row {row} holds a value beyond {limit:.0e}, and {reason}; shift or scale the column"
        )
    return array


def single(array: np.ndarray, name: str) -> np.ndarray:
    """Features (n, d) in single precision, float32.

    Raises GlitchtraceError for a value that is not finite in it, and a column whose values it does not tell apart.
    """
    with np.errstate(over="ignore"):
        result = array.astype(np.float32)
    if not np.isfinite(result).all():
        row, column = map(int, np.argwhere(~np.isfinite(result))[0])
        value = array[row, column]
        large = np.isfinite(value)
        reason = "too large for single precision; scale the column" if large else "not finite; replace it"
        raise GlitchtraceError(f"{name}, row {row}, column {column}: {value} is {reason}")
    for first in range(0, array.shape[1] if array.dtype.itemsize > 4 else 0, _COLUMNS):
        wide = array[:, first : first + _COLUMNS].astype(np.float64)
        lost = np.abs(result[:, first : first + _COLUMNS] - wide).max(axis=0) > _MOST_LOST * wide.std(axis=0)
        lost &= np.ptp(wide, axis=0) > 0
        if lost.any():
            raise GlitchtraceError(
                f"{name}, column {first + int(lost.argmax())}: its values differ by less than single precision keeps; "
                "subtract their mean and scale them"
            )
    return result


def rates(given: Any, checkpoints: int, name: str = "learning_rates") -> np.ndarray:
    """The weight of each of T checkpoints, (T,) float64, from one number or T.

    Raises GlitchtraceError for another number of them, for one that is negative or not finite, and where all are 0.
    """
    array = plain(given, name)
    if array.dtype.kind not in "fiu":
        raise GlitchtraceError(f"{name} has type {array.dtype}; give numbers, one per checkpoint")
    if array.shape not in ((), (checkpoints,)):
        raise GlitchtraceError(
            f"{name} has shape {array.shape} for {checkpoints} checkpoints; give one number or ({checkpoints},)"
        )
    found = np.broadcast_to(array.astype(np.float64), (checkpoints,))
    wrong = ~(np.isfinite(found) & (found >= 0))
    if wrong.any():
        raise GlitchtraceError(f"{name} holds {found[wrong][0]:g}; a rate is a finite number, at least 0")
    if not found.any():
        raise GlitchtraceError(f"{name}: all are 0, so no checkpoint counts; give one above 0")
    return found


def same_order(**given: Any) -> None:
    """Raise GlitchtraceError where two tables have the same index in another order: rows are taken by their place."""
    indexed = {
        name: part.index
        for several, parts in given.items()
        for name, part in _tables(parts, several).items()
        if hasattr(part, "index") and hasattr(part.index, "sort_values")
    }
    for (name, index), (other, beside) in itertools.combinations(indexed.items(), 2):
        if len(index) == len(beside) and not index.equals(beside):
            try:
                shuffled = index.sort_values().equals(beside.sort_values())
            except TypeError:  # an index of mixed types has no order
                shuffled = False
            if shuffled:
                raise GlitchtraceError(
                    f"{name} and {other} have the same index in another order, and rows are taken by their place; "
                    f"give {other}.loc[{name}.index]"
                )


def scores(given: Any, name: str = "scores", *, rows: int | None = None) -> np.ndarray:
    """Scores (n,) float64, higher = more suspicious, ±inf legal.  Raises GlitchtraceError for NaN, another shape."""
    array = _vector(given, name, rows)
    if array.dtype.kind not in "fiub":
        raise GlitchtraceError(f"{name} has type {array.dtype}; a score is a number")
    array = array.astype(np.float64)
    undefined = int(np.isnan(array).sum())
    if undefined:
        raise GlitchtraceError(
            f"{name} is NaN for {undefined} of {len(array)} samples; a score is a number or ±inf"
        )
    return array


def _vector(given: Any, name: str, rows: int | None) -> np.ndarray:
    array = plain(given, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise GlitchtraceError(f"{name} has shape {array.shape}; give one value per sample, (n,)")
    return _counted(array, name, rows)


def _matrix(array: np.ndarray, name: str, rows: int | None) -> np.ndarray:
    if array.ndim != 2:
        raise GlitchtraceError(f"{name} has shape {array.shape}; give one row per sample, (n, columns)")
    return _counted(array, name, rows)


def _numbers(given: Any, name: str) -> np.ndarray:
    array = plain(given, name)
    if array.dtype.kind == "O" and array.ndim:
        array = _numbers_of_objects(array, name)
    if array.dtype.kind == "c":
        raise GlitchtraceError(f"{name} has type {array.dtype}; give real numbers")
    if array.dtype.kind not in "fiub":
        raise GlitchtraceError(f"{name} has type {array.dtype}; encode text and categories as numbers first")
    return array


def plain(given: Any, name: str) -> np.ndarray:
    """An array of NumPy of what is given: tensors leave their graph and device; a masked value is a missing one.

    A sparse matrix becomes a dense one.  Raises GlitchtraceError where that is none, or too large.
    """
    if hasattr(given, "toarray"):  # scipy.sparse
        if np.prod(given.shape, dtype=float) > _MOST_DENSE:
            raise GlitchtraceError(
                f"{name}: a sparse matrix of shape {given.shape} does not fit memory; reduce its columns "
                "(TruncatedSVD)"
            )
        given = given.toarray()
    if hasattr(given, "detach"):
        given = given.detach().cpu()
        given = given.float() if str(given.dtype) == "torch.bfloat16" else given
    elif isinstance(given, list | tuple) and any(hasattr(part, "detach") for part in given):
        given = [plain(part, name) for part in given]
    if isinstance(given, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(given)
        if hidden.any():
            place = np.argwhere(hidden)[0]
            raise GlitchtraceError(f"{name}: {_place(place)} is masked; drop it or fill it in")
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GlitchtraceError(
            f"{name} cannot be read as an array ({str(error).splitlines()[0]}); give rows of one length"
        ) from None


def _of_one_type(values: list[Any], name: str) -> np.ndarray:
    """Labels that came as objects."""
    missing = [is_missing(value) for value in values]
    if any(missing):
        raise GlitchtraceError(f"{name}: row {missing.index(True)} has no label; drop it or fill it in")
    kinds = [type(value) for value in values]
    if len(set(kinds)) > 1:
        row = next(row for row, kind in enumerate(kinds) if kind is not kinds[0])
        raise GlitchtraceError(
            f"{name}: row 0 is {values[0]!r} and row {row} is {values[row]!r}; give labels of one type"
        )
    array = np.array(values)
    if array.dtype.kind == "O" or array.ndim != 1:
        raise GlitchtraceError(
            f"{name}: row 0 is {values[0]!r}; a label is a whole number (within 64 bits) or text"
        )
    return array


def _numbers_of_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Numbers that came as objects, float64."""
    flat = array.ravel()
    for number, value in enumerate(flat.tolist()):
        place = np.unravel_index(number, array.shape)
        if is_missing(value):
            raise GlitchtraceError(f"{name}: {_place(place)} is missing; drop it or fill it in")
        if not isinstance(value, int | float):
            raise GlitchtraceError(
                f"{name}: {_place(place)} is {str(value)[:40]!r}; encode text and categories as numbers first"
            )
        if isinstance(value, int) and abs(value) > _EXACT:
            raise GlitchtraceError(
                f"{name}: {_place(place)} is {value}, and floating-point numbers do not keep it; shift or scale it"
            )
    return flat.astype(np.float64).reshape(array.shape)


def _ndim(given: Any) -> int:
    try:
        return int(np.ndim(given))
    except (TypeError, ValueError):  # rows of several lengths
        return 1


def _place(place: Any) -> str:
    return ", ".join(
        f"{word} {index}" for word, index in zip(("row", "column"), map(int, place), strict=False)
    )


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, NaT, pandas.NA."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):  # pandas.NA is neither true nor false
        return True


def _float_type(dtype: np.dtype) -> np.dtype:
    """The type in which numbers are computed with: half precision overflows at 65,504."""
    return np.dtype(np.float32 if dtype in (np.float16, np.float32) else np.float64)


def _floats(array: np.ndarray) -> np.ndarray:
    # Row by row in memory: sums are then in one order, and a table of pandas gives what its array gives.
    return np.ascontiguousarray(array, _float_type(array.dtype))


def _counted(array: np.ndarray, name: str, rows: int | None) -> np.ndarray:
    if not len(array):
        raise GlitchtraceError(f"{name} is empty; give at least one sample")
    if rows is not None and len(array) != rows:
        raise GlitchtraceError(f"{name} has {len(array)} rows for {rows} samples; give one row per sample")
    return array


def _finite(array: np.ndarray, name: str) -> None:
    # By the extremes: no temporary array of the same size.
    if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise GlitchtraceError(f"{name}: row {row} holds a value that is not finite; drop it or fill it in")

"""The doors: what enters as an array is checked here, once, and trusted behind.

Every function takes what a user or a file gives, and returns an array of one fixed type and shape, or raises
GlitchtraceError that names the argument, the row where there is one, and the remedy.  ``name`` is what the caller calls
the argument; ``rows`` the number of samples that it must have, None where it decides the number itself.
"""

from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError

# Rows of probabilities may miss 1 by what float16 rounds of a thousand classes.
_SUM_TOLERANCE = 2e-3


def labels(given: Any, name: str = "labels", *, rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels of n samples, as codes (n,) int64 in 0 … K−1, and the K sorted classes that they stand for.

    Integers, booleans and text are labels; so are floats that are whole numbers.  Raises GlitchtraceError for another
    shape, no sample, a missing label (NaN, None) and a number that is not whole.
    """
    array = _vector(given, name, rows)
    if array.dtype.kind == "O":
        missing = [value is None or value != value for value in array.tolist()]
        if any(missing):
            raise GlitchtraceError(f"{name}: row {missing.index(True)} has no label; drop it or fill it in")
        if len({type(value) for value in array.tolist()}) > 1:
            raise GlitchtraceError(f"{name} mixes text and numbers; give labels of one type")
        array = np.array(array.tolist())
    if array.dtype.kind == "f":
        whole = np.isfinite(array) & (array == np.rint(array))
        if not whole.all():
            row = int(np.argmin(whole))
            raise GlitchtraceError(f"{name}: row {row} is {array[row]}; a label is a whole number or text")
        array = array.astype(np.int64)
    if array.dtype.kind not in "iubUS":
        raise GlitchtraceError(f"{name} has type {array.dtype}; a label is a whole number or text")
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
    """Class probabilities (n, K), in the floating-point type that they have (float64 for integers).

    Raises GlitchtraceError for another shape, a value outside 0 … 1 or not finite, and a row that does not sum to 1.
    """
    array = _matrix(given, name, rows)
    if classes is not None and array.shape[1] != classes:
        raise GlitchtraceError(
            f"{name} has {array.shape[1]} columns for {classes} classes; give one per class"
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
    several = isinstance(given, list | tuple) and all(np.ndim(part) == 2 for part in given) and len(given)
    if not several and np.ndim(given) != 3:
        return (probabilities(given, name, rows=rows, classes=classes),)
    if not len(given):
        raise GlitchtraceError(f"{name} holds no checkpoint; give at least one")
    found = [
        probabilities(part, f"{name}[{place}]", rows=rows, classes=classes)
        for place, part in enumerate(given)
    ]
    if len({part.shape for part in found}) > 1:
        raise GlitchtraceError(
            f"{name}: the checkpoints have different shapes; give the same rows and classes"
        )
    return tuple(found)


def features(given: Any, name: str = "features", *, rows: int | None = None) -> np.ndarray:
    """One row of numbers per sample, (n, d), in the floating-point type that it has (float64 for integers).

    More dimensions (pictures) are flattened.  Raises GlitchtraceError for another shape, for values that are not
    finite, and for text.
    """
    array = _numbers(given, name)
    if array.ndim > 2:
        array = array.reshape(len(array), -1)
    array = _matrix(array, name, rows)
    _finite(array, name)
    return array


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
    array = np.asarray(given)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise GlitchtraceError(f"{name} has shape {array.shape}; give one value per sample, (n,)")
    return _counted(array, name, rows)


def _matrix(given: Any, name: str, rows: int | None) -> np.ndarray:
    array = _numbers(given, name)
    if array.ndim != 2:
        raise GlitchtraceError(f"{name} has shape {array.shape}; give one row per sample, (n, columns)")
    return _counted(array, name, rows)


def _numbers(given: Any, name: str) -> np.ndarray:
    if hasattr(given, "toarray"):  # scipy.sparse
        given = given.toarray()
    array = np.asarray(given)
    if array.dtype.kind not in "fiub":
        raise GlitchtraceError(f"{name} has type {array.dtype}; encode text and categories as numbers first")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


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

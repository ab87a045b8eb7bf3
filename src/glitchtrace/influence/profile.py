"""Profiles: everything the signals need to know of an influence matrix, reduced from its blocks.

Source: docs/methods/tracin.md#class-profiles; the layout of the file is the nesting of
``Profiles``.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import read_tensors, write_tensors
from glitchtrace.influence.closed_form import JointBlock, cached_rows
from glitchtrace.influence.estimator import Estimator

_log = logging.getLogger(__name__)
_VECTORS = (
    "classes",
    "labels",
    "validation_counts",
    "self_influence",
    "self_influence_per_epoch",
    "negative_label",
    "positive_label",
)
_TABLES = ("cumulative", "counterfactual_negative", "counterfactual_positive")
_OF_EPOCH = re.compile(r"per_epoch/(\d{3,})/")


@dataclass(frozen=True)
class ClassProfile:
    """Sums over the validation samples of each class: four (n, K) tables.

    P_ic = Σ_{j ∈ V_c} max(J_ij, 0) and N_ic = Σ_{j ∈ V_c} min(J_ij, 0) ≤ 0, in the precision of J, with the
    counts of positive and of negative entries, int32.  Exact zeros count as neither; a class without
    validation samples has zeros.  Source: docs/methods/tracin.md#class-profiles.
    """

    positive: np.ndarray
    negative: np.ndarray
    positive_count: np.ndarray
    negative_count: np.ndarray

    def select(self, rows: slice) -> "ClassProfile":
        """The class profile of some of the rows."""
        return ClassProfile(*(getattr(self, field.name)[rows] for field in fields(self)))


class ClassReducer:
    """Reduces blocks of J, (b, m), to class profiles; the validation samples are sorted by class once.

    ``validation_labels`` (m,); ``classes`` sorted, (K,), a superset of the validation labels.  Raises GlitchtraceError
    for classes that are not, and for a block of another width.
    """

    def __init__(self, validation_labels: np.ndarray, classes: np.ndarray) -> None:
        if (classes[1:] <= classes[:-1]).any():
            raise GlitchtraceError("classes are not sorted, each once; give numpy.unique(classes)")
        missing = np.setdiff1d(validation_labels, classes)
        if len(missing):
            raise GlitchtraceError(
                f"validation labels: {missing[0]} is not among the classes {classes.tolist()}; give all classes"
            )
        self._order = np.argsort(validation_labels, kind="stable")
        present, self._starts = np.unique(validation_labels[self._order], return_index=True)
        self._columns = np.searchsorted(classes, present)
        self._classes = len(classes)
        self._counts = _counts(validation_labels, classes)

    def reduce(self, blocks: Iterable[tuple[slice, np.ndarray]]) -> ClassProfile:
        """The class profile of the rows that arrive, in order, in blocks."""
        return concatenate([self.tables(block) for _, block in blocks])

    def tables(self, block: np.ndarray) -> ClassProfile:
        """The class profile of one block.  Raises GlitchtraceError if an entry is not finite."""
        profile = self.empty(len(block), block.dtype)
        self.fill(profile, slice(0, len(block)), block)
        return profile

    def empty(self, rows: int, dtype: np.dtype) -> ClassProfile:
        """The class profile of so many rows, not yet filled."""
        shape = (rows, self._classes)
        return ClassProfile(
            *(np.empty(shape, dtype) for _ in range(2)), *(np.empty(shape, np.int32) for _ in range(2))
        )

    def fill(self, profile: ClassProfile, rows: slice, block: np.ndarray) -> None:
        """Put the tables of a block, (b, m), into these rows.  Raises GlitchtraceError if an entry is not finite."""
        if block.shape[1] != len(self._order):
            raise GlitchtraceError(
                f"{len(self._order)} validation labels for {block.shape[1]} validation samples of the influence; give "
                "one per sample"
            )
        for part in cached_rows(block):  # it goes over the entries six times
            self._fill(profile, _moved(part, rows.start), block[part])

    def _fill(self, profile: ClassProfile, rows: slice, block: np.ndarray) -> None:
        values = np.take(block, self._order, axis=1, mode="clip")
        above = np.greater(values, 0, out=np.empty_like(values))
        positive_count = self._sums(above)
        zeros = not np.not_equal(values, 0).all()
        # v·[v > 0], and what it leaves of v: exact, and cheaper than maximum and minimum, which look for NaN.
        with np.errstate(invalid="ignore"):
            positive = np.multiply(values, above, out=above)
            negative = np.subtract(values, positive, out=values)
        sums = self._sums(positive) + 0, self._sums(negative)  # −0 becomes 0
        if not all(np.isfinite(table).all() for table in sums):
            raise GlitchtraceError("the influence holds values that are not finite; lower the learning rate")
        profile.positive[rows], profile.negative[rows] = sums
        profile.positive_count[rows] = positive_count
        profile.negative_count[rows] = (
            self._sums(np.less(negative, 0, out=positive)) if zeros else self._counts - positive_count
        )

    def _sums(self, values: np.ndarray) -> np.ndarray:
        sums = np.zeros((len(values), self._classes), values.dtype)
        sums[:, self._columns] = np.add.reduceat(values, self._starts, axis=1)
        return sums


def concatenate(profiles: Sequence[ClassProfile]) -> ClassProfile:
    """The class profile of consecutive rows."""
    return ClassProfile(
        *(
            np.concatenate([getattr(profile, field.name) for profile in profiles])
            for field in fields(ClassProfile)
        )
    )


@dataclass(frozen=True)
class Profiles:
    """What the signals see of a cell with n training samples, K classes and T checkpoints.

    ``classes`` (K,): sorted labels of the training set, and of the validation set where it knows more;
    ``labels`` (n,): observed training labels; ``validation_counts`` (K,).  ``self_influence`` (n,), per epoch
    (T, n).  ``cumulative`` sums all checkpoints, ``per_epoch`` holds each alone under the number of its epoch, from
    1, in the order of the rows of ``self_influence_per_epoch`` (both per-epoch fields may be empty).
    ``counterfactual_negative`` is the profile of the samples under the labels ``negative_label`` (y⁻),
    ``counterfactual_positive`` under ``positive_label`` (y⁺), see ``negative_labels`` and ``positive_labels``.
    """

    classes: np.ndarray
    labels: np.ndarray
    validation_counts: np.ndarray
    self_influence: np.ndarray
    cumulative: ClassProfile
    per_epoch: Mapping[int, ClassProfile]
    self_influence_per_epoch: np.ndarray
    negative_label: np.ndarray
    counterfactual_negative: ClassProfile
    positive_label: np.ndarray
    counterfactual_positive: ClassProfile

    @property
    def trained(self) -> np.ndarray:
        """Whether a class has training samples, (K,) bool: the class signals run over these."""
        return np.isin(self.classes, self.labels)

    def of_own_class(self, table: np.ndarray) -> np.ndarray:
        """The entry of each sample's observed class in an (n, K) table, (n,) float64."""
        own = np.searchsorted(self.classes, self.labels)
        return table[np.arange(len(own)), own].astype(np.float64)

    def at_epoch(self, epoch: int) -> "Profiles":
        """The profiles with the checkpoint of one epoch, one of ``per_epoch``, in place of the sum of all."""
        position = list(self.per_epoch).index(epoch)
        return replace(
            self, cumulative=self.per_epoch[epoch], self_influence=self.self_influence_per_epoch[position]
        )


def build_profiles(
    estimator: Estimator,
    labels: np.ndarray,
    validation_labels: np.ndarray,
    *,
    per_epoch: bool | None = True,
    counterfactual_epochs: str = "last",
    exclude_own_class: bool = False,
    numbers: Sequence[int] | None = None,
) -> Profiles:
    """Reduce the influence of a cell to profiles: cumulative, per epoch and counterfactual.

    ``labels`` (n,) observed and ``validation_labels`` (m,), any integers.  ``counterfactual_epochs``:
    ``last`` or ``all`` checkpoints for J⁻ and J⁺.  ``per_epoch``: None where n·K·T is at most
    ``core.resources.MOST_PER_EPOCH``.  ``exclude_own_class``: y⁻ is never the observed label.
    ``numbers``: the epochs whose checkpoints count, from 1, of which the estimator's T are the last; None: 1 … T.
    The matrix is never held.  Classes without a validation row are named in the log.  Raises GlitchtraceError where
    the training labels are of one class only, where labels are no integers or not one per sample, and for other
    ``counterfactual_epochs``.
    """
    if counterfactual_epochs not in ("last", "all"):
        raise GlitchtraceError(f"counterfactual_epochs: {counterfactual_epochs!r}; give 'last' or 'all'")
    labels, validation_labels = np.asarray(labels), np.asarray(validation_labels)
    classes = _classes(labels, validation_labels)
    counts = _counts(validation_labels, classes)
    _say_unvalidated(labels, classes, counts)
    reducer = ClassReducer(validation_labels, classes)
    selves = estimator.self_influence_per_epoch()
    if selves.shape[1] != len(labels):
        raise GlitchtraceError(
            f"{len(labels)} labels for {selves.shape[1]} training samples of the estimator; give one per sample"
        )
    if per_epoch is None:
        per_epoch = keeps_epochs(len(labels), len(classes), len(selves))
    epochs = len(selves) if per_epoch else 0
    numbers = numbers or range(1, len(selves) + 1)
    if len(selves) > len(numbers):
        raise GlitchtraceError(
            f"the estimator has {len(selves)} checkpoints, but {len(numbers)} count; let it obey its setting epochs"
        )
    chosen = (len(selves) - 1,) if counterfactual_epochs == "last" else None
    joint = estimator.joint_blocks() if chosen else None
    trained = np.isin(classes, labels)

    def other_labels(table: ClassProfile, rows: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        return (
            negative_labels(table, classes, labels[rows], trained, exclude_own_class=exclude_own_class),
            positive_labels(table, classes, labels[rows], trained),
        )

    if joint is not None:
        cumulative, single, counterfactual = _reduce_jointly(
            joint, reducer, len(labels), epochs, other_labels
        )
    elif per_epoch:
        cumulative, single = _reduce_epochs(estimator, reducer, epochs)
    else:
        cumulative, single = reducer.reduce(estimator.blocks()), ()
    negative, positive = other_labels(cumulative)
    if joint is None:
        counterfactual = tuple(
            reducer.reduce(estimator.blocks(other, chosen)) for other in (negative, positive)
        )
    return Profiles(
        classes=classes,
        labels=labels,
        validation_counts=counts,
        self_influence=selves.sum(axis=0),
        cumulative=cumulative,
        per_epoch=dict(zip(numbers[-len(selves) :], single, strict=False)),
        self_influence_per_epoch=selves if per_epoch else selves[:0],
        negative_label=negative,
        counterfactual_negative=counterfactual[0],
        positive_label=positive,
        counterfactual_positive=counterfactual[1],
    )


def keeps_epochs(samples: int, classes: int, epochs: int) -> bool:
    """Whether each checkpoint is profiled alone unless a setting says otherwise."""
    from glitchtrace.core.resources import MOST_PER_EPOCH

    return samples * classes * epochs <= MOST_PER_EPOCH


def profile_from_matrix(
    influence: np.ndarray, validation_labels: np.ndarray, classes: np.ndarray
) -> ClassProfile:
    """The class profile of a whole matrix J, (n, m), in its own precision.

    ``classes`` (K,) sorted, a superset of ``validation_labels`` (m,).  Raises GlitchtraceError where J has
    another width or is not finite, and for classes that are not as said.
    """
    if influence.ndim != 2 or influence.shape[1] != len(validation_labels):
        raise GlitchtraceError(
            f"the influence matrix has shape {influence.shape}; expected {len(validation_labels)} columns, "
            "one per validation sample"
        )
    return ClassReducer(validation_labels, classes).tables(influence)


def profiles_from_matrices(
    *,
    influence: np.ndarray,
    self_influence: np.ndarray,
    labels: np.ndarray,
    validation_labels: np.ndarray,
    counterfactual_negative: np.ndarray,
    counterfactual_positive: np.ndarray,
) -> Profiles:
    """Profiles of matrices made elsewhere: J, J⁻ and J⁺, each (n, m), and s (n,); nothing per epoch.

    J⁻ and J⁺ are the influence of the training inputs under ``negative_labels`` and ``positive_labels`` of J.
    """
    classes = _classes(labels, validation_labels)
    cumulative = profile_from_matrix(influence, validation_labels, classes)
    return Profiles(
        classes=classes,
        labels=labels,
        validation_counts=_counts(validation_labels, classes),
        self_influence=self_influence,
        cumulative=cumulative,
        per_epoch={},
        self_influence_per_epoch=np.empty((0, len(labels))),
        negative_label=negative_labels(cumulative, classes, labels),
        counterfactual_negative=profile_from_matrix(counterfactual_negative, validation_labels, classes),
        positive_label=positive_labels(cumulative, classes, labels),
        counterfactual_positive=profile_from_matrix(counterfactual_positive, validation_labels, classes),
    )


def negative_labels(
    profile: ClassProfile,
    classes: np.ndarray,
    labels: np.ndarray,
    trained: np.ndarray | None = None,
    *,
    exclude_own_class: bool = False,
) -> np.ndarray:
    """y⁻, (n,): the class a sample hurts most, argmin_c N_ic over the classes of the training set.

    The lowest class wins ties.  ``trained``: mask (K,) of these classes, by default those of ``labels``.
    ``exclude_own_class`` leaves out the observed label.
    """
    known = np.isin(classes, labels) if trained is None else trained
    negative = np.where(known, profile.negative, np.inf)
    if exclude_own_class:
        negative[np.arange(len(labels)), np.searchsorted(classes, labels)] = np.inf
    result: np.ndarray = classes[negative.argmin(axis=1)]
    return result


def positive_labels(
    profile: ClassProfile, classes: np.ndarray, labels: np.ndarray, trained: np.ndarray | None = None
) -> np.ndarray:
    """y⁺, (n,): the class with the second largest P_ic among the classes of the training set.

    Ties go to the lowest class, for the first place and then for the second.  ``trained``: as in ``negative_labels``.
    """
    known = np.isin(classes, labels) if trained is None else trained
    positive = np.where(known, profile.positive, -np.inf)
    return classes[np.argsort(-positive, axis=1, kind="stable")[:, 1]]


def save_profiles(profiles: Profiles, path: str | Path) -> None:
    """Write ``profile.safetensors``, atomically."""
    tensors = {name: getattr(profiles, name) for name in _VECTORS}
    for name, profile in _named_tables(profiles).items():
        tensors |= {f"{name}/{field.name}": getattr(profile, field.name) for field in fields(profile)}
    write_tensors(tensors, path)


def load_profiles(path: str | Path) -> Profiles:
    """Read ``profile.safetensors``.

    Raises GlitchtraceError, naming the file, where it cannot be read or does not hold exactly the tensors of
    ``Profiles`` in fitting shapes.
    """
    remedy = "delete it and profile the influence again"
    tensors = read_tensors(path)
    try:
        profiles = _assemble(tensors)
    except KeyError as error:
        raise GlitchtraceError(f"{path} lacks the tensor {error}; {remedy}") from None
    if tensors:
        raise GlitchtraceError(f"{path} holds the unknown tensor '{min(tensors)}'; {remedy}")
    _check_shapes(profiles, path, remedy)
    return profiles


def _say_unvalidated(labels: np.ndarray, classes: np.ndarray, counts: np.ndarray) -> None:
    """Log the classes of the training set that validation lacks: what is summed over them is 0 by construction."""
    missing = [int(label) for label in classes[counts == 0]]
    if missing:
        rows = ", ".join(f"{label} ({int((labels == label).sum())} training rows)" for label in missing)
        _log.warning(
            "no validation row of class %s: influence on them is 0, and signals of a sample's own class say "
            "nothing of theirs; enlarge the validation part or leave the classes out",
            rows,
        )


def _classes(labels: np.ndarray, validation_labels: np.ndarray) -> np.ndarray:
    for name, given in (("labels", labels), ("validation labels", validation_labels)):
        if given.ndim != 1 or given.dtype.kind not in "iu":
            raise GlitchtraceError(
                f"{name} must be a vector of integers, not {given.dtype} {given.shape}; number them"
            )
    if len(np.unique(labels)) < 2:
        raise GlitchtraceError("all training samples have one label; class signals need at least two classes")
    return np.union1d(labels, validation_labels)


def _counts(validation_labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(classes, validation_labels), minlength=len(classes))


def _reduce_epochs(
    estimator: Estimator, reducer: ClassReducer, epochs: int
) -> tuple[ClassProfile, tuple[ClassProfile, ...]]:
    """The profiles of the sum of all checkpoints and of each alone, from one pass over the blocks."""
    together: list[ClassProfile] = []
    single: list[list[ClassProfile]] = [[] for _ in range(epochs)]
    total = np.empty(0)
    for _, epoch, block in estimator.epoch_blocks():
        single[epoch].append(reducer.tables(block))
        total = block if epoch == 0 else np.add(total, block, out=total)
        if epoch == epochs - 1:
            together.append(reducer.tables(total))
    return concatenate(together), tuple(concatenate(profiles) for profiles in single)


def _reduce_jointly(
    blocks: Iterable[JointBlock],
    reducer: ClassReducer,
    samples: int,
    epochs: int,
    other_labels: Callable[[ClassProfile, slice], tuple[np.ndarray, np.ndarray]],
) -> tuple[ClassProfile, tuple[ClassProfile, ...], tuple[ClassProfile, ...]]:
    """The profiles of the sum of all checkpoints, of each of ``epochs`` alone, and under y⁻ and y⁺, in one pass.

    A row's y⁻ and y⁺ follow from its own sums, so that the block is still at hand when they are known.
    """
    found: dict[str | int, ClassProfile] = {}

    def put(name: str | int, rows: slice, block: np.ndarray) -> None:
        if name not in found:
            found[name] = reducer.empty(samples, block.dtype)
        reducer.fill(found[name], rows, block)

    for joint in blocks:
        first = joint.rows.start

        def alone(epoch: int, part: slice, block: np.ndarray, first: int = first) -> None:
            put(epoch, _moved(part, first), block)

        for part, block in joint.sums(alone if epochs else None):
            rows = _moved(part, first)
            put("together", rows, block)
            negative, positive = other_labels(found["together"].select(rows), rows)
            put("negative", rows, joint.relabelled(part, negative))
            put("positive", rows, joint.relabelled(part, positive))
    return (
        found["together"],
        tuple(found[epoch] for epoch in range(epochs)),
        (found["negative"], found["positive"]),
    )


def _moved(part: slice, start: int) -> slice:
    """The rows of a part of a block that starts at a row."""
    return slice(start + part.start, start + part.stop)


def _epoch_name(epoch: int) -> str:
    return f"per_epoch/{epoch:03d}"


def _named_tables(profiles: Profiles) -> dict[str, ClassProfile]:
    named = {name: getattr(profiles, name) for name in _TABLES}
    return named | {_epoch_name(epoch): profile for epoch, profile in profiles.per_epoch.items()}


def _class_profile(tensors: dict[str, np.ndarray], name: str) -> ClassProfile:
    return ClassProfile(*(tensors.pop(f"{name}/{field.name}") for field in fields(ClassProfile)))


def _assemble(tensors: dict[str, np.ndarray]) -> Profiles:
    """Take the tensors of ``Profiles`` out of ``tensors``.  Raises KeyError for one that is missing."""
    vectors = {name: tensors.pop(name) for name in _VECTORS}
    epochs = sorted({int(found[1]) for name in tensors if (found := _OF_EPOCH.match(name))})
    parts: dict[str, Any] = vectors | {name: _class_profile(tensors, name) for name in _TABLES}
    return Profiles(
        **parts, per_epoch={epoch: _class_profile(tensors, _epoch_name(epoch)) for epoch in epochs}
    )


def _check_shapes(profiles: Profiles, path: str | Path, remedy: str) -> None:
    samples, classes = len(profiles.labels), len(profiles.classes)
    expected = {
        "validation_counts": (classes,),
        "self_influence_per_epoch": (len(profiles.per_epoch), samples),
    }
    expected |= dict.fromkeys(("self_influence", "negative_label", "positive_label"), (samples,))
    found = {name: getattr(profiles, name) for name in expected}
    for name, profile in _named_tables(profiles).items():
        tables = {f"{name}/{field.name}": getattr(profile, field.name) for field in fields(profile)}
        found |= tables
        expected |= dict.fromkeys(tables, (samples, classes))
    for name, shape in expected.items():
        if found[name].shape != shape:
            raise GlitchtraceError(
                f"{path}: {name} has shape {found[name].shape}, expected {shape}; {remedy}"
            )

"""Class profiles: the positive and negative influence of each training sample on each validation class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from glitchtrace.core.errors import GlitchtraceError


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


class ClassReducer:
    """Reduces blocks of J, (b, m), to class profiles; the validation samples are sorted by class once.

    ``validation_labels`` (m,); ``classes`` sorted, (K,), a superset of the validation labels.
    """

    def __init__(self, validation_labels: np.ndarray, classes: np.ndarray) -> None:
        self._order = np.argsort(validation_labels, kind="stable")
        present, self._starts = np.unique(validation_labels[self._order], return_index=True)
        self._columns = np.searchsorted(classes, present)
        self._classes = len(classes)

    def reduce(self, blocks: Iterable[tuple[slice, np.ndarray]]) -> ClassProfile:
        """The class profile of the rows that arrive, in order, in blocks."""
        return concatenate([self.tables(block) for _, block in blocks])

    def tables(self, block: np.ndarray) -> ClassProfile:
        """The class profile of one block.  Raises GlitchtraceError if an entry is not finite."""
        values = np.take(block, self._order, axis=1, mode="clip")
        scratch = np.empty_like(values)
        profile = ClassProfile(
            positive=self._sums(np.maximum(values, 0, out=scratch)),
            negative=self._sums(np.minimum(values, 0, out=scratch)),
            positive_count=self._sums(np.greater(values, 0, out=scratch)).astype(np.int32),
            negative_count=self._sums(np.less(values, 0, out=scratch)).astype(np.int32),
        )
        if not (np.isfinite(profile.positive).all() and np.isfinite(profile.negative).all()):
            raise GlitchtraceError("the influence holds values that are not finite; lower the learning rate")
        return profile

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

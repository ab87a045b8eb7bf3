"""Factors of head influence: what the closed form needs from each checkpoint, and nothing else.

For a linear softmax head with input features h and probabilities p, the gradient of the cross-entropy with
respect to the head is the outer product (p − onehot(y)) ⊗ [h; 1].  Features and probabilities of every sample
at every checkpoint, with the learning rates, therefore determine the influence matrix completely.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data import doors


@dataclass(frozen=True)
class Part:
    """One side of the influence matrix, the training or the validation samples.

    ``features``: (size, d) for each of the T checkpoints, or a single array where training does not change
    them.  ``probabilities``: (size, K) for each of the T checkpoints.  ``labels``: (size,) columns of the
    probabilities.
    """

    features: tuple[np.ndarray, ...]
    probabilities: tuple[np.ndarray, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def features_at(self, epoch: int) -> np.ndarray:
        """The features (size, d) at one checkpoint, by position 0 … T−1."""
        return self.features[epoch if len(self.features) > 1 else 0]


@dataclass(frozen=True)
class Factors:
    """Factors of T checkpoints: learning rates (T,) float64, batch size of the training, and both parts.

    Raises GlitchtraceError where shapes do not fit, a value is not finite, or a label is not a column of the
    probabilities.
    """

    learning_rates: np.ndarray
    batch_size: int
    train: Part
    validation: Part

    def __post_init__(self) -> None:
        _check(self)

    @property
    def epochs(self) -> int:
        """T, the number of checkpoints."""
        return len(self.learning_rates)

    @property
    def frozen(self) -> bool:
        """Whether one array of features serves all checkpoints."""
        return len(self.train.features) == 1

    @cached_property
    def dtype(self) -> np.dtype:
        """The precision of the products: that of the features and probabilities."""
        return np.result_type(self.train.features[0], self.train.probabilities[0])

    def select(self, epochs: Sequence[int] | None) -> "Factors":
        """The same factors at the checkpoints of some epochs only, numbered from 1, in time; None keeps all.

        Raises GlitchtraceError for an epoch that was not trained, or an empty selection.
        """
        if epochs is None:
            return self
        unknown = [epoch for epoch in epochs if not 1 <= epoch <= self.epochs]
        if unknown or not epochs:
            raise GlitchtraceError(
                f"epochs: {list(epochs)} must name at least one of the trained epochs 1 to {self.epochs}"
            )
        chosen = [epoch - 1 for epoch in sorted(epochs)]
        return replace(
            self,
            learning_rates=self.learning_rates[chosen],
            train=_select(self.train, chosen),
            validation=_select(self.validation, chosen),
        )


def load_factors(path: str | Path) -> Factors:
    """Read ``factors.safetensors`` (layout: docs/data-dictionary.md).

    Raises GlitchtraceError, naming the file, where it cannot be read, lacks a tensor or holds bad values.
    """
    tensors = files.read_tensors(path)
    try:
        return assemble_factors(tensors)
    except KeyError as error:
        raise GlitchtraceError(
            f"{path} lacks the tensor {error}; delete it and train the cell again"
        ) from None
    except GlitchtraceError as error:
        raise GlitchtraceError(f"{path}: {error}") from None


def assemble_factors(tensors: Mapping[str, np.ndarray]) -> Factors:
    """Factors from the tensors of ``factors.safetensors``.

    Raises KeyError for one that is missing, GlitchtraceError for bad values.
    """
    learning_rates = tensors["learning_rates"]
    return Factors(
        learning_rates=learning_rates,
        batch_size=int(tensors["batch_size"][0]),
        train=_part(tensors, "train", len(learning_rates)),
        validation=_part(tensors, "validation", len(learning_rates)),
    )


def _part(tensors: Mapping[str, np.ndarray], name: str, epochs: int) -> Part:
    numbers = range(1, epochs + 1)
    frozen = f"{name}/features" in tensors
    keys = [f"{name}/features"] if frozen else [f"{name}/features/{epoch:03d}" for epoch in numbers]
    return Part(
        features=tuple(tensors[key] for key in keys),
        probabilities=tuple(tensors[f"{name}/probabilities/{epoch:03d}"] for epoch in numbers),
        labels=tensors[f"{name}/labels"],
    )


def _select(part: Part, chosen: list[int]) -> Part:
    features = part.features if len(part.features) == 1 else tuple(part.features[epoch] for epoch in chosen)
    return replace(
        part, features=features, probabilities=tuple(part.probabilities[epoch] for epoch in chosen)
    )


def _check(factors: Factors) -> None:
    if factors.learning_rates.ndim != 1 or not factors.epochs:
        raise GlitchtraceError("learning_rates must be a vector with one rate per checkpoint")
    if not np.isfinite(factors.learning_rates).all():
        raise GlitchtraceError("learning_rates holds values that are not finite; train the cell again")
    if (factors.learning_rates < 0).any():
        raise GlitchtraceError(
            f"learning_rates holds {factors.learning_rates.min():g}; a rate is at least 0, give its absolute value"
        )
    if factors.batch_size < 1:
        raise GlitchtraceError(f"batch_size is {factors.batch_size}; it must be at least 1")
    for name, part in (("train", factors.train), ("validation", factors.validation)):
        _check_part(name, part, factors)


def _check_part(name: str, part: Part, factors: Factors) -> None:
    if len(part) == 0:
        raise GlitchtraceError(f"{name}/labels is empty; influence needs at least one sample of each part")
    classes = factors.train.probabilities[0].shape[-1]
    check_labels(part.labels, len(part), classes, f"{name}/labels")
    if len(part.features) not in (1, factors.epochs) or len(part.features) != len(factors.train.features):
        raise GlitchtraceError(
            f"{name}/features must be one array, or one for each of {factors.epochs} checkpoints"
        )
    if len(part.probabilities) != factors.epochs:
        raise GlitchtraceError(f"{name}/probabilities must be {factors.epochs} arrays, one per checkpoint")
    width = factors.train.features[0].shape[-1]
    for key, columns, arrays in (
        ("features", width, part.features),
        ("probabilities", classes, part.probabilities),
    ):
        for array in arrays:
            if array.shape != (len(part), columns):
                raise GlitchtraceError(
                    f"{name}/{key} has shape {array.shape}; expected {(len(part), columns)}"
                )
            if not _is_finite(array):
                raise GlitchtraceError(
                    f"{name}/{key} holds values that are not finite; train with a lower learning rate"
                )
    for array in part.probabilities:
        doors.probabilities(array, f"{name}/probabilities")


def check_labels(labels: np.ndarray, samples: int, classes: int, name: str = "labels") -> None:
    """Raise GlitchtraceError unless ``labels`` are ``samples`` integers from 0 to ``classes`` − 1."""
    if labels.shape != (samples,):
        raise GlitchtraceError(
            f"{name}: shape {labels.shape}, expected {(samples,)}; give one label per sample"
        )
    if labels.dtype.kind not in "iu" or (samples and (labels.min() < 0 or labels.max() >= classes)):
        raise GlitchtraceError(f"{name} must be integers from 0 to {classes - 1}; number the classes so")


def check_positions(epochs: Sequence[int], checkpoints: int) -> None:
    """Raise GlitchtraceError unless ``epochs`` are one or more different positions 0 … ``checkpoints`` − 1."""
    wrong = [epoch for epoch in epochs if not 0 <= epoch < checkpoints]
    if wrong or not len(epochs) or len(set(epochs)) < len(epochs):
        raise GlitchtraceError(
            f"epochs: {list(epochs)} must be different positions 0 to {checkpoints - 1}, at least one; None takes all"
        )


def _is_finite(array: np.ndarray) -> bool:
    """Whether all values are finite, by their extremes: no temporary array of the same size."""
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))

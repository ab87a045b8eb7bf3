"""What detectors are given and what they answer: ``Evidence`` and ``Detection``.

A piece of evidence is read when the first detector asks for it, checked once (``data.doors``), and then trusted.  The
card of a detector says in ``needs`` which pieces it reads, and the workflow makes exactly those.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.sharing import Arrays
from glitchtrace.data import doors
from glitchtrace.influence.profile import Profiles

# Is given a function of features and settings, the features and the settings, and answers what the function would.
Share = Callable[[Callable[..., Arrays], np.ndarray, tuple[Any, ...]], Arrays]

# Piece -> what a user has to give, for messages.
NEEDS = {
    "probabilities": "class probabilities of the trained model (probabilities=)",
    "epochs": "class probabilities after each epoch (probabilities=, one array per checkpoint)",
    "features": "features (features= or X=)",
    "out_of_fold": "out-of-fold class probabilities (out_of_fold=)",
    "validation": "validation samples (validation=)",
    "profile": "influence profiles (features=, probabilities= and validation=)",
    "pictures": "pictures (pictures=)",
}


@dataclass(frozen=True)
class Validation:
    """Samples that the model was not trained on: observed labels (m,), and per representation their features (m, d).

    ``probabilities`` (m, K) of the trained model, None where they are not known.
    """

    labels: np.ndarray
    representations: Mapping[str, np.ndarray]
    probabilities: np.ndarray | None = None

    @property
    def features(self) -> np.ndarray:
        """The first representation, (m, d)."""
        return next(iter(self.representations.values()))


@dataclass(frozen=True)
class Evidence:
    """What can be known of n training samples with labels (n,) in 0 … K−1, each piece lazily and once.

    The fields are readers, called when their piece is first asked for; a piece without a reader is not at hand.
    ``groups`` (n,): samples that belong together, or None.  ``seed`` drives detectors that draw.  ``share``: takes what
    is made of features alone from others who have the same features.
    """

    labels: np.ndarray
    classes: int
    read_epochs: Callable[[], Sequence[np.ndarray]] | None = None
    read_representations: Callable[[], Mapping[str, np.ndarray]] | None = None
    read_out_of_fold: Callable[[], np.ndarray] | None = None
    read_validation: Callable[[], Validation] | None = None
    read_profiles: Callable[[], Profiles] | None = None
    read_pictures: Callable[[], np.ndarray] | None = None
    groups: np.ndarray | None = None
    seed: int = 0
    share: Share | None = None

    def __post_init__(self) -> None:
        doors.codes(self.labels, self.classes)

    def __len__(self) -> int:
        return len(self.labels)

    def has(self, need: str) -> bool:
        """Whether a piece (a key of ``NEEDS``) is at hand."""
        readers = {
            "probabilities": self.read_epochs,
            "epochs": self.read_epochs,
            "features": self.read_representations,
            "out_of_fold": self.read_out_of_fold,
            "validation": self.read_validation,
            "profile": self.read_profiles,
            "pictures": self.read_pictures,
        }
        if need not in readers:
            raise GlitchtraceError(
                f"needs: unknown piece of evidence '{need}'; known: {', '.join(sorted(NEEDS))}"
            )
        return readers[need] is not None

    @cached_property
    def epochs(self) -> tuple[np.ndarray, ...]:
        """Class probabilities after each of T epochs, each (n, K)."""
        given = list(_read(self.read_epochs, "epochs"))
        return doors.checkpoints(given, rows=len(self), classes=self.classes)

    @property
    def probabilities(self) -> np.ndarray:
        """Class probabilities (n, K) of the trained model on its own training samples."""
        return self.epochs[-1]

    @cached_property
    def representations(self) -> dict[str, np.ndarray]:
        """Features by the name of their representation, each (n, d); the first is the one to use."""
        given = _read(self.read_representations, "features")
        if len(self) < 2:
            raise GlitchtraceError("one sample has no others to be compared with; give at least two")
        return {
            name: doors.features(part, f"features '{name}'", rows=len(self)) for name, part in given.items()
        }

    @property
    def features(self) -> np.ndarray:
        """The first representation, (n, d)."""
        return next(iter(self.representations.values()))

    def seen_as(self, representation: str) -> "Evidence":
        """The same evidence with one representation alone.  Raises GlitchtraceError where it is not at hand."""

        def one(parts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            if representation not in parts:
                raise GlitchtraceError(
                    f"representation '{representation}' is not at hand; known: {', '.join(parts)}; keep it with the "
                    "model's setting representations"
                )
            return {representation: parts[representation]}

        def validation() -> Validation:
            return replace(self.validation, representations=one(self.validation.representations))

        return replace(
            self,
            read_representations=lambda: one(self.representations),
            read_validation=None if self.read_validation is None else validation,
        )

    @cached_property
    def out_of_fold(self) -> np.ndarray:
        """Class probabilities (n, K), each row by a model that has not seen the sample."""
        given = _read(self.read_out_of_fold, "out_of_fold")
        return doors.probabilities(given, "out_of_fold", rows=len(self), classes=self.classes)

    @cached_property
    def validation(self) -> Validation:
        """Samples beside the training set."""
        given: Validation = _read(self.read_validation, "validation")
        rows = len(given.labels)
        doors.codes(given.labels, self.classes, "validation labels")
        for name, part in given.representations.items():
            width = doors.features(part, f"validation features '{name}'", rows=rows).shape[1]
            own = self.representations.get(name) if self.has("features") and len(self) > 1 else None
            if own is not None and own.shape[1] != width:
                raise GlitchtraceError(
                    f"validation features '{name}' have {width} columns, those of the training samples {own.shape[1]}; "
                    "give the same columns"
                )
        if given.probabilities is not None:
            doors.probabilities(
                given.probabilities, "validation probabilities", rows=rows, classes=self.classes
            )
        return given

    @cached_property
    def profiles(self) -> Profiles:
        """Class profiles of the influence."""
        given: Profiles = _read(self.read_profiles, "profile")
        if not np.array_equal(given.labels, self.labels):
            raise GlitchtraceError("profile: the influence is of other labels; profile it again with these")
        return given

    @cached_property
    def _made(self) -> dict[tuple[Any, ...], Any]:
        return {}

    def once(self, make: Callable[..., Any], *settings: Any) -> Any:
        """``make(self, *settings)``, made when the first of the detectors that share it asks."""
        key = (make, *settings)
        if key not in self._made:
            self._made[key] = make(self, *settings)
        return self._made[key]

    def of_features(self, make: Callable[..., Arrays], *settings: Any) -> Arrays:
        """``make(features, *settings)``, arrays that no label enters, made once for all who have these features."""
        found: Arrays = self.once(_of_features, make, *settings)
        return found

    @cached_property
    def pictures(self) -> np.ndarray:
        """Pictures, (n, H, W) or (n, H, W, C) uint8, C = 1 or 3."""
        given = np.ascontiguousarray(_read(self.read_pictures, "pictures"))
        fitting = given.ndim == 3 or (given.ndim == 4 and given.shape[3] in (1, 3))
        if given.dtype != np.uint8 or not fitting or len(given) != len(self) or not given.size:
            raise GlitchtraceError(
                f"pictures have shape {given.shape} and type {given.dtype}; give ({len(self)}, H, W) uint8, or "
                f"({len(self)}, H, W, 3) of colour"
            )
        return given


@dataclass(frozen=True)
class Detection:
    """What a detector says of n samples.

    ``scores`` (n,) float64, higher = more suspicious, ±inf legal.  Where it has them: ``proposed_labels`` (n,), the
    labels that the samples should have, and ``confidence`` (n,) in 0 … 1 in these; ``flags`` (n,) bool, its own
    choice; ``kinds`` (n,) of ``Kind``, what a sample would be if it is a glitch; ``posterior`` (n, 4), the
    probabilities of ``Kind`` 0 … 3.
    """

    scores: np.ndarray
    proposed_labels: np.ndarray | None = None
    confidence: np.ndarray | None = None
    flags: np.ndarray | None = None
    kinds: np.ndarray | None = None
    posterior: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", doors.scores(self.scores))
        rows = len(self.scores)
        for name in ("proposed_labels", "confidence", "flags", "kinds"):
            part = getattr(self, name)
            if part is not None and np.shape(part) != (rows,):
                raise GlitchtraceError(f"{name} have shape {np.shape(part)}; give one per sample, ({rows},)")
        if self.flags is not None and self.flags.dtype != np.bool_:
            raise GlitchtraceError(f"flags have type {self.flags.dtype}; give bool")
        if self.posterior is not None:
            doors.probabilities(self.posterior, "posterior", rows=rows, classes=4)


def detect(name: str, evidence: Evidence, settings: Mapping[str, Any] | None = None) -> Detection:
    """The answer of one registered detector.

    ``settings``: its own and those of the estimator; what neither ``settings`` nor ``reads`` of its card names is left
    out.  Raises GlitchtraceError, naming the detector, for an unknown name, a piece of evidence that is not at hand,
    and an answer that is not one score per sample.
    """
    card = registry.card("detector", name)
    for need in card["needs"]:
        if not evidence.has(need):
            raise GlitchtraceError(f"detector '{name}' needs {NEEDS[need]}; give them or leave it out")
    known = {*registry.settings("detector", name), *card.get("reads", ())}
    options = {key: value for key, value in (settings or {}).items() if key in known}
    view = options.pop("representation", None)
    component = registry.load("detector", name)
    function = component if callable(component) else component.detect
    try:
        # A library's advice on its input (few samples of a class) is none that a user of the detector can follow.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            found = function(evidence if view is None else evidence.seen_as(view), **options)
        answer = found if isinstance(found, Detection) else Detection(found)
    except GlitchtraceError as error:
        raise GlitchtraceError(f"detector '{name}': {error}") from None
    if len(answer.scores) != len(evidence):
        raise GlitchtraceError(
            f"detector '{name}' gave {len(answer.scores)} scores for {len(evidence)} samples; give one per sample"
        )
    return answer


def needs(detectors: Sequence[str]) -> set[str]:
    """The pieces of evidence that some detectors need together."""
    return {need for name in detectors for need in registry.card("detector", name)["needs"]}


def _of_features(evidence: Evidence, make: Callable[..., Arrays], *settings: Any) -> Arrays:
    if evidence.share is None:
        return make(evidence.features, *settings)
    return evidence.share(make, evidence.features, settings)


def _read(reader: Callable[[], Any] | None, need: str) -> Any:
    if reader is None:
        raise GlitchtraceError(f"there is no evidence of this kind: {NEEDS[need]}")
    return reader()

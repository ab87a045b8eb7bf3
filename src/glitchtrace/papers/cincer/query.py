"""One arriving sample as inspectors and negotiators see it, and what they say of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from glitchtrace.core import registry
from glitchtrace.papers.cincer.gradients import Classifier, Gradients, expand_classes


@dataclass(frozen=True)
class Ranking:
    """Candidates from best to worst with their scores; without scores where the order is drawn."""

    order: np.ndarray
    scores: np.ndarray | None = None

    @property
    def chosen(self) -> int:
        """The counter-example."""
        return int(self.order[0])

    @property
    def best(self) -> float:
        """The score of the counter-example; NaN where the order is drawn."""
        return float("nan") if self.scores is None else float(self.scores[0])


def by_score(candidates: np.ndarray, scores: np.ndarray) -> Ranking:
    """The order by descending score; the first of equal ones first, NaN last."""
    order = np.argsort(-scores, kind="stable")
    return Ranking(candidates[order], scores[order])


def signed(scores: np.ndarray, sign: str) -> np.ndarray:
    """Scores in the published sign g_iᵀ M⁻¹ g_k, or the opposite.

    To first order the probability of the annotator's label changes by −(p/n) g_iᵀ H⁻¹ g_k when sample k is left out.
    The contrastive counter-example is the one whose removal raises it most: the definition asks for the opposite
    of what was published.
    """
    return -scores if sign == "contrastive" else scores


@dataclass
class Query:
    """The arriving sample ``example``, which is already in ``known``, and the model that has not seen it yet.

    Attributes:
        classifier: the model fitted on the known samples before this one.
        inputs, labels: all training samples and their annotated labels.
        known: indices of the known samples in order of arrival, ``example`` last.
        probabilities: p(c|x) of the example, (C,).
        diameter: largest distance between two samples, computed when called; its argument says among which.
        whole_order: whether the full order of candidates is wanted, or the best alone.
    """

    classifier: Classifier
    inputs: np.ndarray
    labels: np.ndarray
    known: Sequence[int]
    example: int
    probabilities: np.ndarray
    diameter: Callable[[str], float]
    whole_order: bool = False

    @property
    def annotated(self) -> int:
        """The annotator's label ỹ of the example."""
        return int(self.labels[self.example])

    @property
    def predicted(self) -> int:
        """The model's label ŷ of the example; the first of equal ones."""
        return int(self.probabilities.argmax())

    @cached_property
    def candidates(self) -> np.ndarray:
        """Known samples other than the example whose annotated label is ŷ, ascending."""
        others = np.sort([index for index in self.known if index != self.example]).astype(np.int64)
        return np.asarray(others[self.labels[others] == self.predicted])

    @cached_property
    def distances(self) -> np.ndarray:
        """Euclidean distances of the candidates to the example, on flattened inputs."""
        flat = self.inputs[self.candidates].reshape(len(self.candidates), -1)
        found: np.ndarray = np.linalg.norm(flat - self.inputs[self.example].ravel(), axis=1)
        return found

    def own_gradient(self, *, top: bool = False) -> Gradients:
        """∇ log p(ỹ|x) of the example."""
        return self.gradients_of(np.array([self.example]), top=top)

    def gradients_of(self, samples: np.ndarray, *, top: bool = False) -> Gradients:
        """∇ log p(ỹ|x) of the given samples with their annotated labels."""
        return self.classifier.gradients(
            self.inputs[samples], np.arange(len(samples)), self.labels[samples], top=top
        )

    def fisher_columns(self, samples: Sequence[int], *, top: bool = False) -> tuple[Gradients, np.ndarray]:
        """∇ log p(c|x) of every class of the given samples, and their weights p(c|x) / |S| in the Fisher matrix."""
        inputs = self.inputs[np.asarray(samples)]
        rows, labels = expand_classes(len(inputs), self.classifier.classes)
        weights = self.classifier.probabilities(inputs).ravel() / len(inputs)
        return self.classifier.gradients(inputs, rows, labels, top=top), weights

    def prediction_gradient(self) -> np.ndarray:
        """∇ p(ỹ|x) of the example, flat (P,)."""
        vector: np.ndarray = self.own_gradient().vectors()[0]
        return np.asarray(vector * self.probabilities[self.annotated])

    def mean_hessian_product(self, vector: np.ndarray) -> np.ndarray:
        """The Hessian of the mean loss over the known samples, times a flat vector."""
        samples = np.asarray(self.known)
        return self.classifier.hessian_product(self.inputs[samples], self.labels[samples], vector)

    def sample_hessian_product(self, sample: int, vector: np.ndarray) -> np.ndarray:
        """The Hessian of the loss of one sample, times a flat vector."""
        chosen = slice(sample, sample + 1)
        return self.classifier.hessian_product(self.inputs[chosen], self.labels[chosen], vector)


def largest_distance(inputs: np.ndarray, block: int = 1000) -> float:
    """The largest Euclidean distance between two samples, on flattened inputs, in blocks."""
    flat = inputs.reshape(len(inputs), -1)
    norms = np.einsum("nd,nd->n", flat, flat)
    largest = 0.0
    for start in range(0, len(flat), block):
        part = flat[start : start + block]
        squares = norms[start : start + block, None] + norms[start:] - 2 * part @ flat[start:].T
        largest = max(largest, float(squares.max()))
    return float(np.sqrt(largest))


@dataclass(frozen=True)
class Verdict:
    """The score of an arriving sample, and whether it is suspicious."""

    score: float
    suspicious: bool


@dataclass(frozen=True)
class Inspector:
    """Tells a suspicious sample: ``inspect(query, rng)``."""

    inspect: Callable[[Query, np.random.RandomState], Verdict]


@dataclass(frozen=True)
class Negotiator:
    """Orders the candidates: ``rank(query, rng)``; None shows no counter-example.

    ``drops``: where the annotator confirms the suspicious sample, the counter-example is taken out of the known ones
    instead of being shown.
    """

    rank: Callable[[Query, np.random.RandomState], Ranking] | None
    drops: bool = False


def load_inspector(name: str, threshold: float, settings: Mapping[str, Any]) -> Inspector:
    """The inspector of a registered name.  Raises GlitchtraceError if unknown."""
    score = registry.load("inspector", name)
    card = registry.card("inspector", name)

    def inspect(query: Query, rng: np.random.RandomState) -> Verdict:
        if card.get("draws"):
            return Verdict(float("nan"), score.draw(threshold, rng))
        value = score.score(query, settings, rng)
        return Verdict(value, value > threshold)

    return Inspector(inspect)


def load_negotiator(name: str, settings: Mapping[str, Any]) -> Negotiator:
    """The negotiator of a registered name.  Raises GlitchtraceError if unknown."""
    module = registry.load("negotiator", name)
    card = registry.card("negotiator", name)
    if card.get("silent"):
        return Negotiator(None)
    return Negotiator(lambda query, rng: module.rank(query, settings, rng), bool(card.get("drops")))

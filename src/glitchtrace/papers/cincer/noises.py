"""Kinds of label noise of the published protocol, drawn with its own generator."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

KIND = "noise"
CARDS = {
    "random": {
        "summary": "Labels chosen uniformly are replaced by a uniformly drawn other class.",
        "label": "random noise",
        # The upper bound, a run without any wrong label, is defined for this noise.
        "clean": True,
    },
    "min_margin": {
        "summary": "The samples of the smallest margin of a model trained on clean labels get another class.",
        "label": "smallest margin noise",
        "trains": True,
    },
    "max_margin": {
        "summary": "The samples of the largest margin of a model trained on clean labels get another class.",
        "label": "largest margin noise",
        "trains": True,
    },
    "min_max_margin": {
        "summary": "Half of the wrong labels at the smallest, half at the largest margin max p − min p.",
        "label": "both-margins noise",
        "trains": True,
    },
    "max_margin_cluster": {
        "summary": "Clusters of near samples around those of the largest margin, each relabelled to one wrong class.",
        "label": "clustered noise",
        "trains": True,
    },
    "outlier": {
        "summary": "Samples drawn by the softmax of the distance to their nearest neighbour get another class.",
        "label": "outlier noise",
        "subsample": True,
    },
}


@dataclass
class NoiseContext:
    """The training part before noise.

    Attributes:
        inputs: (n, …).
        truth: true labels (n,) in 0 … C−1.
        classes: C.
        count: number of labels to make wrong.
        train_margins: trains the model on the clean training part and returns max_c p − min_c p per sample;
            called at most once.
        rng: the generator of the run.
    """

    inputs: np.ndarray
    truth: np.ndarray
    classes: int
    count: int
    train_margins: Callable[[], np.ndarray]
    rng: np.random.RandomState

    @cached_property
    def by_margin(self) -> np.ndarray:
        """Samples by ascending margin, the first of equal ones first."""
        return np.argsort(self.train_margins(), kind="stable")

    def flip(self, samples: Iterable[int]) -> np.ndarray:
        """All labels, those of the given samples replaced by another class each, drawn uniformly in that order."""
        labels = self.truth.copy()
        for sample in samples:
            labels[sample] = self.wrong_label(int(self.truth[sample]))
        return labels

    def wrong_label(self, true: int) -> int:
        """One of the other classes."""
        return int(self.rng.choice([label for label in range(self.classes) if label != true]))


@dataclass(frozen=True)
class Noise:
    """A kind of noise: the annotated labels (n,) of a context."""

    annotate: Callable[[NoiseContext], np.ndarray]


def _random(context: NoiseContext) -> np.ndarray:
    """Wrong labels anywhere, uniformly."""
    return context.flip(np.sort(context.rng.permutation(len(context.truth))[: context.count]))


def _min_margin(context: NoiseContext) -> np.ndarray:
    """Wrong labels where a model trained on clean labels has the smallest margin."""
    return context.flip(np.sort(context.by_margin[: context.count]))


def _max_margin(context: NoiseContext) -> np.ndarray:
    """Wrong labels where a model trained on clean labels has the largest margin."""
    return context.flip(np.sort(context.by_margin[len(context.truth) - context.count :]))


def _min_max_margin(context: NoiseContext) -> np.ndarray:
    """Wrong labels at both ends of the margin of a model trained on clean labels."""
    smallest = round(context.count / 2)
    ends = [context.by_margin[:smallest], context.by_margin[len(context.truth) - context.count + smallest :]]
    return context.flip(np.sort(np.concatenate(ends)))


def _max_margin_cluster(context: NoiseContext) -> np.ndarray:
    """Clusters of equal wrong labels around samples of the largest margin.

    There are min(C, count / 10) clusters of count / clusters samples.  Centres are the first samples of distinct true
    classes from the largest margin downward; of the 5 × size nearest neighbours of a centre, itself among them,
    the nearest whose true class is not the wrong label get it.  Clusters may overlap, so that fewer than ``count``
    labels may be wrong.
    """
    clusters = int(min(context.classes, context.count / 10))
    labels = context.truth.copy()
    if clusters == 0:
        return labels
    size = context.count // clusters
    flat = context.inputs.reshape(len(context.inputs), -1)
    used: set[int] = set()
    for centre in context.by_margin[::-1]:
        if len(used) == clusters:
            break
        true = int(context.truth[centre])
        if true in used:
            continue
        used.add(true)
        wrong = context.wrong_label(true)
        distances = np.linalg.norm(flat - flat[centre], axis=1)
        near = np.argsort(distances, kind="stable")[: 5 * size]
        labels[near[context.truth[near] != wrong][:size]] = wrong
    return labels


def _outlier(context: NoiseContext) -> np.ndarray:
    """Wrong labels preferably far from all other samples, drawn in the order in which the samples were."""
    distances = nearest_distances(context.inputs)
    shares = np.exp(distances - distances.max())
    shares /= shares.sum()
    # Where the softmax underflows there are too few samples of positive probability to draw from.
    shares = np.maximum(shares, np.finfo(float).tiny)
    shares /= shares.sum()
    drawn = context.rng.choice(len(distances), context.count, p=shares, replace=False)
    return context.flip(drawn)


def nearest_distances(inputs: np.ndarray, block: int = 1000) -> np.ndarray:
    """Euclidean distance of each sample to the nearest other one, on flattened inputs, in blocks."""
    flat = inputs.reshape(len(inputs), -1)
    norms = np.einsum("nd,nd->n", flat, flat)
    found = np.empty(len(flat))
    for start in range(0, len(flat), block):
        part = flat[start : start + block]
        squares = norms[start : start + block, None] + norms - 2 * part @ flat.T
        squares[np.arange(len(part)), np.arange(start, start + len(part))] = np.inf
        nearest = squares.argmin(axis=1)
        # The difference itself: the expanded square cancels where two samples are close.
        found[start : start + block] = np.linalg.norm(part - flat[nearest], axis=1)
    return found


COMPONENTS = {
    "random": Noise(_random),
    "min_margin": Noise(_min_margin),
    "max_margin": Noise(_max_margin),
    "min_max_margin": Noise(_min_max_margin),
    "max_margin_cluster": Noise(_max_margin_cluster),
    "outlier": Noise(_outlier),
}

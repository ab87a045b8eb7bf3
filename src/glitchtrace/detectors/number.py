"""How many labels are wrong, where nobody knows: estimators of the number, each with an interval.

Sources: docs/methods/detectors.md#number-of-wrong-labels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.detectors.evidence import NEEDS, Evidence
from glitchtrace.detectors.neighbours import nearest_neighbours
from glitchtrace.detectors.out_of_fold import exact

KIND = "counter"
CARDS = {
    "confident_joint": {
        "label": "confident joint",
        "summary": "Off-diagonal mass of the joint of observed and true labels, out of fold (cleanlab).",
        "needs": ["out_of_fold"],
    },
    "expected_errors": {
        "label": "Bernoulli sampling",
        "summary": "Expected number of wrong labels if each true label is drawn from its out-of-fold probabilities.",
        "needs": ["out_of_fold"],
    },
    "loss_mixture": {
        "label": "mixture of losses",
        "summary": "Weight of the upper of two Gaussians fitted to the network's losses (as DivideMix).",
        "needs": ["probabilities"],
    },
    "neighbour_clusters": {
        "label": "HOC",
        "summary": "Noise matrix of the labels of each sample and its two nearest neighbours, by EM (as HOC).",
        "needs": ["features"],
    },
}
_RESAMPLES = 50
_ITERATIONS = 200


@dataclass(frozen=True)
class Number:
    """An estimated number of wrong labels with its 95 % interval."""

    count: float
    low: float
    high: float

    def rounded(self, samples: int) -> int:
        """The number to flag: a whole one, from 0 to all but one sample."""
        return int(min(max(round(self.count), 0), samples - 1))


def count(name: str, evidence: Evidence) -> Number:
    """What one registered estimator says.  Raises GlitchtraceError where its evidence is not at hand."""
    for need in registry.card("counter", name)["needs"]:
        if not evidence.has(need):
            raise GlitchtraceError(f"the estimator '{name}' needs {NEEDS[need]}; give them or choose another")
    found: Number = registry.load("counter", name)(evidence)
    return found


def confident_joint(evidence: Evidence) -> Number:
    """N · Σ_{c≠d} Q_cd of the calibrated joint Q; the interval is that of resampled rows."""
    from cleanlab.count import estimate_joint

    chances, present = exact(evidence.out_of_fold), len(np.unique(evidence.labels))

    def share(rows: np.ndarray) -> float:
        # Rows that lack a class of the data say nothing of its labels; a class that no sample has is no such class.
        if len(np.unique(evidence.labels[rows])) < present:
            return float("nan")
        return 1 - float(np.trace(estimate_joint(evidence.labels[rows], chances[rows])))

    return _resampled(share, evidence, "confident joint")


def expected_errors(evidence: Evidence) -> Number:
    """Σ_i (1 − p_i) of the observed labels; ± 1.96 √Σ p (1 − p)."""
    own = evidence.out_of_fold[np.arange(len(evidence)), evidence.labels].astype(np.float64)
    half = 1.96 * float(np.sqrt((own * (1 - own)).sum()))
    total = float((1 - own).sum())
    return Number(total, max(0.0, total - half), min(len(evidence), total + half))


def loss_mixture(evidence: Evidence) -> Number:
    """N times the weight of the component of larger mean, of losses scaled to 0 … 1; resampled rows."""
    from sklearn.mixture import GaussianMixture

    own = evidence.probabilities[np.arange(len(evidence)), evidence.labels].astype(np.float64)
    losses = -np.log(np.maximum(own, 1e-12))
    losses = (losses - losses.min()) / max(float(np.ptp(losses)), 1e-12)

    def share(rows: np.ndarray) -> float:
        model = GaussianMixture(2, random_state=0, reg_covar=5e-4, tol=1e-2).fit(losses[rows, None])
        return float(model.predict_proba(losses[rows, None])[:, model.means_[:, 0].argmax()].mean())

    return _resampled(share, evidence, "mixture of losses")


def neighbour_clusters(evidence: Evidence) -> Number:
    """N (1 − Σ_c π_c T_cc): a latent class gives a sample and its two neighbours their labels independently by T.

    π and T are those of the largest likelihood of the counted triples, by EM from T = 0.8 on the diagonal.
    """
    triples = np.column_stack([evidence.labels, evidence.labels[nearest_neighbours(evidence.features, 2)[0]]])

    def share(rows: np.ndarray) -> float:
        return _latent_share(triples[rows], evidence.classes)

    return _resampled(share, evidence, "neighbour clusters", resamples=10)


def _latent_share(triples: np.ndarray, classes: int) -> float:
    kinds, counts = np.unique(triples, axis=0, return_counts=True)
    prior = np.bincount(triples[:, 0], minlength=classes) / len(triples)
    matrix = np.full((classes, classes), 0.2 / max(classes - 1, 1))
    np.fill_diagonal(matrix, 0.8)
    for _ in range(_ITERATIONS):
        joint = prior * np.prod([matrix[:, kinds[:, view]].T for view in range(3)], axis=0)
        weights = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300) * counts[:, None]
        expected = np.zeros((classes, classes))
        for view in range(3):
            np.add.at(expected.T, kinds[:, view], weights)
        updated = expected / np.maximum(expected.sum(axis=1, keepdims=True), 1e-300)
        moved = float(np.abs(updated - matrix).max())
        prior, matrix = weights.sum(axis=0) / counts.sum(), updated
        if moved < 1e-6:
            break
    return 1 - float((prior * np.diag(matrix)).sum())


def _resampled(
    share: Callable[[np.ndarray], float], evidence: Evidence, name: str, resamples: int = _RESAMPLES
) -> Number:
    """N times a share, with its interval over resampled rows: centre ± 1.96 standard deviations."""
    samples = len(evidence)
    rng = generator(evidence.seed, name)
    centre = share(np.arange(samples))
    drawn = np.array([share(rng.integers(samples, size=samples)) for _ in range(resamples)])
    half = 1.96 * float(np.nanstd(drawn)) if np.isfinite(drawn).any() else 1.0
    return Number(samples * centre, samples * max(0.0, centre - half), samples * min(1.0, centre + half))


COMPONENTS = {
    "confident_joint": confident_joint,
    "expected_errors": expected_errors,
    "loss_mixture": loss_mixture,
    "neighbour_clusters": neighbour_clusters,
}

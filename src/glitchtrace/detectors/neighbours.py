"""Detectors by neighbours in the space of the features.

Sources: docs/methods/detectors.md.
"""

from collections.abc import Iterator

import numpy as np

from glitchtrace.core.seeding import generator
from glitchtrace.core.sharing import Arrays
from glitchtrace.detectors.evidence import Detection, Evidence

KIND = "detector"
CARDS = {
    "knn_vote": {
        "label": "k-NN vote",
        "summary": "Share of the nearest neighbours (cosine) with another label, nearer ones counting more.",
        "needs": ["features"],
        "finds": "label",
        "family": "neighbours",
        "shares": ["neighbours", "representation"],
    },
    "simifeat": {
        "label": "SimiFeat",
        "summary": "1 − the cosine between the neighbours' soft label and the observed one (SimiFeat's rank).",
        "needs": ["features"],
        "finds": "label",
        "family": "neighbours",
        "shares": ["neighbours", "representation"],
    },
    "knn_shapley": {
        "label": "KNN-Shapley",
        "summary": "Negated Shapley value of a sample for the nearest neighbours' vote on the validation samples.",
        "needs": ["features", "validation"],
        "finds": "both",
        "family": "neighbours",
        "shares": ["neighbours", "representation"],
    },
    "relation_graph": {
        "label": "relation graph",
        "summary": "Relations to samples of other labels against those of the own (Neural Relation Graph).",
        "needs": ["features", "probabilities"],
        "finds": "label",
        "shares": "representation",
        "family": "neighbours",
    },
    "aled": {
        "label": "ALED",
        "summary": "Log likelihood ratio of the best other class, Gaussians in the space of class means (after ALED).",
        "needs": ["features"],
        "finds": "label",
        "shares": "representation",
        "family": "neighbours",
        "settings": {
            "ensembles": {
                "type": "integer",
                "minimum": 1,
                "description": "Random directions.",
                "default": 10,
            }
        },
    },
}
_BLOCK = 2**22  # entries of a block of similarities
_EDGE = 0.03  # relations up to this size are no edges


def knn_vote(evidence: Evidence, neighbours: int = 10) -> Detection:
    """Share of the k nearest neighbours with another label, weighted by similarity, (n,) in 0 … 1."""
    found = evidence.of_features(nearest_neighbours, neighbours)
    shares = soft_labels(found, evidence.labels, evidence.classes)
    own = shares[np.arange(len(evidence)), evidence.labels]
    return Detection(1 - own, proposed_labels=shares.argmax(axis=1), confidence=shares.max(axis=1))


def simifeat(evidence: Evidence, neighbours: int = 10) -> Detection:
    """1 − q_y / ‖q‖ of the neighbours' soft label q, the sample itself included, (n,) in 0 … 1."""
    found = evidence.of_features(nearest_neighbours, neighbours)
    shares = soft_labels(found, evidence.labels, evidence.classes, weighted=False)
    shares = shares * found[0].shape[1]  # counts; few rows have fewer neighbours than asked for
    rows = np.arange(len(evidence))
    shares[rows, evidence.labels] += 1
    norms = np.linalg.norm(shares, axis=1)
    return Detection(1 - shares[rows, evidence.labels] / norms, proposed_labels=shares.argmax(axis=1))


def knn_shapley(evidence: Evidence, neighbours: int = 10) -> Detection:
    """− (1/m) Σ_j of the Shapley value of each sample for the k-NN vote on validation sample j, (n,).

    With the training samples sorted by distance to j, s_n = [y_n = v]/n and
    s_i = s_{i+1} + ([y_i = v] − [y_{i+1} = v])/k · min(k, i)/i, exact in O(n log n) for each j.
    """
    validation = evidence.validation
    name = next(iter(evidence.representations))
    rows, others = evidence.representations[name], validation.representations[name]
    values = shapley_values(rows, evidence.labels, others, validation.labels, neighbours)
    return Detection(-values)


def shapley_values(
    features: np.ndarray, labels: np.ndarray, others: np.ndarray, truth: np.ndarray, neighbours: int
) -> np.ndarray:
    """The mean over validation samples of the Shapley values (n,); Euclidean distance, ties by index."""
    samples = len(features)
    place = np.arange(1, samples)
    factor = np.minimum(neighbours, place) / (place * neighbours)
    total = np.zeros(samples)
    squares = np.einsum("ij,ij->i", features, features, dtype=np.float64)
    for part in _blocks(len(truth), samples):
        distances = squares - 2 * (others[part] @ features.T).astype(np.float64)
        for distance, label in zip(distances, truth[part], strict=True):
            order = np.argsort(distance, kind="stable")
            right = (labels[order] == label).astype(np.float64)
            steps = (right[:-1] - right[1:]) * factor
            # With fewer samples than neighbours the vote still divides by the number of neighbours.
            last = right[-1] * min(1, neighbours / samples) / neighbours
            values = np.append(last + steps[::-1].cumsum()[::-1], last)
            total[order] += values
    return total / len(truth)


def relation_graph(evidence: Evidence) -> Detection:
    """− Σ_j r_ij over the edges |r_ij| > 0.03, (n,).

    r_ij = ± max(0, cos(x_i, x_j)) · (p_i · p_j), + for equal labels, − for different ones.
    """
    rows, chances, labels = _unit(evidence.features), evidence.probabilities, evidence.labels
    samples = len(evidence)
    scores = np.zeros(samples)
    for part in _blocks(samples, 4 * samples):
        # Each pair once: a relation counts for both of its samples.
        rest = slice(part.start, samples)
        relation = np.maximum(rows[part] @ rows[rest].T, 0) * (chances[part] @ chances[rest].T)
        relation[relation <= _EDGE] = 0
        np.negative(relation, out=relation, where=labels[part, None] == labels[rest])
        size = len(relation)
        relation[np.arange(size), np.arange(size)] = 0
        scores[part] += relation.sum(axis=1, dtype=np.float64)
        scores[part.stop :] += relation[:, size:].sum(axis=0, dtype=np.float64)
    return Detection(scores)


def aled(evidence: Evidence, ensembles: int = 10) -> Detection:
    """max_{c≠y} ln π_c L_c − ln π_y L_y, (n,), L the likelihood of the projected features, mean over the ensembles.

    Each ensemble projects on the directions between the class means and on a random one; a class is a Gaussian whose
    mean and covariance are those of its nearest three quarters.  Published for two classes by robust covariances.
    """
    rows, labels = evidence.features.astype(np.float64), evidence.labels
    present = np.unique(labels)
    means = np.stack([rows[labels == label].mean(axis=0) for label in present])
    directions, sizes, _ = np.linalg.svd((means - means.mean(axis=0)).T, full_matrices=False)
    directions = directions[:, sizes > 1e-9 * max(float(sizes.max()), 1e-300)]
    rng = generator(evidence.seed, "aled")
    total = np.full((len(rows), evidence.classes), -np.inf)
    for _ in range(ensembles):
        drawn = rng.normal(size=(rows.shape[1], 1))
        projected = rows @ np.hstack([directions, drawn / np.linalg.norm(drawn)])
        logs = np.stack([_log_likelihood(projected, labels == label) for label in present], axis=1)
        total[:, present] = np.logaddexp(total[:, present], logs)
    own = total[np.arange(len(rows)), labels]
    others = total.copy()
    others[np.arange(len(rows)), labels] = -np.inf
    return Detection(others.max(axis=1) - own, proposed_labels=total.argmax(axis=1))


def _log_likelihood(rows: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Ln π_c L_c of all rows under the Gaussian of a class, trimmed once; the covariance is shrunk by 1 %."""
    chosen = rows[members]
    for _ in range(2):
        mean = chosen.mean(axis=0)
        covariance = np.atleast_2d(np.cov(chosen, rowvar=False, bias=True))
        covariance = 0.99 * covariance + (0.01 * np.trace(covariance) / len(mean) + 1e-12) * np.eye(len(mean))
        factor = np.linalg.cholesky(covariance)
        distance = (np.linalg.solve(factor, (rows - mean).T) ** 2).sum(axis=0)
        own = distance[members]
        chosen = rows[members][own <= np.quantile(own, 0.75)]
        if len(chosen) < 2:
            break
    result: np.ndarray = -0.5 * distance - np.log(np.diag(factor)).sum() + np.log(members.mean())
    return result


def soft_labels(nearest: Arrays, labels: np.ndarray, classes: int, *, weighted: bool = True) -> np.ndarray:
    """The share of each class among the nearest neighbours, from ``nearest_neighbours``, (n, K)."""
    places, similarity = nearest
    shares = np.zeros((len(places), classes))
    weights = np.maximum(similarity, 1e-9) if weighted else np.ones_like(similarity)
    np.add.at(shares, (np.arange(len(places))[:, None], labels[places]), weights)
    result: np.ndarray = shares / shares.sum(axis=1, keepdims=True)
    return result


def nearest_neighbours(features: np.ndarray, neighbours: int) -> Arrays:
    """The k nearest neighbours of every sample but itself, nearest first, ties by index, and their cosines, (n, k)."""
    rows = _unit(features)
    count = min(neighbours, len(rows) - 1)
    places, cosines = np.empty((len(rows), count), np.int64), np.empty((len(rows), count))
    for part in _blocks(len(rows), len(rows)):
        distance = rows[part] @ rows.T
        np.negative(distance, out=distance)
        distance[np.arange(len(distance)), np.arange(part.start, part.stop)] = np.inf
        places[part] = _first(distance, count)
        cosines[part] = -np.take_along_axis(distance, places[part], axis=1)
    return places, cosines


def _first(values: np.ndarray, count: int) -> np.ndarray:
    """The places of the ``count`` smallest values of each row, in order, ties by index: a stable sort's, sooner."""
    found = np.sort(np.argpartition(values, count - 1, axis=1)[:, :count], axis=1)
    own = np.take_along_axis(values, found, axis=1)
    order = np.argsort(own, axis=1, kind="stable")
    found = np.take_along_axis(found, order, axis=1)
    # Where the last value occurs outside too, the partition may have taken a later place.
    tied = (values <= own.max(axis=1, keepdims=True)).sum(axis=1) > count
    found[tied] = np.argsort(values[tied], axis=1, kind="stable")[:, :count]
    return found


def _unit(features: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(norms > 0, norms, 1)


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, _BLOCK // columns)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


COMPONENTS = {
    "knn_vote": knn_vote,
    "simifeat": simifeat,
    "knn_shapley": knn_shapley,
    "relation_graph": relation_graph,
    "aled": aled,
}

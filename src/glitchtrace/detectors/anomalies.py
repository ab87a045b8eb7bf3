"""Detectors of anomalies: samples far from all others in the space of the features, whatever their labels.

Sources: docs/methods/detectors.md.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from glitchtrace.core.seeding import generator
from glitchtrace.core.sharing import Arrays
from glitchtrace.data import doors
from glitchtrace.detectors.evidence import Detection, Evidence

KIND = "detector"
CARDS = {
    "knn_distance": {
        "label": "k-NN distance",
        "summary": "Mean Euclidean distance to the nearest neighbours.",
        "needs": ["features"],
        "finds": "anomaly",
        "family": "anomalies",
        "shares": ["neighbours", "representation"],
    },
    "mahalanobis": {
        "label": "Mahalanobis",
        "summary": "Mahalanobis distance to the nearest class mean, one shrunk covariance for all classes.",
        "needs": ["features"],
        "finds": "anomaly",
        "shares": "representation",
        "family": "anomalies",
    },
    "isolation_forest": {
        "label": "isolation forest",
        "summary": "How easily a sample is isolated by random cuts (scikit-learn).",
        "needs": ["features"],
        "finds": "anomaly",
        "shares": "representation",
        "family": "anomalies",
        "settings": {"trees": {"type": "integer", "minimum": 1, "description": "Trees.", "default": 100}},
    },
    "local_outlier_factor": {
        "label": "LOF",
        "summary": "Local outlier factor: density around a sample against that around its neighbours (scikit-learn).",
        "needs": ["features"],
        "finds": "anomaly",
        "family": "anomalies",
        "shares": ["neighbours", "representation"],
        "defaults": {"neighbours": 20},
    },
    "ecod": {
        "label": "ECOD",
        "summary": "Tail probabilities of the empirical distributions of all features (PyOD).",
        "needs": ["features"],
        "finds": "anomaly",
        "shares": "representation",
        "family": "anomalies",
    },
    "autoencoder": {
        "label": "autoencoder",
        "summary": "Reconstruction error of an autoencoder of the features (PyOD).",
        "needs": ["features"],
        "finds": "anomaly",
        "shares": "representation",
        "family": "anomalies",
        "settings": {
            "epochs": {
                "type": "integer",
                "minimum": 1,
                "description": "Passes.",
                "default": 10,
            }
        },
    },
}


def knn_distance(evidence: Evidence, neighbours: int = 10) -> Detection:
    """Mean Euclidean distance to the k nearest other samples, (n,)."""
    distances, _ = evidence.of_features(_nearest, _searched(neighbours))
    return Detection(distances[:, :neighbours].mean(axis=1))


def mahalanobis(evidence: Evidence) -> Detection:
    """min_c (x − μ_c)ᵀ Σ⁻¹ (x − μ_c), (n,), Σ the Ledoit-Wolf covariance within the classes; the class is proposed."""
    from scipy.linalg import solve_triangular

    rows, labels = evidence.features.astype(np.float64), evidence.labels
    present = np.unique(labels)
    means = np.stack([rows[labels == label].mean(axis=0) for label in present])
    within = rows - means[np.searchsorted(present, labels)]
    spread = within.std(axis=0)
    scale = np.where(spread > 0, spread, 1)  # a feature may be constant, or in another unit
    covariance = shrunk_covariance(within / scale)
    factor = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(covariance)))
    whitened = solve_triangular(factor, ((rows - means[0]) / scale).T, lower=True, check_finite=False)
    centres = solve_triangular(factor, ((means - means[0]) / scale).T, lower=True, check_finite=False)
    distances = -2 * whitened.T @ centres + (centres**2).sum(axis=0)
    distances += np.einsum("ji,ji->i", whitened, whitened)[:, None]
    return Detection(distances.min(axis=1), proposed_labels=present[distances.argmin(axis=1)])


def shrunk_covariance(rows: np.ndarray) -> np.ndarray:
    """The Ledoit-Wolf covariance (d, d) of centred rows, as scikit-learn has it.

    Its two sums over all pairs of features are ‖XᵀX‖² and Σ_i ‖x_i‖⁴: one product of matrices, not three.
    """
    count, width = rows.shape
    covariance: np.ndarray = rows.T @ rows / count
    mean = np.trace(covariance) / width
    squares = np.vdot(covariance, covariance)
    noise = ((np.einsum("ij,ij->i", rows, rows) ** 2).sum() / count - squares) / (width * count)
    distance = squares / width - mean**2
    share = min(noise, distance) / distance if noise and distance else 0.0
    covariance *= 1 - share
    covariance[np.diag_indices(width)] += share * mean
    return covariance


def isolation_forest(evidence: Evidence, trees: int = 100) -> Detection:
    """How easily a sample is isolated, (n,) in 0 … 1; the forest is fitted on the training samples."""
    seed = int(generator(evidence.seed, "isolation forest").integers(2**31))
    (scores,) = evidence.of_features(_isolated, trees, seed)
    return Detection(scores)


def _isolated(features: np.ndarray, trees: int, seed: int) -> Arrays:
    rows = _of_order_one(features)
    return (isolation_scores(rows, rows, trees, seed),)


def isolation_scores(seen: np.ndarray, asked: np.ndarray, trees: int, seed: int) -> np.ndarray:
    """How easily the rows ``asked`` are isolated by a forest fitted on the rows ``seen``, (n,)."""
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=trees, random_state=seed, n_jobs=1)
    scores: np.ndarray = -forest.fit(seen).score_samples(asked)
    return scores


def local_outlier_factor(evidence: Evidence, neighbours: int = 20) -> Detection:
    """The local outlier factor, (n,), about 1 inside a cluster."""
    from scipy.sparse import csr_matrix
    from sklearn.neighbors import LocalOutlierFactor

    distances, places = (
        part[:, :neighbours] for part in evidence.of_features(_nearest, _searched(neighbours))
    )
    rows, count = distances.shape
    # A sample is its own neighbour at distance 0: scikit-learn takes it off again.
    distances = np.column_stack([np.zeros(rows), distances])
    places = np.column_stack([np.arange(rows), places])
    starts = np.arange(0, places.size + 1, count + 1)
    graph = csr_matrix((_of_order_one(distances).ravel(), places.ravel(), starts), shape=(rows, rows))
    found = LocalOutlierFactor(n_neighbors=count, metric="precomputed", n_jobs=1).fit(graph)
    return Detection(-found.negative_outlier_factor_)


def _of_order_one(values: np.ndarray) -> np.ndarray:
    """Values far from 1 times a power of two: libraries take what is below 1e-7 or 1e-10 for equal."""
    largest = float(np.abs(values).max())
    usual = largest == 0 or 1e-3 <= largest <= 1e6
    scaled: np.ndarray = values if usual else np.ldexp(values, -np.frexp(largest)[1])
    return scaled


def _searched(neighbours: int) -> int:
    """How many neighbours to look for: those of a setting, and enough for all detectors as they are by default."""
    return max(neighbours, 20)


def _nearest(features: np.ndarray, neighbours: int) -> Arrays:
    """Euclidean distances to the k nearest other samples, nearest first, and their places, each (n, k)."""
    from sklearn.neighbors import NearestNeighbors

    count = min(neighbours, len(features) - 1)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute", n_jobs=1).fit(features)
    found: Arrays = search.kneighbors()
    return found


def ecod(evidence: Evidence) -> Detection:
    """Σ over features of −ln of the smaller tail probability, (n,): PyOD's numbers, to the bit.

    PyOD sorts each feature twice, takes 2 n d logarithms of n different numbers, and compiles a loop in every process.
    """
    (scores,) = evidence.of_features(_surprise)
    return Detection(scores)


def _surprise(features: np.ndarray) -> Arrays:
    from scipy.stats import skew

    rows = features.astype(np.float64)
    count, width = rows.shape
    surprise = -np.log(np.linspace(1 / count, 1, count))
    # PyOD takes the tail on the side of the skew and then the larger of both: it matters only where there is none.
    both = np.nan_to_num(skew(rows, axis=0)) == 0
    found = np.empty((width, count))
    for place, values in enumerate(np.ascontiguousarray(rows.T)):
        order = np.argsort(values)
        ordered = values[order]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        ends = np.append(starts[1:], count)
        left, right = ends - 1, count - 1 - starts  # how many others are at most, at least as large
        tails = surprise[left] + surprise[right] if both[place] else surprise[np.minimum(left, right)]
        found[place, order] = np.repeat(tails, ends - starts)
    return (np.ascontiguousarray(found.T).sum(axis=1),)


def autoencoder(evidence: Evidence, epochs: int = 10) -> Detection:
    """Reconstruction error, (n,), as PyOD has it.

    The hidden layers have half and a quarter of the features, at most PyOD's own 64 and 32.
    """
    seed = int(generator(evidence.seed, "autoencoder").integers(2**31))
    (scores,) = evidence.of_features(_reconstructed, epochs, seed)
    return Detection(scores)


def _reconstructed(features: np.ndarray, epochs: int, seed: int) -> Arrays:
    from pyod.models.auto_encoder import AutoEncoder  # type: ignore[import-untyped]
    from torch.utils.data import DataLoader

    from glitchtrace.training.device import global_generators_kept

    def whole(loader: Any) -> Any:
        return DataLoader(loader.dataset, sampler=loader.batch_sampler, batch_size=None)

    class Cheaper(AutoEncoder):  # type: ignore[misc]
        """PyOD's own, to the bit: batches are taken by one index, and its distance needs no compiler."""

        def training_prepare(self) -> None:
            super().training_prepare()
            for group in self.optimizer.param_groups:
                group["foreach"] = True  # one call for all tensors

        def train(self, train_loader: Any) -> None:
            super().train(whole(train_loader))

        def evaluate(self, data_loader: Any) -> np.ndarray:
            found: np.ndarray = super().evaluate(whole(data_loader))
            return found

        def evaluating_forward(self, rows: Any) -> np.ndarray:
            distance: np.ndarray = np.linalg.norm(self.model(rows).numpy() - rows.numpy(), axis=1)
            return distance

    width = features.shape[1]
    hidden = [min(max(2, width // 2), 64), min(max(2, width // 4), 32)]
    rows = doors.single(_of_order_one(features), "features")
    with global_generators_kept(), _hash_seed_kept():  # PyOD seeds whatever there is
        model = Cheaper(
            hidden_neuron_list=hidden,
            epoch_num=epochs,
            batch_size=min(32, len(features)),
            device="cpu",
            random_state=seed,
            verbose=0,
        )
        return (model.fit(rows).decision_scores_,)


@contextmanager
def _hash_seed_kept() -> Iterator[None]:
    """Leave the seed that processes started later hash with as it was."""
    before = os.environ.get("PYTHONHASHSEED")
    try:
        yield
    finally:
        os.environ.pop("PYTHONHASHSEED", None)
        if before is not None:
            os.environ["PYTHONHASHSEED"] = before


COMPONENTS = {
    "knn_distance": knn_distance,
    "mahalanobis": mahalanobis,
    "isolation_forest": isolation_forest,
    "local_outlier_factor": local_outlier_factor,
    "ecod": ecod,
    "autoencoder": autoencoder,
}

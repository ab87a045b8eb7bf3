"""Classes that training has far less of than validation."""

import numpy as np

LIMIT, RATIO = -4.2, 0.75


def rare_classes(train: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Classes (r,) whose training share is significantly (z < -4.2) below 0.75 of their validation share.

    ``train``, ``held`` (K,): rows of each class, observed or believed.
    """
    n, m = train.sum(), held.sum()
    share, other = train / n, held / m
    pooled = (train + held) / (n + m)
    error = np.sqrt(np.maximum(pooled * (1 - pooled) * (1 / n + 1 / m), 1e-300))
    return np.flatnonzero(((share - other) / error < LIMIT) & (share < RATIO * other))


def find_rare(
    labels: np.ndarray, held: np.ndarray, believed: np.ndarray, believed_held: np.ndarray, classes: int
) -> np.ndarray:
    """Rare by the observed labels *and* by the believed ones: wrong validation labels alone make no class rare.

    ``labels``, ``held``: observed labels of training and validation rows; ``believed``, ``believed_held`` (K,):
    expected numbers of rows of each class after the noise is taken out.
    """
    observed = rare_classes(np.bincount(labels, minlength=classes), np.bincount(held, minlength=classes))
    return np.intersect1d(observed, rare_classes(believed, believed_held))


def thinned(labels: np.ndarray, held: np.ndarray, rare: np.ndarray) -> np.ndarray:
    """Validation rows (m,) bool kept when those of rare classes are thinned to their training share, in order."""
    keep = np.ones(len(held), dtype=bool)
    if not len(rare):
        return keep
    others = ~np.isin(labels, rare)
    common = np.sum(~np.isin(held, rare)) / max(others.sum(), 1)
    for label in rare:
        mine = np.flatnonzero(held == label)
        keep[mine[round(common * np.sum(labels == label)) :]] = False
    return keep

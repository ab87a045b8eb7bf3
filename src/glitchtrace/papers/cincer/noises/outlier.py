"""Wrong labels preferably far from all other samples."""

import numpy as np

from glitchtrace.papers.cincer.noise_context import NoiseContext

KIND = "noise"
CARD = {
    "summary": "Samples drawn by the softmax of the distance to their nearest neighbour get another class.",
    "label": "outlier noise",
    "subsample": True,
}


def annotate(context: NoiseContext) -> np.ndarray:
    """The annotated labels; labels are drawn in the order in which the samples were."""
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

"""The published training losses, cross entropies of a softmax of softmax outputs, from the factors of a cell.

Source: docs/reproduction.md.
"""

from pathlib import Path

import numpy as np

from glitchtrace.core import files
from glitchtrace.glitches.kinds import Kind


def double_softmax_loss(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross entropy at ``labels`` (n,) of the softmax of ``probabilities`` (n, K): (n,) float64.

    Probabilities lie in [0, 1], so that with K classes the loss lies between log(1 + (K − 1)/e) and log(K − 1 + e).
    """
    values = probabilities.astype(np.float64)
    chosen = values[np.arange(len(labels)), labels]
    return np.asarray(np.log(np.exp(values).sum(axis=1)) - chosen)


def last_losses(factors: str | Path, glitch: str | Path) -> dict[str, float]:
    """Published loss in training after the last epoch of a cell, by the kind of sample.

    ``factors`` is the cell's factors.safetensors, ``glitch`` its glitch.parquet.  Raises GlitchtraceError for a file
    that is not whole.
    """
    tensors = files.read_tensors(factors)
    kinds = files.read_parquet(glitch)["kind"].to_numpy()
    outputs = tensors[f"train/probabilities/{len(tensors['learning_rates']):03d}"]
    losses = double_softmax_loss(outputs, tensors["train/labels"])
    return {kind.label: float(losses[kinds == kind].mean()) for kind in Kind if (kinds == kind).any()}

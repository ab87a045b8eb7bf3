"""The relabelling function R: what a harmful sample becomes.

m is the observed label of a sample, K the number of classes, φ_k the probability of class k.  R gives it the
target y'_m = 0 and

    y'_k = log_{φ_k} (1 − φ_m)^{1/(K−1)} = ln(1 − φ_m) / ((K − 1)·ln φ_k),  k ≠ m,

so that the cross-entropy −Σ y'_k ln φ_k is −ln(1 − φ_m).  With two classes y' is the other label.  The targets do
not sum to 1; they are no distribution.  With a target that moves with the model the gradient of the relabelled loss
is −φ_m/(1 − φ_m) times that of the observed loss, so that relabelling does 1/(1 − φ_m) times what deletion does.
A target frozen at the first model is another objective, without this property.

The formula of the targets is the published one as others report it: unverified against the paper's text.  Source:
Kong, Shen, Huang, Resolving training biases via influence-based data relabeling, ICLR 2022;
docs/methods/rdia.md#relabelling-function.
"""

import numpy as np

# The smallest probability, of one class or of all others together, that is told from 0.
FLOOR = 1e-7


def relabelled_targets(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Targets y' (n, K) of samples with observed ``labels`` (n,) under ``probabilities`` (n, K).

    Probabilities are cut at 1e-7 and 1 − 1e-7 first.
    """
    count, classes = probabilities.shape
    cut = np.clip(probabilities, FLOOR, 1 - FLOOR)
    others = np.log(np.minimum(_others(probabilities, labels), 1 - FLOOR))
    targets = others[:, None] / ((classes - 1) * np.log(cut))
    targets[np.arange(count), labels] = 0.0
    result: np.ndarray = targets
    return result


def relabelled_loss(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Loss −ln(1 − φ_m) of each sample after R, (n,), with 1 − φ_m cut at 1e-7."""
    result: np.ndarray = -np.log(_others(probabilities, labels))
    return result


def relabelled_residuals(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gradient (n, K) of the relabelled loss with respect to the logits: −φ_m/(1 − φ_m)·(φ − onehot(m)).

    Where 1 − φ_m is cut the loss is constant and its gradient 0.
    """
    rows = np.arange(len(labels))
    observed = probabilities[rows, labels]
    others = _others(probabilities, labels)
    weight = np.where(others > FLOOR, -observed / others, 0.0)
    residuals = probabilities.copy()
    residuals[rows, labels] -= 1
    result: np.ndarray = weight[:, None] * residuals
    return result


def _others(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 − φ_m as the sum of the other classes, which loses no digits, in [1e-7, 1]."""
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = 0.0
    result: np.ndarray = np.clip(others.sum(axis=1), FLOOR, 1.0)
    return result

"""TracIn with checkpoints (Pruthi et al. 2020) on a recorded training.

    r_i = Σ_e (η_e/b)·⟨∇l_i(θ_e), ∇L(θ_e)⟩

over the parameters θ_e after each epoch, with L the mean validation loss, η_e the mean rate of the epoch's steps and
b the batch size: every step of the epoch is taken to lie at its end, and no step to change the effect of an earlier
one.
"""

import numpy as np

from glitchtrace.influence.sgd_influence.koh_liang import TrainingLoss
from glitchtrace.influence.sgd_influence.walk import tensors, validation_gradient
from glitchtrace.models.network import Network
from glitchtrace.training.recorded.objective import State
from glitchtrace.training.recorded.trace import Trace
from glitchtrace.training.sgd import Samples


def influence(
    network: Network,
    trace: Trace,
    train: Samples,
    labels: np.ndarray,
    validation: Samples,
    validation_labels: np.ndarray,
    batch: int,
) -> np.ndarray:
    """r, (n,) float64: first-order change of the mean validation loss without each sample, in its units.

    Networks are passed in eval mode, ``batch`` samples at a time, without augmentation and without the L2 term.
    """
    total = np.zeros(len(labels))
    rates = trace.rates.reshape(trace.epochs, -1).mean(axis=1)
    for state, rate in zip(trace.epoch_states, rates, strict=True):
        u = validation_gradient(network, state, trace, validation, validation_labels, batch)
        at = State(network, tensors(state, trace, network), training=False)
        total += rate * TrainingLoss(network, at, train, labels, batch).directional(u)
    return total / trace.batches.shape[1]

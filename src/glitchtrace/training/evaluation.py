"""What a network makes of samples in eval mode: features, probabilities, accuracy and loss."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from glitchtrace.core.heap import kept_heap
from glitchtrace.glitches.kinds import Kind
from glitchtrace.models.network import Network
from glitchtrace.training.sgd import Samples, out_of_memory


@dataclass(frozen=True)
class Outputs:
    """Of n samples: ``features`` (n, d), ``probabilities`` and ``log_probabilities`` (n, K), all float32."""

    features: np.ndarray
    probabilities: np.ndarray
    log_probabilities: np.ndarray

    def accuracy(self, labels: np.ndarray) -> float:
        """Share of samples whose label (n,) is the most probable class, the lowest of several."""
        return float(np.mean(self.log_probabilities.argmax(axis=1) == labels))

    def loss(self, labels: np.ndarray) -> float:
        """Mean cross entropy (nats) against labels (n,), accumulated in float64."""
        chosen = self.log_probabilities[np.arange(len(labels)), labels]
        return -float(np.mean(chosen, dtype=np.float64))

    def select(self, rows: np.ndarray) -> "Outputs":
        """The outputs of some samples, by index or mask."""
        return Outputs(self.features[rows], self.probabilities[rows], self.log_probabilities[rows])


@torch.inference_mode()
def evaluate(network: Network, samples: Samples, *, batch_size: int, device: torch.device) -> Outputs:
    """One pass over all samples in eval mode, in batches of ``batch_size``; the network is left in eval mode.

    Raises GlitchtraceError, naming ``evaluation_batch``, where memory runs out.
    """
    network = network.eval().for_evaluation()
    parts = []
    with out_of_memory("evaluation_batch", batch_size), kept_heap():
        for x in evaluation_batches(network, samples, batch_size, device):
            features = network.features(x)
            logits = network.logits(features)
            tensors = (features, logits.softmax(dim=1), logits.log_softmax(dim=1))
            parts.append([tensor.cpu().numpy() for tensor in tensors])
    return Outputs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def evaluation_batches(
    network: Network, samples: Samples, batch_size: int, device: torch.device
) -> Iterator[torch.Tensor]:
    """All samples in batches of ``batch_size``, on a processor of no more than the network's ``evaluation_rows``."""
    if device.type == "cpu" and network.evaluation_rows:
        batch_size = min(batch_size, network.evaluation_rows)
    for start in range(0, len(samples), batch_size):
        yield samples.batch(slice(start, min(start + batch_size, len(samples)))).to(device)


def by_kind(
    outputs: Outputs, labels: np.ndarray, kinds: np.ndarray | None = None
) -> Iterator[tuple[str, int, float, float]]:
    """Kind, count, accuracy and loss against the observed ``labels``: of all samples, then by kind.

    ``kinds``: (n,) values of ``Kind``, where they are to be told apart; kinds without samples are left out.
    """
    yield "all", len(labels), outputs.accuracy(labels), outputs.loss(labels)
    for kind in Kind:
        rows = np.flatnonzero(kinds == kind) if kinds is not None else np.arange(0)
        if len(rows):
            chosen = outputs.select(rows)
            yield kind.label, len(rows), chosen.accuracy(labels[rows]), chosen.loss(labels[rows])

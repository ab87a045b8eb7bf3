"""The scores that all experts give to the labels of each row, kept for every label or for the likely ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from glitchtrace.detectors.jury.rows import Rows

CANDIDATES = 32  # labels kept per row where there are more classes than DENSE
DENSE = 64


class Expert(Protocol):
    """Whoever scores every label of a row without having seen the label of that row, or of its unit."""

    def scores(self, block: np.ndarray) -> np.ndarray:
        """Scores (len(block), K) of rows that form whole units; higher = more likely."""


@dataclass(frozen=True)
class Ballots:
    """Scores ``z`` (E, N, C) float32, each expert's centred per row and divided by its standard deviation.

    ``candidates`` (N, C): the label of each entry; all labels in order where K is at most 64, otherwise the 32 with
    the highest sum of scores, the observed label among them.
    """

    z: np.ndarray
    candidates: np.ndarray
    names: tuple[str, ...]
    classes: int
    deviations: np.ndarray

    def take(self, index: np.ndarray | slice) -> "Ballots":
        """The same for some rows."""
        return Ballots(self.z[:, index], self.candidates[index], self.names, self.classes, self.deviations)

    def place(self, labels: np.ndarray) -> np.ndarray:
        """Where each row's label stands among its candidates (N,); -1 if it does not."""
        if self.complete:
            return labels
        hit = self.candidates == labels[:, None]
        return np.where(hit.any(axis=1), hit.argmax(axis=1), -1)

    @property
    def complete(self) -> bool:
        """Whether every label is a candidate of every row, in order."""
        return bool(self.z.shape[2] == self.classes)

    def column(self, matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """``matrix[c, label]`` for each row's candidates c (N, C)."""
        result: np.ndarray = matrix.T[labels] if self.complete else matrix[self.candidates, labels[:, None]]
        return result

    def log_posterior(self, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Log p (N, C), p ~ exp(sum_e w_e z_e + b)."""
        logits = np.tensordot(weights.astype(np.float32), self.z, axes=1).astype(np.float64)
        logits += bias if self.complete else bias[self.candidates]
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logits

    def joined(self, other: "Ballots") -> "Ballots":
        """The experts of both, for the same rows and candidates."""
        z = np.concatenate([self.z, other.z])
        deviations = np.concatenate([self.deviations, other.deviations])
        return Ballots(z, self.candidates, self.names + other.names, self.classes, deviations)


def collect(experts: Mapping[str, Expert], rows: Rows, candidates: np.ndarray | None = None) -> Ballots:
    """Ask every expert about every row, block by block.

    ``candidates`` (N, C) of earlier ballots; without, they are chosen here.
    """
    N, K, E = len(rows), rows.classes, len(experts)
    fewer = K if K <= DENSE else CANDIDATES
    C = fewer if candidates is None else candidates.shape[1]
    z = np.empty((E, N, C), dtype=np.float32)
    squares = np.zeros(E)
    chosen = np.empty((N, C), dtype=np.int32) if candidates is None else candidates
    size = int(np.clip(16_000_000 // (K * E), 64, 8192))
    for block in rows.blocks(size):
        scores = [expert.scores(block) for expert in experts.values()]
        for number, score in enumerate(scores):
            score -= score.mean(axis=1, keepdims=True)
            squares[number] += np.square(score).sum()
        if C == K:
            for number, score in enumerate(scores):
                z[number, block] = score
            if candidates is None:
                chosen[block] = np.arange(K)
            continue
        if candidates is None:
            ranking = np.sum([score / max(float(score.std()), 1e-12) for score in scores], axis=0)
            ranking[np.arange(len(block)), rows.labels[block]] = np.inf
            chosen[block] = np.sort(np.argpartition(-ranking, C - 1, axis=1)[:, :C], axis=1)
        for number, score in enumerate(scores):
            z[number, block] = np.take_along_axis(score, chosen[block], axis=1)
    deviation = np.sqrt(squares / (N * K))
    deviation = np.where(deviation > 0, deviation, 1)
    z /= deviation.astype(np.float32)[:, None, None]
    return Ballots(z, chosen, tuple(experts), K, deviation)

"""What the jury says: frozen, aligned with the training rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from glitchtrace.detectors.jury.number import Number
from glitchtrace.detectors.jury.promise import Promise

KINDS = ("clean", "mislabelled", "anomalous", "corrupted")
CLEAN, MISLABELLED, ANOMALOUS, CORRUPTED = range(4)


@dataclass(frozen=True)
class Verdict:
    """The verdict on n training rows, labels 0 … K - 1.

    Attributes
    ----------
    log_odds
        (n,) that the row is a glitch of any kind; higher = more suspicious. The score to rank by.
    label_log_odds
        (n,) that the observed label is wrong.
    candidates, posterior
        (n, C) labels and their probabilities given everything, the observed label included; C = K up to 64 classes,
        otherwise the 32 likely ones.
    kinds
        (n, 4) probabilities of ``KINDS``.
    verdict
        (n,) index into ``KINDS``.
    proposed, confidence
        (n,) the best label other than the observed one, and its probability.
    flagged
        (n,) the rows flagged under ``promise``.
    number
        The share of wrong labels with its interval; ``numbers``: every model's own.
    noise
        (K, K), row = true class, column = observed label.
    experts
        Name -> its share of the votes.
    validation_flip
        The estimated share of wrong validation labels; None without validation rows.
    rare
        Classes whose rows are taken for anomalies, since the validation set has far more of them.
    evidence
        Row -> what speaks for its proposed label, for flagged rows.
    notes
        Sentences on what was left out or approximated.
    """

    log_odds: np.ndarray
    label_log_odds: np.ndarray
    candidates: np.ndarray
    posterior: np.ndarray
    kinds: np.ndarray
    verdict: np.ndarray
    proposed: np.ndarray
    confidence: np.ndarray
    flagged: np.ndarray
    promise: Promise
    number: Number
    numbers: tuple[Number, ...]
    noise: np.ndarray
    experts: Mapping[str, float]
    validation_flip: float | None = None
    rare: tuple[int, ...] = ()
    evidence: Mapping[int, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def probability(self, labels: np.ndarray) -> np.ndarray:
        """The posterior of one label per row (n,); 0 where it is no candidate."""
        hit = self.candidates == np.asarray(labels)[:, None]
        result: np.ndarray = (self.posterior * hit).sum(axis=1)
        return result

    def kind_names(self) -> np.ndarray:
        """The verdict of each row in words (n,)."""
        names: np.ndarray = np.array(KINDS)[self.verdict]
        return names

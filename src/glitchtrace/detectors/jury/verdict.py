"""What the jury says: frozen, aligned with the training rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from glitchtrace.detectors.jury.evidence import Evidence
from glitchtrace.detectors.jury.number import Number
from glitchtrace.detectors.jury.promise import Promise
from glitchtrace.detectors.jury.typicality import Typicality

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
    typicality
        How foreign each row is.
    evidence
        Row -> what speaks for its proposed label, for flagged rows and those more likely wrong than right.
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
    typicality: Typicality | None = None
    evidence: Mapping[int, Evidence] = field(default_factory=dict)
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


_RARE_ODDS = 7.0
_CONCENTRATED, _TIMES_PRIOR = 0.3, 2.0
# Nats from the first to the last row of a step.  Behind a closed gate few steps are left, and they only rank.
_WITHIN_STEP = {True: 0.1, False: 1.0}


def weigh(
    odds: np.ndarray,
    typicality: Typicality | None,
    rare: np.ndarray,
    labels: np.ndarray,
    classes: int,
    lift: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Total log odds (n,), probabilities of the kinds (n, 4) and the verdict (n,) of all that was found.

    Total = logsumexp(L_mislabelled, L_foreign, L_rare), L_foreign less ``lift``: behind a closed gate it is of the
    small chance that is left, and only ranks.  A foreign row (P > 1/2) is anomalous if its label holds over 30 % of
    the foreign rows and twice its share of all rows, else corrupted; a row of a rare class whose label is likely right
    is anomalous; otherwise L_mislabelled > 0 decides.

    Parameters
    ----------
    odds
        (n,) log odds that the label is wrong.
    typicality
        How foreign each row is, or None.
    rare
        (n,) bool, rows of rare classes.
    labels, classes
        Observed labels (n,), and K.
    lift
        By how much the log odds of labels would rise if the share of wrong ones were at least what may be left unseen;
        0 where the gate is open.
    """
    n = len(odds)
    wrong = 1 / (1 + np.exp(-np.clip(odds, -700, 700)))
    foreign = typicality.probability if typicality is not None else np.zeros(n)
    few = rare & (wrong <= 0.5)
    total = np.logaddexp(odds, np.where(few, _RARE_ODDS, -np.inf))
    if typicality is not None and typicality.checked:
        likely = np.clip(typicality.likely, 1e-6, 1 - 1e-6)
        place = np.empty(n)
        place[np.argsort(typicality.score, kind="stable")] = np.arange(n) / n
        # Steps of equal probability are ordered by the score itself.
        foreign_odds = np.log(likely / (1 - likely)) + _WITHIN_STEP[typicality.open] * place
        total = np.logaddexp(total, foreign_odds - lift)
    flagged = np.bincount(labels[foreign > 0.5], minlength=classes)
    share = flagged / max(flagged.sum(), 1)
    prior = np.bincount(labels, minlength=classes) / n
    concentrated = ((share > _CONCENTRATED) & (share > _TIMES_PRIOR * prior))[labels]
    kinds = np.zeros((n, len(KINDS)))
    kinds[:, ANOMALOUS] = foreign * concentrated
    kinds[:, CORRUPTED] = foreign * ~concentrated
    kinds[:, MISLABELLED] = (1 - foreign) * wrong
    kinds[:, ANOMALOUS] += (1 - foreign) * (1 - wrong) * few
    kinds[:, CLEAN] = (1 - foreign) * (1 - wrong) * ~few
    verdict = np.where(odds > 0, MISLABELLED, CLEAN)
    verdict[few] = ANOMALOUS
    verdict[foreign > 0.5] = np.where(concentrated, ANOMALOUS, CORRUPTED)[foreign > 0.5]
    return total, kinds, verdict.astype(np.int8)

"""How many labels are wrong: by a noise matrix over classes, and by one over samples where validation rows allow."""

from dataclasses import dataclass

import numpy as np

from glitchtrace.detectors.jury.ballots import Ballots
from glitchtrace.detectors.jury.pool import Pool
from glitchtrace.detectors.jury.promise import Scale

TWO_SIDED = 1.96


@dataclass(frozen=True)
class Number:
    """The share of wrong labels with a 95 % interval; ``model``: what errors are taken to depend on."""

    share: float
    low: float
    high: float
    model: str

    def of(self, rows: int) -> tuple[float, float, float]:
        """The number of wrong labels among so many rows, with its interval."""
        return self.share * rows, self.low * rows, self.high * rows


def class_number(pool: Pool, scale: Scale, ballots: Ballots, labels: np.ndarray, training: int) -> Number:
    """Mean of 1 - q_i(y_i) over training rows; the interval is that of the scale s of T."""
    own = ballots.take(slice(0, training))
    q = pool.judged(own, labels[:training])
    place = own.place(labels[:training])
    share = 1 - float(np.where(place >= 0, q[np.arange(training), place], 0).mean())
    spread = TWO_SIDED * scale.error * share if np.isfinite(scale.error) else share
    # At the border the curvature is of no use: three rows in n are what no wrong label among n allows (95 %).
    high = max(share + spread, 3.0 / training)
    return Number(share, max(0.0, share - spread), min(1.0, high), "classes")

"""The order in which a negotiator would show its candidates."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ranking:
    """Candidates from best to worst with their scores; without scores where the order is drawn."""

    order: np.ndarray
    scores: np.ndarray | None = None

    @property
    def chosen(self) -> int:
        """The counter-example."""
        return int(self.order[0])

    @property
    def best(self) -> float:
        """The score of the counter-example; NaN where the order is drawn."""
        return float("nan") if self.scores is None else float(self.scores[0])


def by_score(candidates: np.ndarray, scores: np.ndarray) -> Ranking:
    """The order by descending score; the first of equal ones first, NaN last."""
    order = np.argsort(-scores, kind="stable")
    return Ranking(candidates[order], scores[order])


def signed(scores: np.ndarray, sign: str) -> np.ndarray:
    """Scores in the published sign g_iᵀ M⁻¹ g_k, or the opposite.

    To first order the probability of the annotator's label changes by −(p/n) g_iᵀ H⁻¹ g_k when sample k is left out.
    The contrastive counter-example is the one whose removal raises it most: the definition asks for the opposite
    of what was published.
    """
    return -scores if sign == "contrastive" else scores

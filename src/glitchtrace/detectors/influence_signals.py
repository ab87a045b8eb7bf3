"""Influence signals: one score per training sample from the class profiles of its influence.

J_ij is the influence of training sample i on validation sample j, positive where training on i lowers the loss of j;
V_c are the validation samples of class c; P_ic = Σ_{j ∈ V_c} max(J_ij, 0) and N_ic = Σ_{j ∈ V_c} min(J_ij, 0).
Formulas and sources: docs/methods/signals.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from glitchtrace.core import registry
from glitchtrace.detectors.evidence import Detection, Evidence
from glitchtrace.detectors.ranks import ascending_ranks, verdicts
from glitchtrace.influence.profile import Profiles

KIND = "detector"
CARDS = {
    "SI": {
        "label": "SI",
        "summary": "Self influence: how much training on a sample lowers its own loss.",
        "needs": ["profile"],
        "finds": "both",
        "family": "published earlier",
        "default": True,
    },
    "MI": {
        "label": "MI",
        "summary": "Marginal influence: the sum of a sample's influence on the validation set.",
        "needs": ["profile"],
        "finds": "both",
        "family": "published earlier",
        "default": True,
        "reads": ["mi_orientation"],
    },
    "negative_MI": {
        "label": "-MI",
        "summary": "Marginal influence in the orientation opposite to MI.",
        "needs": ["profile"],
        "finds": "both",
        "family": "published earlier",
        "default": True,
        "reads": ["mi_orientation"],
    },
    "AAI": {
        "label": "AAI",
        "summary": "Average absolute influence on the validation samples; ranks as MAI does.",
        "needs": ["profile"],
        "finds": "both",
        "family": "published earlier",
        "default": True,
    },
    "MAI": {
        "label": "MAI",
        "summary": "Marginal absolute influence: the sum of the sizes of a sample's influence.",
        "needs": ["profile"],
        "finds": "both",
        "family": "published earlier",
        "default": True,
    },
    "GD_class": {
        "label": "GD-class",
        "summary": "Harm to the class that a sample hurts most, positive and negative influence together.",
        "needs": ["profile"],
        "finds": "label",
        "family": "published earlier",
        "default": True,
    },
    "MPI": {
        "label": "MPI",
        "summary": "Marginal positive influence: the sum of a sample's helpful influence.",
        "needs": ["profile"],
        "finds": "both",
        "family": "parts and ablations",
        "default": True,
    },
    "inverse_MPI": {
        "label": "1/MPI",
        "summary": "Inverse of the marginal positive influence: PCID without its counterfactual part.",
        "needs": ["profile"],
        "finds": "anomaly",
        "family": "parts and ablations",
        "default": True,
    },
    "NIL": {
        "label": "NIL",
        "summary": "Size of the negative influence on the class of the observed label.",
        "needs": ["profile"],
        "finds": "label",
        "family": "parts and ablations",
        "default": True,
    },
    "NIL_opt": {
        "label": "NIL_opt",
        "summary": "Size of the negative influence on the class where it is largest.",
        "needs": ["profile"],
        "finds": "label",
        "family": "parts and ablations",
        "default": True,
    },
    "SLIP": {
        "label": "#SLIP",
        "summary": "Number of validation samples of the own class that a sample helps.",
        "needs": ["profile"],
        "finds": "both",
        "family": "parts and ablations",
        "default": True,
    },
    "SLIN": {
        "label": "#SLIN",
        "summary": "Number of validation samples of the own class that a sample hurts.",
        "needs": ["profile"],
        "finds": "label",
        "family": "parts and ablations",
        "default": True,
    },
    "CNCI": {
        "label": "CNCI",
        "summary": "Harm to the observed class once the sample carries the label of the class it hurts most.",
        "needs": ["profile"],
        "finds": "label",
        "family": "counterfactual",
        "default": True,
    },
    "PCID": {
        "label": "PCID",
        "summary": "Inverse of the positive influence times its change under the second best label.",
        "needs": ["profile"],
        "finds": "anomaly",
        "family": "counterfactual",
        "default": True,
    },
    "CFRank": {
        "label": "CFRank",
        "summary": "The higher of a sample's ranks by CNCI and by PCID, for mixed glitches.",
        "needs": ["profile"],
        "finds": "both",
        "family": "counterfactual",
        "default": True,
    },
    "cosine_MI": {
        "label": "-MI/√SI",
        "summary": "Negated marginal influence over the root of the self influence: direction without size.",
        "needs": ["profile"],
        "finds": "label",
        "family": "improved",
        "default": True,
    },
}


@dataclass(frozen=True)
class Signal:
    """A signal as a detector: its score (n,) float64 from the profiles, and what else it says."""

    score: Callable[..., np.ndarray]
    propose: Callable[[Profiles], np.ndarray] | None = None
    tell: Callable[[Profiles], np.ndarray] | None = None

    def __call__(self, evidence: Evidence, **options: Any) -> Detection:
        """What the signal says of the samples."""
        profiles = evidence.profiles
        return Detection(
            self.score(profiles, **options),
            proposed_labels=self.propose(profiles) if self.propose else None,
            kinds=self.tell(profiles) if self.tell else None,
        )


def score(name: str, profiles: Profiles, settings: Mapping[str, Any] | None = None) -> np.ndarray:
    """The scores of one registered signal, (n,) float64, higher = more suspicious.

    ``settings`` of the estimator, of which a signal takes those that its card names.  Raises GlitchtraceError for an
    unknown name.
    """
    reads = registry.card("detector", name).get("reads", ())
    options = {key: value for key, value in (settings or {}).items() if key in reads}
    signal: Signal = registry.load("detector", name)
    return signal.score(profiles, **options)


def self_influence(profiles: Profiles) -> np.ndarray:
    """SI: s_i = Σ_t η_t ‖g_ti‖²."""
    return profiles.self_influence.astype(np.float64)


def marginal(profiles: Profiles, mi_orientation: str = "positive") -> np.ndarray:
    """MI: Σ_j J_ij, or its negative where harmful samples are to count as suspicious.

    The published code ranks high positive sums as suspicious, the sources of the signal negative ones.
    """
    tables = (profiles.cumulative.positive, profiles.cumulative.negative)
    positive, negative = (table.sum(axis=1, dtype=np.float64) for table in tables)
    marginal = positive + negative
    result: np.ndarray = marginal if mi_orientation == "positive" else -marginal
    return result


def negative_marginal(profiles: Profiles, mi_orientation: str = "positive") -> np.ndarray:
    """MI in the orientation opposite to the given one."""
    return -marginal(profiles, mi_orientation)


def marginal_absolute(profiles: Profiles) -> np.ndarray:
    """MAI: Σ_j |J_ij|."""
    positive, negative = profiles.cumulative.positive, profiles.cumulative.negative
    result: np.ndarray = positive.sum(axis=1, dtype=np.float64) - negative.sum(axis=1, dtype=np.float64)
    return result


def average_absolute(profiles: Profiles) -> np.ndarray:
    """AAI: MAI / m."""
    result: np.ndarray = marginal_absolute(profiles) / profiles.validation_counts.sum()
    return result


def gd_class(profiles: Profiles) -> np.ndarray:
    """GD-class: − min_c Σ_{j ∈ V_c} J_ij over the classes of the training set."""
    influence = profiles.cumulative.positive.astype(np.float64) + profiles.cumulative.negative
    result: np.ndarray = -influence[:, profiles.trained].min(axis=1)
    return result


def marginal_positive(profiles: Profiles) -> np.ndarray:
    """MPI: Σ_j max(J_ij, 0)."""
    result: np.ndarray = profiles.cumulative.positive.sum(axis=1, dtype=np.float64)
    return result


def inverse_positive(profiles: Profiles) -> np.ndarray:
    """1 / MPI; +inf, the most suspicious, where no influence is positive."""
    return _inverse(marginal_positive(profiles))


def negative_own(profiles: Profiles) -> np.ndarray:
    """NIL: |N_ic| of the observed class."""
    result: np.ndarray = np.abs(profiles.of_own_class(profiles.cumulative.negative))
    return result


def negative_largest(profiles: Profiles) -> np.ndarray:
    """NIL_opt: max_c |N_ic| over the classes of the training set."""
    result: np.ndarray = (
        np.abs(profiles.cumulative.negative[:, profiles.trained]).max(axis=1).astype(np.float64)
    )
    return result


def positive_count(profiles: Profiles) -> np.ndarray:
    """#SLIP: the number of validation samples of the observed class with J_ij > 0."""
    return profiles.of_own_class(profiles.cumulative.positive_count)


def negative_count(profiles: Profiles) -> np.ndarray:
    """#SLIN: the number of validation samples of the observed class with J_ij < 0."""
    return profiles.of_own_class(profiles.cumulative.negative_count)


def cnci(profiles: Profiles) -> np.ndarray:
    """CNCI: Σ_{j ∈ V_{y_i}} min(J⁻_ij, 0), J⁻ the influence under y⁻, the label of the class that a sample hurts most.

    A mislabelled sample fits the model once it has that label and hurts its former class little; a clean sample hurts
    its own class strongly.  Scores are ≤ 0, and those near 0 are suspicious.
    """
    return profiles.of_own_class(profiles.counterfactual_negative.negative)


def pcid(profiles: Profiles) -> np.ndarray:
    """PCID: 1 / (MPI_i · max_c |P_ic − P⁺_ic|), P⁺ under y⁺, the class with the second largest P_ic.

    An anomaly has little positive influence, and another label hardly changes it.  +inf where the denominator is 0.
    """
    positive = profiles.cumulative.positive.astype(np.float64)
    change = np.abs(positive - profiles.counterfactual_positive.positive)[:, profiles.trained].max(axis=1)
    return _inverse(positive.sum(axis=1) * change)


def cfrank(profiles: Profiles) -> np.ndarray:
    """CFRank: max(r^C_i, r^P_i), ranks 0 … n−1 by CNCI and by PCID, so that each value occurs at most twice."""
    ranks = np.maximum(ascending_ranks(cnci(profiles)), ascending_ranks(pcid(profiles)))
    result: np.ndarray = ranks.astype(np.float64)
    return result


def cosine_marginal(profiles: Profiles) -> np.ndarray:
    """−MI / √SI, (n,); 0 where the sample has no influence on itself."""
    size = np.sqrt(profiles.self_influence.astype(np.float64))
    result: np.ndarray = np.divide(-marginal(profiles), size, out=np.zeros_like(size), where=size > 0)
    return result


def negative_label(profiles: Profiles) -> np.ndarray:
    """y⁻, the label that CNCI proposes."""
    return profiles.negative_label


def verdict(profiles: Profiles) -> np.ndarray:
    """The kind that CNCI and PCID together take a glitch for, (n,) int8 of ``Kind``."""
    return verdicts(cnci(profiles), pcid(profiles))


def _inverse(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        result: np.ndarray = np.divide(1.0, values, out=np.full_like(values, np.inf), where=values > 0)
        return result


COMPONENTS = {
    "SI": Signal(self_influence),
    "MI": Signal(marginal),
    "negative_MI": Signal(negative_marginal),
    "AAI": Signal(average_absolute),
    "MAI": Signal(marginal_absolute),
    "GD_class": Signal(gd_class),
    "MPI": Signal(marginal_positive),
    "inverse_MPI": Signal(inverse_positive),
    "NIL": Signal(negative_own),
    "NIL_opt": Signal(negative_largest),
    "SLIP": Signal(positive_count),
    "SLIN": Signal(negative_count),
    "CNCI": Signal(cnci, propose=negative_label),
    "PCID": Signal(pcid),
    "CFRank": Signal(cfrank, tell=verdict),
    "cosine_MI": Signal(cosine_marginal),
}

"""The jury as a detector of the grid, with validation rows and without.

Features of a network that was trained on the observed labels have seen every one of them, and so have experts that
leave a row out: they vouch for wrong labels.  A frozen network, or features from elsewhere, keep them apart.

Source: docs/methods/jury.md.
"""

from glitchtrace.detectors.evidence import Detection, Evidence
from glitchtrace.detectors.jury.judge import Jury
from glitchtrace.detectors.jury.verdict import Verdict

KIND = "detector"
CARDS = {
    "jury": {
        "label": "jury",
        "summary": "Experts that have not seen a label vote on it; flags with a promise; training samples alone. "
        "Its promise does not hold on features of a network that was trained on these labels.",
        "needs": ["features"],
        "finds": "label",
        "family": "jury",
        "views": "all",
        "shares": "promise",
    },
    "jury_validated": {
        "label": "jury, validated",
        "summary": "The jury with validation samples: anomalies and corruptions too, a firmer promise. "
        "Neither promise nor number holds on features of a network that was trained on these labels.",
        "needs": ["features", "validation"],
        "finds": "both",
        "family": "jury",
        "views": "all",
        "shares": "promise",
    },
}


def jury(evidence: Evidence, *, max_false: float = 0.1) -> Detection:
    """The verdict on the training samples alone; without validation no sample is called anomalous."""
    verdict = Jury(typicality=False, evidence=0).judge(
        evidence.representations,
        evidence.labels,
        groups=evidence.groups,
        max_false=max_false,
        seed=evidence.seed,
    )
    return _detection(verdict)


def jury_validated(evidence: Evidence, *, max_false: float = 0.1) -> Detection:
    """The verdict with validation samples, whose own labels may be wrong too."""
    held = evidence.validation
    common = {name: part for name, part in evidence.representations.items() if name in held.representations}
    verdict = Jury(evidence=0).judge(
        common,
        evidence.labels,
        (held.representations, held.labels),
        groups=evidence.groups,
        max_false=max_false,
        seed=evidence.seed,
    )
    return _detection(verdict)


def _detection(verdict: Verdict) -> Detection:
    return Detection(
        verdict.log_odds,
        proposed_labels=verdict.proposed,
        flags=verdict.flagged,
        kinds=verdict.verdict,
        posterior=verdict.kinds,
    )


COMPONENTS = {"jury": jury, "jury_validated": jury_validated}

"""Jury: experts that have not seen a row's label vote on it; a list of suspects with a promise about its errors."""

from glitchtrace.detectors.jury.judge import Jury
from glitchtrace.detectors.jury.verdict import KINDS, Verdict

__all__ = ["KINDS", "Jury", "Verdict"]

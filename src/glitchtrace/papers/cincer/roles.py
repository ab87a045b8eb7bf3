"""An inspector or a negotiator with its settings, ready for the loop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from glitchtrace.core import registry
from glitchtrace.papers.cincer.query import Query
from glitchtrace.papers.cincer.ranking import Ranking


@dataclass(frozen=True)
class Verdict:
    """The score of an arriving sample, and whether it is suspicious."""

    score: float
    suspicious: bool


@dataclass(frozen=True)
class Inspector:
    """Tells a suspicious sample: ``inspect(query, rng)``."""

    inspect: Callable[[Query, np.random.RandomState], Verdict]


@dataclass(frozen=True)
class Negotiator:
    """Orders the candidates: ``rank(query, rng)``; None shows no counter-example.

    ``drops``: where the annotator confirms the suspicious sample, the counter-example is taken out of the known ones
    instead of being shown.
    """

    rank: Callable[[Query, np.random.RandomState], Ranking] | None
    drops: bool = False


def load_inspector(name: str, threshold: float, settings: Mapping[str, Any]) -> Inspector:
    """The inspector of a registered name.  Raises GlitchtraceError if unknown."""
    score = registry.load("inspector", name)
    card = registry.card("inspector", name)

    def inspect(query: Query, rng: np.random.RandomState) -> Verdict:
        if card.get("draws"):
            return Verdict(float("nan"), score.draw(threshold, rng))
        value = score.score(query, settings, rng)
        return Verdict(value, value > threshold)

    return Inspector(inspect)


def load_negotiator(name: str, settings: Mapping[str, Any]) -> Negotiator:
    """The negotiator of a registered name.  Raises GlitchtraceError if unknown."""
    module = registry.load("negotiator", name)
    card = registry.card("negotiator", name)
    if card.get("silent"):
        return Negotiator(None)
    return Negotiator(lambda query, rng: module.rank(query, settings, rng), bool(card.get("drops")))

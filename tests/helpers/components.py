"""Components as the configuration knows them."""

from glitchtrace import registry
from glitchtrace.repair.cincer import negotiator_settings


def complete_card(kind: str, name: str) -> dict:
    """Every setting of a component: what it shares with others, and its own."""
    card = registry.card(kind, name)
    shared = negotiator_settings.common(card) if kind == "negotiator" else {}
    return {**shared, **card.get("settings", {})}


def default_settings(kind: str) -> dict[str, dict]:
    """Name -> setting -> default, of every component of a kind."""
    return {
        name: {key: fragment.get("default") for key, fragment in complete_card(kind, name).items()}
        for name in registry.names(kind)
    }

"""Components as the configuration knows them."""

from glitchtrace.core import registry


def complete_card(kind: str, name: str) -> dict:
    """Every setting of a component: what it shares with others, and its own."""
    return registry.settings(kind, name)


def default_settings(kind: str) -> dict[str, dict]:
    """Name -> setting -> default, of every component of a kind."""
    return {
        name: {key: fragment.get("default") for key, fragment in complete_card(kind, name).items()}
        for name in registry.names(kind)
    }

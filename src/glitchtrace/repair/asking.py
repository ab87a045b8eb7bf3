"""What policies ask: known from cards and settings, before any data are read."""

from collections.abc import Collection, Mapping
from typing import Any

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError


def asked(policies: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """The detectors and the estimators of a number that policies (name → settings) ask, both sorted.

    Raises GlitchtraceError for a name that is not registered.
    """
    detectors: set[str] = set()
    counters: set[str] = set()
    for policy, settings in policies.items():
        detectors.update(registry.card("policy", policy).get("uses", {}).get("detector", ()))
        if "detector" in settings:
            detectors.add(settings["detector"])
        if settings.get("number") == "estimated":
            counters.add(settings["counter"])
    for kind, names in (("detector", detectors), ("counter", counters)):
        for name in names:
            registry.card(kind, name)
            if "@" in name:
                raise GlitchtraceError(
                    f"policies: '{name}' is a variant; a policy asks a {kind} as it is, {registry.base_name(name)}"
                )
    return sorted(detectors), sorted(counters)


def check_baseline(policies: Collection[str]) -> None:
    """Raise GlitchtraceError where policies lack ``none``, against which the gain of the others is measured."""
    if "none" not in policies:
        raise GlitchtraceError(
            f"policies: gains are measured against 'none'; write [none, {', '.join(policies)}], or set repair: false"
        )

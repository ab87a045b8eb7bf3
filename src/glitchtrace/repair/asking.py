"""What policies ask: known from cards and settings, before any data are read."""

from collections.abc import Collection, Mapping
from typing import Any

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.study_files import KeyedError, key_of


def asked(policies: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """The detectors and the estimators of a number that policies (name → settings) ask, both sorted.

    Raises GlitchtraceError for a name that is not registered.
    """
    detectors: set[str] = set()
    counters: set[str] = set()
    for policy, settings in policies.items():
        detectors.update(registry.card("policy", policy).get("uses", {}).get("detector", ()))
        if "detector" in settings:
            detectors.add(_named(policy, "detector", settings))
        if settings.get("number") == "estimated":
            counters.add(_named(policy, "counter", settings))
    return sorted(detectors), sorted(counters)


def _named(policy: str, kind: str, settings: Mapping[str, Any]) -> str:
    """The component that the settings of a policy name, which must be registered and no variant."""
    name, path = str(settings[kind]), ("policy_settings", policy, kind)
    try:
        registry.card(kind, name)
    except GlitchtraceError as error:
        raise KeyedError(f"{key_of(path)}: {error}", path) from None
    if "@" in name:
        base = registry.base_name(name)
        raise KeyedError(
            f"{key_of(path)}: '{name}' is a variant; a policy asks a {kind} as it is, {base}", path
        )
    return name


def check_baseline(policies: Collection[str]) -> None:
    """Raise GlitchtraceError where policies lack ``none``, against which the gain of the others is measured."""
    if "none" not in policies:
        raise GlitchtraceError(
            f"policies: gains are measured against 'none'; write [none, {', '.join(policies)}], or set repair: false"
        )

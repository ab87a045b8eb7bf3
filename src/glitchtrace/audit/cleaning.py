"""Cleaned copies of the user's data, never over the input."""

from pathlib import Path

from glitchtrace.core.errors import GlitchtraceError


def apply(reviewed: str, audit: str | None, out: str | None) -> Path:
    """Write the cleaned data of a reviewed list."""
    raise GlitchtraceError(f"{reviewed}: lists are not applied yet")

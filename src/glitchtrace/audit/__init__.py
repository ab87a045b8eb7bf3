"""Audit: data without truth.  ``glitchtrace.audit(X, y)`` is this room itself, called.

read → represent → cross-fit → detect → verdict → page, cleaned data, gain.  docs/audit.md says what each step does
and cannot do.
"""

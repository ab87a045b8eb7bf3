"""Audit: data without truth.  ``glitchtrace.audit(X, y)`` is this room itself, called.

read → represent → cross-fit → detect → verdict → page, cleaned data, gain.  docs/audit.md says what each step does
and cannot do.
"""

import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glitchtrace.audit.run import Findings


class _Room(types.ModuleType):
    """The room as a function, so that the public name of the audit and its place are one."""

    def __call__(self, X: Any, y: Any = None, **settings: Any) -> "Findings":
        """Audit arrays, a frame, a file or a folder; see ``glitchtrace.audit.run.audit``."""
        from glitchtrace.audit.run import audit

        return audit(X, y, **settings)


sys.modules[__name__].__class__ = _Room

"""The kind of component of this room."""

KINDS = {"glitch": {"table": "glitches"}}

"""The kind of component of this room."""

KINDS = {"signal": {"keys": ["signals", "detectors"]}}

"""The kind of component of this room."""

KINDS = {"policy": {"keys": ["policies"]}}

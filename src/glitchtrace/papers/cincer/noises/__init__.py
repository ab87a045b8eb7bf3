"""Kinds of label noise of the published protocol, drawn with its own generator."""

"""Glitches: what is put into training data, and the record of it."""

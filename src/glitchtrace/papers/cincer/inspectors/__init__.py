"""Inspectors: which arriving samples are suspicious."""

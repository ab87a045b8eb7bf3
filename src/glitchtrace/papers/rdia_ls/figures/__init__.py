"""Figures of this system."""

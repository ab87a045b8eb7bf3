"""Figures, tables and galleries, all in one style."""

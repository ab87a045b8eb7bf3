"""Influence estimators, one module each, registered by name."""

"""Repair policies, one module each."""

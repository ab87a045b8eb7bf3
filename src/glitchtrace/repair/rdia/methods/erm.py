"""Empirical risk minimisation: the observed labels as they are."""

CARD = {"label": "ERM", "summary": "Train on the observed labels as they are.", "settings": {}}

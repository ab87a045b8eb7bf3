"""Baselines: detectors without influence, measured beside the signals."""

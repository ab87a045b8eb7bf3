"""Repair of a training set, and the proof on clean data of what it gains."""

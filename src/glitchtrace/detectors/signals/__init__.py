"""Influence signals: one score per training sample, made from the profile of its influence."""

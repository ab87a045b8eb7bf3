"""Learners whose influence has a closed form, by name."""

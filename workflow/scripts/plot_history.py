"""Shim of the rule ``plot_history``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.history import plot_history

run(snakemake, plot_history)

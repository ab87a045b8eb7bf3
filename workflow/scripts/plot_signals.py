"""Shim of the rule ``plot_signals``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.signals import plot_signals

run(snakemake, plot_signals)

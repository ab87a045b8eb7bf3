"""Shim of the rule ``plot_loop_thresholds``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.loop_thresholds import plot_loop_thresholds

run(snakemake, plot_loop_thresholds)

"""Shim of the rule ``plot_dirty_validation``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.dirty_validation import plot_dirty_validation

run(snakemake, plot_dirty_validation)

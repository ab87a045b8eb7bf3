"""Shim of the rule ``plot_loop_precision``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.loop_precision import plot_loop_precision

run(snakemake, plot_loop_precision)

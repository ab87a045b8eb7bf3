"""Shim of the rule ``plot_loop_influence``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.loop_influence import plot_loop_influence

run(snakemake, plot_loop_influence)

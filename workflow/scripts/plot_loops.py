"""Shim of the rule ``plot_loops``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.loops import plot_loops

run(snakemake, plot_loops)

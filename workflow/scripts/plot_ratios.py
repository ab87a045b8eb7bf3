"""Shim of the rule ``plot_ratios``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.curves import plot_ratios

run(snakemake, plot_ratios)

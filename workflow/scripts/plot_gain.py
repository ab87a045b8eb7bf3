"""Shim of the rule ``plot_gain``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.gain import plot_gain

run(snakemake, plot_gain)

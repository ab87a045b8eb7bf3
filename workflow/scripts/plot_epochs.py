"""Shim of the rule ``plot_epochs``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.curves import plot_epochs

run(snakemake, plot_epochs)

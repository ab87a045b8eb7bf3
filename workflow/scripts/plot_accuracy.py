"""Shim of the rule ``plot_accuracy``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.accuracy import plot_accuracy

run(snakemake, plot_accuracy)

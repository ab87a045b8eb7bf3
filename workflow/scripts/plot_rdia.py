"""Shim of the rule ``plot_rdia``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.rdia import plot_rdia

run(snakemake, plot_rdia)

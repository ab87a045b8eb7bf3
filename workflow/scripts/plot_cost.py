"""Shim of the rule ``plot_cost``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.cost import plot_cost

run(snakemake, plot_cost)

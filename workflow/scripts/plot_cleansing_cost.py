"""Shim of the rule ``plot_cleansing_cost``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.cleansing_cost import plot_cleansing_cost

run(snakemake, plot_cleansing_cost)

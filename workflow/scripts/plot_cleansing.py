"""Shim of the rule ``plot_cleansing``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.cleansing import plot_cleansing

run(snakemake, plot_cleansing)

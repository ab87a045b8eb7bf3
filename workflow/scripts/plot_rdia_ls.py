"""Shim of the rule ``plot_rdia_ls``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.rdia_ls import plot_rdia_ls

run(snakemake, plot_rdia_ls)

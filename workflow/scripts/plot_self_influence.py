"""Shim of the rule ``plot_self_influence``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.self_influence import plot_self_influence

run(snakemake, plot_self_influence)

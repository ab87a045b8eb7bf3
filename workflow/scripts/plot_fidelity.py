"""Shim of the rule ``plot_fidelity``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.fidelity import plot_fidelity

run(snakemake, plot_fidelity)

"""Shim of the rule ``plot_label_repair``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.label_repair import plot_label_repair

run(snakemake, plot_label_repair)

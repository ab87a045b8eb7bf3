"""Shim of the rule ``plot_gallery``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.gallery import plot_gallery

run(snakemake, plot_gallery)

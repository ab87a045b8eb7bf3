"""Shim of the rule ``plot_loop_gallery``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.loop_gallery import plot_loop_gallery

run(snakemake, plot_loop_gallery)

"""Shim of the rule ``plot_characterisation``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.figures.characterisation import plot_characterisation

run(snakemake, plot_characterisation)

"""Shim of the rule ``clean_interactively``."""

from glitchtrace.jobs import run
from glitchtrace.repair.cincer.stage import clean_interactively

run(snakemake, clean_interactively)

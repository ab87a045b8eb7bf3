"""Shim of the rule ``summarise_loops``."""

from glitchtrace.jobs import run
from glitchtrace.repair.cincer.summary import summarise_loops

run(snakemake, summarise_loops)

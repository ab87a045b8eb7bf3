"""Shim of the rule ``gather_loops``."""

from glitchtrace.jobs import run
from glitchtrace.repair.cincer.summary import gather_loops

run(snakemake, gather_loops)

"""Shim of the rule ``repair_cell``."""

from glitchtrace.jobs import run
from glitchtrace.repair.proposals import repair_cell

run(snakemake, repair_cell)

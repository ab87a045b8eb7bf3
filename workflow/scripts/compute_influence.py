"""Shim of the rule ``compute_influence``."""

from glitchtrace.influence.stage import compute_influence
from glitchtrace.jobs import run

run(snakemake, compute_influence)

"""Shim of the rule ``profile_influence``."""

from glitchtrace.influence.stage import profile_influence
from glitchtrace.jobs import run

run(snakemake, profile_influence)

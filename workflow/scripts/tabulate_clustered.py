"""Shim of the rule ``tabulate_clustered``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.clustered import tabulate_clustered

run(snakemake, tabulate_clustered)

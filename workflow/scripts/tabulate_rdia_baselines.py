"""Shim of the rule ``tabulate_rdia_baselines``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.rdia_tables import tabulate_rdia_baselines

run(snakemake, tabulate_rdia_baselines)

"""Shim of the rule ``tabulate_rdia_thresholds``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.rdia_tables import tabulate_rdia_thresholds

run(snakemake, tabulate_rdia_thresholds)

"""Shim of the rule ``tabulate_mixed``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.tables import tabulate_mixed

run(snakemake, tabulate_mixed)

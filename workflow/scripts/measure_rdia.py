"""Shim of the rule ``measure_rdia``."""

from glitchtrace.jobs import run
from glitchtrace.repair.rdia.stage import measure_rdia

run(snakemake, measure_rdia)

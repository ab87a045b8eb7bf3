"""Shim of the rule ``measure_fidelity``."""

from glitchtrace.jobs import run
from glitchtrace.repair.cleansing.fidelity import measure_fidelity

run(snakemake, measure_fidelity)

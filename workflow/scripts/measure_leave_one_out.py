"""Shim of the rule ``measure_leave_one_out``."""

from glitchtrace.jobs import run
from glitchtrace.repair.cincer.leave_one_out import measure_leave_one_out

run(snakemake, measure_leave_one_out)

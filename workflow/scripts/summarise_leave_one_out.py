"""Shim of the rule ``summarise_leave_one_out``."""

from glitchtrace.evaluation.summary import summarise
from glitchtrace.jobs import run

run(snakemake, summarise)

"""Shim of the rule ``compare_signals``."""

from glitchtrace.evaluation.comparison import compare_signals
from glitchtrace.jobs import run

run(snakemake, compare_signals)

"""Shim of the rule ``score_signals``."""

from glitchtrace.jobs import run
from glitchtrace.signals.stage import score_signals

run(snakemake, score_signals)

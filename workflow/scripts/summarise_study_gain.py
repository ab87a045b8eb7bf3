"""Shim of the rule ``summarise_study_gain``."""

from glitchtrace.evaluation.summary import summarise_study_gain
from glitchtrace.jobs import run

run(snakemake, summarise_study_gain)

"""Shim of the rule ``summarise_study``."""

from glitchtrace.evaluation.summary import summarise_study
from glitchtrace.jobs import run

run(snakemake, summarise_study)

"""Shim of the rule ``summarise_cleansing``."""

from glitchtrace.evaluation.summary import summarise
from glitchtrace.jobs import run

run(snakemake, summarise)

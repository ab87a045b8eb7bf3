"""Shim of the rule ``summarise_dataset``."""

from glitchtrace.evaluation.summary import summarise_dataset
from glitchtrace.jobs import run

run(snakemake, summarise_dataset)

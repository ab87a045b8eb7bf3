"""Shim of the rule ``summarise_dataset_gain``."""

from glitchtrace.evaluation.summary import summarise_dataset_gain
from glitchtrace.jobs import run

run(snakemake, summarise_dataset_gain)

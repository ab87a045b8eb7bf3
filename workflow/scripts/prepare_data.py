"""Shim of the rule ``prepare_data``."""

from glitchtrace.data.prepare import prepare_data
from glitchtrace.jobs import run

run(snakemake, prepare_data)

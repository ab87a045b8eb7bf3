"""Shim of the rule ``describe_study``."""

from glitchtrace.jobs import run
from glitchtrace.reporting.provenance import describe_study

run(snakemake, describe_study)

"""Shim of the rule ``record_training``."""

from glitchtrace.jobs import run
from glitchtrace.repair.cleansing.stage import record_training

run(snakemake, record_training)

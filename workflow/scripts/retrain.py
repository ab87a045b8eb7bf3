"""Shim of the rule ``retrain``."""

from glitchtrace.jobs import run
from glitchtrace.repair.retraining import retrain

run(snakemake, retrain)

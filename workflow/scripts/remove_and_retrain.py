"""Shim of the rule ``remove_and_retrain``."""

from glitchtrace.jobs import run
from glitchtrace.repair.cleansing.stage import remove_and_retrain

run(snakemake, remove_and_retrain)

"""Shim of the rule ``score_cleansing``."""

from glitchtrace.jobs import run
from glitchtrace.repair.cleansing.stage import score_cleansing

run(snakemake, score_cleansing)

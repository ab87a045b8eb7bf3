"""Shim of the rule ``compare_cleansing``."""

from glitchtrace.jobs import run
from glitchtrace.repair.cleansing.comparison import compare_cleansing

run(snakemake, compare_cleansing)

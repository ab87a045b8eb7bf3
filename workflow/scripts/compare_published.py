"""Shim of the rule ``compare_published``."""

from glitchtrace.jobs import run
from glitchtrace.reproduction.stage import compare_published

run(snakemake, compare_published)

"""Shim of the rule ``inject_glitch``."""

from glitchtrace.glitches.stage import inject_glitch
from glitchtrace.jobs import run

run(snakemake, inject_glitch)

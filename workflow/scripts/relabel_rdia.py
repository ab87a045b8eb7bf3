"""Shim of the rule ``relabel_rdia``."""

from glitchtrace.jobs import run
from glitchtrace.repair.rdia.stage import relabel_rdia

run(snakemake, relabel_rdia)

"""Shim of the rule ``train``."""

from glitchtrace.jobs import run
from glitchtrace.training.stage import train_cell

run(snakemake, train_cell)

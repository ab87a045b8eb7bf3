"""Shim of the rule ``train_selection``."""

from glitchtrace.jobs import run
from glitchtrace.repair.rdia_ls.stage import train_selection

run(snakemake, train_selection)

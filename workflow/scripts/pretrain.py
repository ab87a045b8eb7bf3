"""Shim of the rule ``pretrain``."""

from glitchtrace.jobs import run
from glitchtrace.training.pretrain import pretrain

run(snakemake, pretrain)

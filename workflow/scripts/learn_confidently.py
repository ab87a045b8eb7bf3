"""Shim of the rule ``learn_confidently``."""

from glitchtrace.baselines.confident_learning import learn_confidently
from glitchtrace.jobs import run

run(snakemake, learn_confidently)

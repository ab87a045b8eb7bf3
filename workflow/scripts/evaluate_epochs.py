"""Shim of the rule ``evaluate_epochs``."""

from glitchtrace.evaluation.epochs import evaluate_epochs
from glitchtrace.jobs import run

run(snakemake, evaluate_epochs)

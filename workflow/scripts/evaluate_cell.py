"""Shim of the rule ``evaluate_cell``."""

from glitchtrace.evaluation.stage import evaluate_cell
from glitchtrace.jobs import run

run(snakemake, evaluate_cell)

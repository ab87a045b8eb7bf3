"""Shim of the rule ``tabulate_questions``."""

from glitchtrace.jobs import run
from glitchtrace.repair.cincer.question_budget import tabulate_questions

run(snakemake, tabulate_questions)

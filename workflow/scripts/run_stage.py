"""The one script of the workflow: runs the stage function that the job's parameters name."""

from glitchtrace.core.client import run

run(snakemake)

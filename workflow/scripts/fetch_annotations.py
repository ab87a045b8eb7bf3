"""Shim of the rule ``fetch_annotations``."""

from glitchtrace.data.annotations import fetch_annotations
from glitchtrace.jobs import run

run(snakemake, fetch_annotations)

"""Shim of the rule ``fetch_sparse_data``."""

from glitchtrace.data.fetch import fetch_data
from glitchtrace.jobs import run

run(snakemake, fetch_data)

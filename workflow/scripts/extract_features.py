"""Shim of the rule ``extract_features``."""

from glitchtrace.features.stage import extract_features
from glitchtrace.jobs import run

run(snakemake, extract_features)

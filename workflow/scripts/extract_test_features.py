"""Shim of the rule ``extract_test_features``."""

from glitchtrace.features.stage import extract_test_features
from glitchtrace.jobs import run

run(snakemake, extract_test_features)

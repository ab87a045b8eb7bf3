"""Stage: propose the repairs of one cell."""

from collections.abc import Sequence

import pandas as pd

from glitchtrace.core import files, registry
from glitchtrace.core.seeding import generator
from glitchtrace.repair.context import read_context
from glitchtrace.repair.plans import Plan


def repair_cell(*, signals: str, glitch: str, repaired: str, policies: Sequence[str], seed: int) -> None:
    """Write ``repaired.parquet``: policy, sample, action (keep, relabel, drop) and label of every sample.

    ``policies`` are registered names.  A policy without ``reveals_truth`` in its card is given neither the
    marks nor the true labels.  Raises GlitchtraceError for an unknown policy, for a signal that a policy
    needs and the cell has not, and for tables of different samples.
    """
    revealed = read_context(signals, glitch)
    hidden = revealed.without_truth()
    plans = []
    for policy in policies:
        context = revealed if registry.card("policy", policy).get("reveals_truth") else hidden
        rng = generator(seed, f"repair by {policy}")
        actions, labels = registry.load("policy", policy).propose(context, rng)
        plans.append(Plan(actions, labels).table(policy))
    files.write_parquet(pd.concat(plans, ignore_index=True), repaired)

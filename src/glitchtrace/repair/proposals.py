"""Stage: propose the repairs of one cell."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from glitchtrace.core import files, registry
from glitchtrace.core.seeding import generator
from glitchtrace.detectors.evidence import detect
from glitchtrace.detectors.stage import read_evidence
from glitchtrace.repair.context import make_context
from glitchtrace.repair.plans import Plan


def repair_cell(
    *,
    glitch: str,
    repaired: str,
    policies: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]],
    estimator_settings: Mapping[str, Any],
    seed: int,
    profile: Sequence[str] = (),
    factors: Sequence[str] = (),
    out_of_fold: Sequence[str] = (),
) -> None:
    """Write ``repaired.parquet``: policy, sample, action (keep, relabel, drop) and label of every sample.

    ``policies`` are registered names.  The detectors that their cards name (``uses``) are asked here, from the same
    evidence as in ``detectors.stage.detect_cell``, so that a repair follows from these detectors and from no others.
    ``settings``: detector → its settings.  A policy without ``reveals_truth`` in its card is given neither the marks
    nor the true labels.  Raises GlitchtraceError for an unknown policy, and as ``detect_cell``.
    """
    evidence = read_evidence(
        glitch=glitch, profile=profile, factors=factors, out_of_fold=out_of_fold, seed=seed
    )
    detections = {
        name: detect(name, evidence, {**estimator_settings, **settings.get(name, {})})
        for name in detectors_of(policies)
    }
    revealed = make_context(files.read_parquet(glitch), detections)
    hidden = revealed.without_truth()
    plans = []
    for policy in policies:
        context = revealed if registry.card("policy", policy).get("reveals_truth") else hidden
        rng = generator(seed, f"repair by {policy}")
        actions, labels = registry.load("policy", policy).propose(context, rng)
        plans.append(Plan(actions, labels).table(policy))
    files.write_parquet(pd.concat(plans, ignore_index=True), repaired)


def detectors_of(policies: Sequence[str]) -> list[str]:
    """The detectors that the cards of some policies name, sorted."""
    return sorted(
        {
            name
            for policy in policies
            for name in registry.card("policy", policy).get("uses", {}).get("detector", ())
        }
    )

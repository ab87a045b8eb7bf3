"""Stage: propose the repairs of one cell."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from glitchtrace.core import files, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.detectors.evidence import detect
from glitchtrace.detectors.number import count
from glitchtrace.detectors.stage import read_evidence
from glitchtrace.repair.context import make_context
from glitchtrace.repair.plans import Plan


def repair_cell(
    *,
    glitch: str,
    repaired: str,
    policies: Mapping[str, Mapping[str, Any]],
    detectors: Mapping[str, Mapping[str, Any]],
    counters: Sequence[str],
    estimator_settings: Mapping[str, Any],
    seed: int,
    profile: Sequence[str] = (),
    factors: Sequence[str] = (),
    out_of_fold: Sequence[str] = (),
) -> None:
    """Write ``repaired.parquet``: policy, sample, action (keep, relabel, drop) and label of every sample.

    ``policies``: name → settings.  ``detectors`` (name → settings) and ``counters``, those that the policies ask
    (``asking.asked``), are asked here, from the same evidence as in ``detectors.stage.detect_cell``, so that a repair
    follows from these and from no others.  A policy without ``reveals_truth`` in its card is given neither the
    marks nor the true labels.  Raises GlitchtraceError for an unknown policy, and as ``detect_cell``.
    """
    evidence = read_evidence(
        glitch=glitch, profile=profile, factors=factors, out_of_fold=out_of_fold, seed=seed
    )
    detections = {
        name: detect(name, evidence, {**estimator_settings, **settings})
        for name, settings in detectors.items()
    }
    numbers = {name: count(name, evidence) for name in counters}
    revealed = make_context(files.read_parquet(glitch), detections, numbers)
    hidden = revealed.without_truth()
    plans = []
    for policy, settings in policies.items():
        context = revealed if registry.card("policy", policy).get("reveals_truth") else hidden
        rng = generator(seed, f"repair by {policy}")
        answer = registry.load("policy", policy).propose(context, rng, **settings)
        try:
            plans.append(Plan.of_answer(answer, len(context.labels)).table(policy))
        except GlitchtraceError as error:
            raise GlitchtraceError(f"{registry.place('policy', policy)}: {error}") from None
    files.write_parquet(pd.concat(plans, ignore_index=True), repaired)

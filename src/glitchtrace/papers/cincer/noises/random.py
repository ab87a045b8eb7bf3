"""Wrong labels anywhere, uniformly."""

import numpy as np

from glitchtrace.papers.cincer.noise_context import NoiseContext

KIND = "noise"
CARD = {
    "summary": "Labels chosen uniformly are replaced by a uniformly drawn other class.",
    "label": "random noise",
    # The upper bound, a run without any wrong label, is defined for this noise.
    "clean": True,
}


def annotate(context: NoiseContext) -> np.ndarray:
    """The annotated labels."""
    return context.flip(np.sort(context.rng.permutation(len(context.truth))[: context.count]))

"""Wrong labels where a model trained on clean labels has the largest margin."""

import numpy as np

from glitchtrace.papers.cincer.noise_context import NoiseContext

KIND = "noise"
CARD = {
    "summary": "The samples of the largest margin of a model trained on clean labels get another class.",
    "label": "largest margin noise",
    "trains": True,
}


def annotate(context: NoiseContext) -> np.ndarray:
    """The annotated labels."""
    return context.flip(np.sort(context.by_margin[len(context.truth) - context.count :]))

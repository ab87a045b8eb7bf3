"""Wrong labels where a model trained on clean labels has the smallest margin."""

import numpy as np

from glitchtrace.papers.cincer.noise_context import NoiseContext

KIND = "noise"
CARD = {
    "summary": "The samples of the smallest margin of a model trained on clean labels get another class.",
    "label": "smallest margin noise",
    "trains": True,
}


def annotate(context: NoiseContext) -> np.ndarray:
    """The annotated labels."""
    return context.flip(np.sort(context.by_margin[: context.count]))

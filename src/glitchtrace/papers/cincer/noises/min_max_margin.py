"""Wrong labels at both ends of the margin of a model trained on clean labels."""

import numpy as np

from glitchtrace.papers.cincer.noise_context import NoiseContext

KIND = "noise"
CARD = {
    "summary": "Half of the wrong labels at the smallest, half at the largest margin max p − min p.",
    "label": "both-margins noise",
    "trains": True,
}


def annotate(context: NoiseContext) -> np.ndarray:
    """The annotated labels."""
    smallest = round(context.count / 2)
    ends = [context.by_margin[:smallest], context.by_margin[len(context.truth) - context.count + smallest :]]
    return context.flip(np.sort(np.concatenate(ends)))

"""Clusters of equal wrong labels around samples of the largest margin."""

import numpy as np

from glitchtrace.papers.cincer.noise_context import NoiseContext

KIND = "noise"
CARD = {
    "summary": "Clusters of near samples around those of the largest margin, each relabelled to one wrong class.",
    "label": "clustered noise",
    "trains": True,
}


def annotate(context: NoiseContext) -> np.ndarray:
    """The annotated labels.

    There are min(C, count / 10) clusters of count / clusters samples.  Centres are the first samples of distinct true
    classes from the largest margin downward; of the 5 × size nearest neighbours of a centre, itself among them,
    the nearest whose true class is not the wrong label get it.  Clusters may overlap, so that fewer than ``count``
    labels may be wrong.
    """
    clusters = int(min(context.classes, context.count / 10))
    labels = context.truth.copy()
    if clusters == 0:
        return labels
    size = context.count // clusters
    flat = context.inputs.reshape(len(context.inputs), -1)
    used: set[int] = set()
    for centre in context.by_margin[::-1]:
        if len(used) == clusters:
            break
        true = int(context.truth[centre])
        if true in used:
            continue
        used.add(true)
        wrong = context.wrong_label(true)
        distances = np.linalg.norm(flat - flat[centre], axis=1)
        near = np.argsort(distances, kind="stable")[: 5 * size]
        labels[near[context.truth[near] != wrong][:size]] = wrong
    return labels

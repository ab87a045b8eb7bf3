"""The most suspicious pictures of one cell, with their observed, proposed and true labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.description import read_description
from glitchtrace.data.sources import Sources
from glitchtrace.detectors.ranks import most_suspicious
from glitchtrace.evaluation.samples import read_samples, signal_names
from glitchtrace.glitches.kinds import Kind
from glitchtrace.reporting import style

_COLUMNS = 6
_CELL_INCHES = 1.2
_TEXT_POINTS = 6.0
_FOUND: dict[str, Any] = {"edgecolor": "#00664B", "linewidth": 2.0, "linestyle": "-"}
_FALSE_ALARM: dict[str, Any] = {"edgecolor": "#D55E00", "linewidth": 1.2, "linestyle": (0, (3, 2))}


def plot_gallery(
    *,
    scores: str | Path,
    glitch: str | Path,
    features: Sequence[str | Path],
    descriptions: Sequence[str | Path],
    figures: Sequence[str | Path],
    dataset: str,
    model: str,
    planted: str,
    ratio: str,
    seed: int,
    signal: str,
    size: int,
    memorised: Sequence[Sequence[str]] = (),
) -> None:
    """Stage: draw the ``size`` samples of one cell that ``signal`` finds most suspicious.

    The head says which cell it is: ``dataset``, ``model``, the glitch that was ``planted`` at ``ratio``, ``seed``;
    ``memorised`` as of ``plot_signals``.

    ``scores`` and ``glitch`` are the scores and the sample table of the cell; ``features`` and
    ``descriptions`` are the features.npy and source.json of its sources, the host's first.  Raises
    GlitchtraceError for a dataset without pictures, for a signal that the cell has not scored, and where
    the tables describe different samples.
    """
    sources = [read_description(path) for path in descriptions]
    if sources[0]["modality"] != "image":
        raise GlitchtraceError(f"dataset {dataset} is a table; a gallery needs pictures")
    scored, samples = read_samples(scores, glitch)
    if signal not in signal_names(scored):
        raise GlitchtraceError(f"{scores} has no detector '{signal}'; add it to 'detectors' in the config")
    first = most_suspicious(scored[signal].to_numpy(), size)
    shown = samples.iloc[first].assign(proposed_label=scored["proposed_label"].to_numpy()[first])
    folders = [Path(path).parent.name for path in descriptions]
    names = dict(zip(folders, [source["classes"] for source in sources], strict=True))
    scored_as = scored[signal].to_numpy()[first]
    captions = [
        [f"score: {number(score)}", *caption(row, names, host=sources[0]["classes"])]
        for score, row in zip(scored_as, shown.itertuples(), strict=True)
    ]
    finds = (shown["kind"] != Kind.CLEAN).to_numpy()
    network = style.marked_model(dataset, model, memorised)
    title = (
        f"{style.human_name('dataset', dataset)}: most suspicious by {style.human_name('detector', signal)}, "
        f"the highest score first\n{style.human_name('model', network)}, {style.human_glitch(planted, ratio)}, "
        f"seed {seed}"
    )
    style.save(draw_gallery(Sources(features).samples(shown), captions, finds, title=title), figures)


def caption(row: Any, names: dict[str, list[str]], *, host: list[str]) -> list[str]:
    """The lines under one picture: observed, proposed and true label, and what the sample is.

    ``row`` is a row of the sample table with ``proposed_label``; ``names`` maps a source to its class
    names, ``host`` are those of the cell's own dataset.  A sample without a true label is named by its
    class in its own source.
    """
    foreign = row.true_label < 0
    truth = f"foreign: {names[row.source][row.source_label]}" if foreign else f"true: {host[row.true_label]}"
    kind = Kind(row.kind)
    verdict = "✗ false alarm" if kind == Kind.CLEAN else f"✓ {style.human_kind(kind.label)}"
    return [f"label: {host[row.label]}", f"proposed: {host[row.proposed_label]}", truth, verdict]


def number(score: float) -> str:
    """A score to three digits; in whole numbers from a hundred on, as counts and sums of ranks are read."""
    return f"{score:,.0f}" if 100 <= abs(score) < 1e7 else f"{score:.3g}"


@style.styled()
def draw_gallery(
    images: np.ndarray, captions: Sequence[Sequence[str]], finds: np.ndarray, *, title: str
) -> Figure:
    """A grid of pictures in reading order, the most suspicious first.

    ``images`` uint8 (n, H, W) or (n, H, W, 3), ``captions`` n lists of lines, ``finds`` bool (n,).  True
    glitches have a solid frame and a tick, false alarms a dashed frame and a cross.
    """
    columns = min(_COLUMNS, max(len(images), 3))  # a title needs the width of three
    rows = -(-len(images) // columns)
    figure = style.new_figure(_CELL_INCHES * columns, 1.72 * rows + 1.0)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(images) :]:
        axes.set_visible(False)
    for axes, image, lines, find in zip(grid.flat, images, captions, finds, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set(**(_FOUND if find else _FALSE_ALARM))
        text = "\n".join(shortened(line) for line in lines)
        axes.set_xlabel(text, loc="left", fontsize=_TEXT_POINTS, linespacing=1.15, multialignment="left")
    lines = [style.wrapped(line, _CELL_INCHES * columns, 9.0) for line in title.splitlines()]
    figure.suptitle("\n".join(lines))
    found = int(np.sum(finds))
    handles = [
        Patch(facecolor="none", label=f"✓ glitch: {found} of {len(finds)}", **_FOUND),
        Patch(facecolor="none", label=f"✗ false alarm: {len(finds) - found} of {len(finds)}", **_FALSE_ALARM),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def shortened(line: str) -> str:
    """A line cut to the width of one picture's place, with an ellipsis."""
    limit = int(_CELL_INCHES * 72 / (0.58 * _TEXT_POINTS)) - 1
    return line if len(line) <= limit else f"{line[: limit - 1]}…"

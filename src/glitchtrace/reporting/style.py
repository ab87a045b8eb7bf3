"""The one style of all figures: sizes, fonts, colours, marks, names, and files that are equal byte for byte.

Meaning is never carried by colour alone: signals are named beside their bars and families are hatched,
policies and kinds of sample have marks and dashes of their own.  Colours that are drawn together stay apart
under simulated deuteranopia (a test measures it).  Figures are built without pyplot, so that no state
outlives a call.
"""

import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import replacing
from glitchtrace.glitches.kinds import Kind

# Widths of a printed figure, in inches: one column, one and a half, the page.
COLUMN, MIDDLE, PAGE = 3.5, 5.3, 7.2

INK, FAINT, PAPER = "#222222", "#8C8C8C", "#FFFFFF"

# Families of signals in the order in which they are drawn; other signals follow, by name.
SIGNAL_FAMILIES: Mapping[str, Mapping[str, str]] = {
    "published earlier": {
        "SI": "#2F5F9E",
        "MI": "#C3D0DF",
        "negative_MI": "#AFC2D8",
        "AAI": "#8DAACC",
        "MAI": "#7396C0",
        "GD_class": "#5780B1",
    },
    "parts and ablations": {
        "MPI": "#9A9A9A",
        "inverse_MPI": "#868686",
        "NIL": "#C6C6C6",
        "NIL_opt": "#B3B3B3",
        "SLIP": "#DADADA",
        "SLIN": "#D0D0D0",
    },
    "counterfactual": {"CNCI": "#D55E00", "PCID": "#009E73", "CFRank": "#882255"},
}
# Lines only: dots, circles and stars are curves, up to 255 KB a pattern in each SVG.
FAMILY_HATCHES = {"published earlier": "", "parts and ablations": "---", "counterfactual": "////"}
# Families of detectors by other means, in their order, each with its colour and hatch; a card names its family.
RIVAL_FAMILIES: Mapping[str, tuple[str, str]] = {
    "improved": ("#CC79A7", "////"),
    "plain": ("#4D4D4D", ""),
    "training dynamics": ("#E6AB02", "--"),
    "out of fold": ("#66A61E", "\\\\"),
    "neighbours": ("#1B9E9E", "||"),
    "linear head": ("#A6761D", "++"),
    "anomalies": ("#7570B3", "//"),
    "pixels": ("#E7298A", "xx"),
    "jury": ("#1F4E79", "+++"),
}
_OTHER_COLOUR, _OTHER_HATCH = "#D9C6A5", "xxxx"

POLICY_COLOURS = {
    "none": "#BBBBBB",
    "random": "#7F7F7F",
    "influence": "#D55E00",
    "relabel": "#1B9E9E",
    "drop": "#E6AB02",
    "oracle": "#1F4E79",
}
POLICY_MARKERS = {"none": "X", "random": "o", "influence": "s", "relabel": "P", "drop": "v", "oracle": "D"}
_OTHER_POLICY = ("#882255", "^")

KIND_COLOURS = {
    Kind.CLEAN.label: "#2F5F9E",
    Kind.MISLABELLED.label: "#D55E00",
    Kind.ANOMALOUS.label: "#009E73",
    Kind.CORRUPTED.label: "#882255",
    Kind.NEAR_DUPLICATE.label: "#DDCC77",
}
KIND_MARKERS = dict(zip(KIND_COLOURS, "osD^v", strict=True))
KIND_DASHES = dict(zip(KIND_COLOURS, ["", (4, 1.5), (1, 1), (4, 1, 1, 1), (2, 1)], strict=True))

# What readers call components; where a name is missing here, the label of the card.
_NAMES = {
    "mnist": "MNIST",
    "fmnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar10_jpeg": "CIFAR-10 (JPEG)",
    "cifar10_lossless": "CIFAR-10 (lossless part)",
    "cifar10_checked": "CIFAR-10 (checked test part)",
    "cifar10h": "CIFAR-10H",
    "mnist_checked": "MNIST (checked test part)",
    "newsgroups_checked": "20 Newsgroups (checked test part)",
    "mnist17": "MNIST, 1 against 7",
    "mnist17@tail": "MNIST, 1 against 7 (tail split)",
    "mnist@whole": "MNIST",
    "cifar10_jpeg@whole": "CIFAR-10 (JPEG)",
    "mlp@hidden_256": "MLP 784–256–10",
    "independent": "independent label noise",
    "stl10": "STL-10",
    "digits": "Digits",
    "breast_cancer": "Breast cancer",
    "iris": "Iris",
    "wine": "Wine",
    "photo_patches": "photograph",
    "adult": "Adult",
    "german": "German credit",
    "newsgroups": "20 Newsgroups",
    "covtype": "Forest Cover",
    "covtype_sample": "Forest Cover (sample)",
    "jannis": "Jannis",
    "jannis_sample": "Jannis (sample)",
    "epsilon": "Epsilon",
    "epsilon_sample": "Epsilon (200 rows)",
    "resnet20": "ResNet-20",
    "linear": "Linear head",
    "mlp": "MLP",
    "small_cnn": "small CNN",
    "six_conv_cnn": "six-convolution CNN",
    "tabular_mlp": "MLP",
    "tabular_resnet": "ResNet",
    "ft_transformer": "FT-Transformer",
    "vit_b16": "ViT-B/16",
    "convnext_tiny": "ConvNeXt-Tiny",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "efficientnet_lite1": "EfficientNet-Lite1",
    "efficientnet_lite2": "EfficientNet-Lite2",
    "uniform": "uniform label noise",
    "class_dependent": "class-dependent label noise",
    "clustered": "clustered label noise",
    "far_anomalies": "far anomalies",
    "near_anomalies": "near anomalies",
    "human_labels": "human labels",
    "official_labels": "official labels, checked by people",
    "mixture@mu_ua": "uniform label noise and far anomalies",
    "tracin": "TracIn",
    "captum_tracincp": "captum TracInCP",
    "captum_tracincp_fast": "captum TracInCPFast",
}

# Of a network that has learnt the training samples with their true labels before; see ``core.grid.memorised``.
MARK = "†"
MARKED = (
    f"{MARK} The weights that this network starts from have learnt these training samples with their true labels: "
    "what is found here says little about data that a network has never seen."
)

HEADLINES = {
    "f1": "F1; as many flagged as there are glitches",
    "f1_published": "F1; published rule: one flagged too many, and ties",
}

_SETTINGS = {
    **sns.axes_style("whitegrid"),
    **sns.plotting_context("paper"),
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.0,
    "figure.titlesize": 9.0,
    "figure.labelsize": 7.5,
    "legend.fontsize": 7.0,
    "legend.title_fontsize": 7.0,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 7.0,
    "axes.linewidth": 0.6,
    "axes.edgecolor": FAINT,
    "axes.axisbelow": True,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "hatch.linewidth": 0.4,
    "lines.linewidth": 1.2,
    "patch.linewidth": 0.5,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "savefig.dpi": 200,
    # What makes two files of one figure equal, and text look the same on every machine.
    "svg.hashsalt": "glitchtrace",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}

_METADATA: dict[str, dict[str, None]] = {
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
}


@contextmanager
def styled() -> Iterator[None]:
    """The settings of all figures, as a context or as the decorator of a drawing function."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of ``width`` × ``height`` inches whose layout leaves room for every label."""
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", wspace=0.05)
    return figure


def save(figure: Figure, targets: Iterable[str | Path]) -> None:
    """Write a figure to each target, in the format of its suffix: .svg, .pdf or .png.

    Files hold no date and no program version; the same figure gives the same bytes.  The layout is settled
    once, so that all formats show the same positions.  Raises GlitchtraceError for another suffix before
    anything is written.
    """
    paths = [Path(target) for target in targets]
    for target in paths:
        if target.suffix not in _METADATA:
            raise GlitchtraceError(f"figure {target}: unknown format; use one of {', '.join(_METADATA)}")
    with styled():
        figure.draw_without_rendering()
        # Not "none", whose placeholder has every format drawn twice.
        figure.set_layout_engine(None)
        for target in paths:
            with replacing(target) as temporary:
                figure.savefig(temporary, metadata=_METADATA[target.suffix])


def family(signal: str) -> str | None:
    """The family of a detector, a key of ``SIGNAL_FAMILIES`` or of ``RIVAL_FAMILIES``; None for one of no family."""
    base = registry.base_name(signal)
    for name, members in SIGNAL_FAMILIES.items():
        if base in members:
            return name
    if base in registry.names("detector"):
        name = registry.card("detector", base).get("family", "")
        return name if name in RIVAL_FAMILIES else None
    return None


def of_influence(detector: str) -> bool:
    """Whether a detector is made of influence: of profiles, or of the counterfactual gap; any other is plain."""
    return "profile" in registry.card("detector", detector)["needs"] or family(detector) == "improved"


def signal_colour(signal: str) -> str:
    """The colour of a detector; a variant has the colour of its base."""
    name, base = family(signal), registry.base_name(signal)
    if name and name in RIVAL_FAMILIES:
        return RIVAL_FAMILIES[name][0]
    return SIGNAL_FAMILIES[name].get(base, _OTHER_COLOUR) if name else _OTHER_COLOUR


def signal_hatch(signal: str) -> str:
    """The hatch of a detector's family."""
    name = family(signal)
    if name and name in RIVAL_FAMILIES:
        return RIVAL_FAMILIES[name][1]
    return FAMILY_HATCHES[name] if name else _OTHER_HATCH


def ordered_signals(signals: Iterable[str]) -> list[str]:
    """Detectors in the fixed order of families, each once; within a family by its order or by name; others last."""
    families = [*SIGNAL_FAMILIES, *RIVAL_FAMILIES]
    within = {name: place for members in SIGNAL_FAMILIES.values() for place, name in enumerate(members)}

    def place(signal: str) -> tuple[int, int, str]:
        name = family(signal)
        return (
            families.index(name) if name else len(families),
            within.get(registry.base_name(signal), len(within)),
            signal,
        )

    return sorted(set(signals), key=place)


def ordered_policies(policies: Iterable[str]) -> list[str]:
    """Policies in the fixed order none, random, influence, oracle, then others by name."""
    places = {name: place for place, name in enumerate(POLICY_COLOURS)}
    return sorted(set(policies), key=lambda name: (places.get(registry.base_name(name), len(places)), name))


def policy_mark(policy: str) -> tuple[str, str]:
    """Colour and marker of a repair policy."""
    base = registry.base_name(policy)
    return (POLICY_COLOURS[base], POLICY_MARKERS[base]) if base in POLICY_COLOURS else _OTHER_POLICY


def human_name(kind: str, name: str) -> str:
    """What a reader sees of a component: its usual name or the ``label`` of its card; a variant in brackets.

    ``kind`` is one of ``registry.kinds()``; a name may bear the ``MARK``.  Raises GlitchtraceError for an unknown name.
    """
    if name.endswith(MARK):
        return f"{human_name(kind, name.removesuffix(MARK))} {MARK}"
    card = registry.card(kind, name)
    if name in _NAMES:
        return _NAMES[name]
    base, _, variant = name.partition("@")
    label = _NAMES.get(base) or card.get("label", base.replace("_", " "))
    return f"{label} ({variant.replace('_', ' ')})" if variant else label


def marked(
    rows: pd.DataFrame, memorised: Collection[Sequence[str]], dataset: str | None = None
) -> pd.DataFrame:
    """The rows with the ``MARK`` at the names of models whose weights have learnt the data, for ``human_name``.

    ``memorised``: pairs of a dataset and a model, as of ``core.grid.memorised``; ``dataset`` is that of rows without
    such a column.
    """
    datasets = rows["dataset"] if dataset is None else [dataset] * len(rows)
    pairs = zip(datasets, rows["model"], strict=True)
    return rows.assign(model=[marked_model(name, model, memorised) for name, model in pairs])


def marked_model(dataset: str, model: str, memorised: Collection[Sequence[str]]) -> str:
    """The name of one model, with the ``MARK`` where (dataset, model) is among the pairs."""
    return model + MARK if [dataset, model] in map(list, memorised) else model


def human_glitch(glitch: str, ratio: str) -> str:
    """A glitch with its ratio, as the head of a panel: ``uniform label noise, 10 %``."""
    label = human_name("glitch", glitch)
    return f"{label}, {100 * float(ratio):g} %" if ratio[:1].isdigit() else label


def human_kind(kind: str) -> str:
    """The name of a kind of sample without underscores."""
    return kind.replace("_", " ")


def wrapped(text: str, inches: float, size: float = 7.0) -> str:
    """Text broken into lines that fit a width, not before a %; ``size`` is the font size in points."""
    # An average character of the sans serif is 0.58 of the font size wide.
    held = text.replace(" %", "\N{NO-BREAK SPACE}%")
    return textwrap.fill(held, max(8, int(inches * 72 / (0.58 * size)))).replace("\N{NO-BREAK SPACE}%", " %")


def spread(measure: str, counts: Iterable[int]) -> str:
    """What marks and error bars stand for: ``mean ± sd, 5 seeds``, ``…, 3 to 5 seeds``, or ``one seed``.

    ``counts`` are the numbers of seeds behind the means, ``measure`` names the mean with its spread.
    """
    known = list(counts)
    low, high = min(known), max(known)
    if high == 1:
        return "one seed"
    return f"{measure}, {high} seeds" if low == high else f"{measure}, {low} to {high} seeds"


def strip_frame(axes: Any, *, keep: str) -> None:
    """Remove the frame of one panel but for the sides named in ``keep`` (letters of l, r, t, b)."""
    for side in ("left", "right", "top", "bottom"):
        axes.spines[side].set_visible(side[0] in keep)

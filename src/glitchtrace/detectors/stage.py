"""Stage: the scores of all detectors of one cell, in one table."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import files, paths, provenance, sharing
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.sharing import Arrays
from glitchtrace.data.cells import load_cell
from glitchtrace.data.preprocess import Inputs
from glitchtrace.data.sources import Sources
from glitchtrace.data.split import TRAIN, VALIDATION
from glitchtrace.detectors.evidence import Detection, Evidence, Validation, detect
from glitchtrace.detectors.number import Number, count
from glitchtrace.influence.factors import Factors, load_factors
from glitchtrace.influence.profile import load_profiles

# Field of a detection -> column beside its scores.
_PARTS = {
    "proposed_labels": "proposed_label",
    "confidence": "confidence",
    "flags": "flagged",
    "kinds": "kind",
}
# Two columns had a name before there were several detectors that propose labels and tell kinds.
_NAMES = {"CNCI/proposed_label": "proposed_label", "CFRank/kind": "verdict"}


def detect_cell(
    *,
    glitch: str | Path,
    scores: str | Path,
    detectors: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]],
    estimator_settings: Mapping[str, Any],
    seed: int,
    profile: Sequence[str | Path] = (),
    factors: Sequence[str | Path] = (),
    out_of_fold: Sequence[str | Path] = (),
    pictures: Sequence[str | Path] = (),
    features: Sequence[str | Path] = (),
    split: Sequence[str | Path] = (),
    stored: Sequence[str | Path] = (),
    dataset: str = "",
    representations: Sequence[str] = (),
    counters: Sequence[str] = (),
    numbers: str | Path | None = None,
    share: bool = False,
) -> None:
    """Write ``scores.parquet``: sample, label, a column per detector, and what else the detectors say.

    ``detectors``: registered names; ``settings``: detector → its settings; ``estimator_settings`` those of the
    estimator.  ``profile``, ``factors`` and ``out_of_fold`` are the files of the evidence that these detectors need,
    one or none of each; ``pictures`` the ``features.npy`` of the sources.  ``representations``: names of those that a
    frozen backbone keeps beside what its head sees and that a detector asks for, read from ``stored`` with the
    ``features`` of the sources and the ``split`` of ``dataset``.  Columns beside the scores:
    ``{detector}/proposed_label``, ``/confidence``, ``/flagged``, ``/kind`` and ``/posterior_{kind}``; the label that
    CNCI proposes is ``proposed_label``, the kind that CFRank tells ``verdict``.  ``numbers``: where ``counters`` are
    asked, their table: counter, count, low, high.  ``share``: leave what no label enters to other cells below
    ``<results>/shared``, and take it from them.  Raises GlitchtraceError for an unknown detector and for evidence that
    cannot be read or is of other samples.
    """
    evidence = read_evidence(
        glitch=glitch,
        profile=profile,
        factors=factors,
        out_of_fold=out_of_fold,
        pictures=pictures,
        kept=[(name, _kept(name, features, split[0], glitch, dataset, stored)) for name in representations],
        seed=seed,
        shared=_shared(glitch) if share else None,
    )
    answers = {
        name: detect(name, evidence, {**estimator_settings, **settings.get(name, {})}) for name in detectors
    }
    files.write_parquet(score_table(evidence.labels, answers), scores)
    if numbers is not None:
        found = [
            (name, number.count, number.low, number.high) for name, number in counted(counters, evidence)
        ]
        files.write_parquet(pd.DataFrame(found, columns=["counter", "count", "low", "high"]), numbers)


def counted(counters: Sequence[str], evidence: Evidence) -> list[tuple[str, Number]]:
    """The number of wrong labels by several estimators."""
    return [(name, count(name, evidence)) for name in counters]


def read_evidence(
    *,
    glitch: str | Path,
    profile: Sequence[str | Path] = (),
    factors: Sequence[str | Path] = (),
    out_of_fold: Sequence[str | Path] = (),
    pictures: Sequence[str | Path] = (),
    kept: Sequence[tuple[str, Callable[[str], np.ndarray]]] = (),
    seed: int = 0,
    shared: Path | None = None,
) -> Evidence:
    """The evidence of one cell, read from its files as detectors ask for it; labels are those observed.

    ``kept``: further representations, each a name and the function that reads a part of the cell.  ``shared``: the
    folder where cells of the same samples leave what is made of their features alone, where training does not change
    these.

    Raises GlitchtraceError where a file is of other samples, when it is read.
    """
    samples = files.read_parquet(glitch)
    labels = samples["label"].to_numpy(np.int64)
    opened: list[Factors] = []

    def fitting() -> Factors:
        if not opened:
            opened.append(load_factors(factors[0]))
            _same(opened[0].train.labels, labels, factors[0], glitch)
        return opened[0]

    def validation() -> Validation:
        part = fitting().validation
        views = {"head": part.features_at(-1)} | {name: read(VALIDATION) for name, read in kept}
        return Validation(part.labels, views, part.probabilities[-1])

    def representations() -> dict[str, np.ndarray]:
        return {"head": fitting().train.features_at(-1)} | {name: read(TRAIN) for name, read in kept}

    def cross_fitted() -> np.ndarray:
        tensors = files.read_tensors(out_of_fold[0])
        _same(tensors["labels"], labels, out_of_fold[0], glitch)
        return tensors["probabilities"]

    def taken(make: Callable[..., Arrays], found: np.ndarray, settings: tuple[Any, ...]) -> Arrays:
        def depends_on() -> dict[str, Any]:
            content = np.ascontiguousarray(found)
            return {
                "code": provenance.fingerprint(f"{make.__module__}:{make.__qualname__}"),
                "function": make.__qualname__,
                "settings": settings,
                "features": [content.dtype.str, content.shape, hashlib.sha256(content.data).hexdigest()],
            }

        of_others = shared is not None and fitting().frozen and _labels_alone(samples)
        return sharing.shared(shared if of_others else None, depends_on, lambda: make(found, *settings))

    return Evidence(
        labels,
        int(labels.max()) + 1 if not factors else fitting().train.probabilities[0].shape[1],
        read_epochs=(lambda: fitting().train.probabilities) if factors else None,
        read_representations=representations if factors else None,
        read_validation=validation if factors else None,
        read_out_of_fold=cross_fitted if out_of_fold else None,
        read_profiles=(lambda: load_profiles(profile[0])) if profile else None,
        read_pictures=(lambda: Sources(pictures).samples(samples)) if pictures else None,
        seed=seed,
        share=taken,
    )


def _shared(glitch: str | Path) -> Path:
    """Where cells share what is made of features, from ``<results>/{dataset}/{glitch}-{ratio}/seed-{seed}/…``."""
    return Path(paths.fill(paths.SHARED, results=str(Path(glitch).parents[3])))


def _labels_alone(samples: pd.DataFrame) -> bool:
    """Whether the glitches of a sample table are wrong labels: such cells have the same samples."""
    from glitchtrace.glitches.kinds import Kind

    return bool(samples["kind"].isin((Kind.CLEAN, Kind.MISLABELLED)).all())


def _kept(
    name: str,
    features: Sequence[str | Path],
    split: str | Path,
    glitch: str | Path,
    dataset: str,
    stored: Sequence[str | Path],
) -> Callable[[str], np.ndarray]:
    """The function that reads one representation of a part, (n, d), from what a frozen backbone has stored."""

    def read(part: str) -> np.ndarray:
        data = load_cell(
            features=features,
            split=split,
            glitch=glitch,
            dataset=dataset,
            view="features",
            stored=stored,
            representation=name,
        )
        inputs: Inputs = {TRAIN: data.train, VALIDATION: data.validation}[part]
        return inputs.batch(slice(None)).numpy()

    return read


def score_table(labels: np.ndarray, answers: Mapping[str, Detection]) -> pd.DataFrame:
    """The columns of ``scores.parquet``: the scores first, by detector, then what else the detectors say."""
    from glitchtrace.glitches.kinds import Kind

    columns: dict[str, np.ndarray] = {"sample": np.arange(len(labels)), "label": labels}
    columns |= {name: answer.scores for name, answer in answers.items()}
    others: dict[str, np.ndarray] = {}
    for name, answer in answers.items():
        for part, column in _PARTS.items():
            if getattr(answer, part) is not None:
                others[f"{name}/{column}"] = getattr(answer, part)
        if answer.posterior is not None:
            for kind, chance in zip(Kind, answer.posterior.T, strict=False):
                others[f"{name}/posterior_{kind.label}"] = chance
    columns |= {_NAMES.get(name, name): column for name, column in others.items()}
    # The old order of the two old columns.
    last = [name for name in _NAMES.values() if name in columns]
    return pd.DataFrame({name: columns[name] for name in [*(n for n in columns if n not in last), *last]})


def _same(found: np.ndarray, labels: np.ndarray, path: str | Path, glitch: str | Path) -> None:
    if not np.array_equal(found, labels):
        raise GlitchtraceError(
            f"{path} and {glitch} describe different samples; delete {path} and run the same command again"
        )

"""One training problem, assembled from a split, a sample table and the sources they refer to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from glitchtrace.core import files, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.description import category_counts, read_description
from glitchtrace.data.feature_store import PENULTIMATE, FeatureInputs, FeatureStore, of_rows, of_samples
from glitchtrace.data.preprocess import Inputs, PictureInputs, TokenInputs, VectorInputs, standardisation
from glitchtrace.data.sources import Sources
from glitchtrace.data.split import TEST, TRAIN, VALIDATION, rows_of


@dataclass(frozen=True)
class CellData:
    """Training samples with their glitches, validation samples as observed, and clean test samples.

    Labels are int64 in 0 … K−1; ``true_labels`` is −1 where a sample belongs to no class; ``kinds`` is int8,
    see ``glitches.kinds``.
    """

    train: Inputs
    train_labels: np.ndarray
    true_labels: np.ndarray
    kinds: np.ndarray
    validation: Inputs
    validation_labels: np.ndarray
    test: Inputs
    test_labels: np.ndarray
    classes: int


def load_cell(
    *,
    features: Sequence[str | Path],
    split: str | Path,
    glitch: str | Path,
    dataset: str,
    view: str,
    stored: Sequence[str | Path] = (),
    representation: str = PENULTIMATE,
) -> CellData:
    """Assemble the cell; only the rows it uses are read.

    ``features``: the ``features.npy`` of the host first, then of foreign sources; ``labels.npy`` and
    ``source.json`` lie beside.  ``view``: ``pictures``; ``vector``, whose numbers are standardised on the training
    rows of the split, that is before injection, and whose categories are 0 or 1; or ``tokens``, of a table, the
    same numbers followed by codes of categories; or ``features``, those of a frozen backbone, for which ``stored``
    is the file of the stage ``extract_features`` and ``representation`` one of those it kept.  Raises
    GlitchtraceError for a view that the dataset cannot have.
    """
    parts, table = files.read_parquet(split), files.read_parquet(glitch)
    folder = Path(features[0]).parent
    labels = files.read_npy(folder / "labels.npy", memory_mapped=True)
    description = read_description(folder / "source.json")
    sources = Sources(features)
    beside = held_out(parts, table, labels, split)
    rows_beside = {part: rows for part, (rows, _) in beside.items()}
    inputs: dict[str, Inputs]
    if view == "features":
        inputs = _stored(features, stored, sources.host, table, rows_beside, representation)
    else:
        prepare = _view(
            view, dataset, lambda: sources.host_rows(rows_of(parts, TRAIN)), category_counts(description)
        )
        inputs = {part: prepare(sources.host_rows(rows)) for part, rows in rows_beside.items()}
        inputs[TRAIN] = prepare(sources.samples(table))
    return CellData(
        train=inputs[TRAIN],
        train_labels=table["label"].to_numpy(np.int64),
        true_labels=table["true_label"].to_numpy(np.int64),
        kinds=table["kind"].to_numpy(np.int8),
        validation=inputs[VALIDATION],
        validation_labels=beside[VALIDATION][1],
        test=inputs[TEST],
        test_labels=beside[TEST][1],
        classes=len(description["classes"]),
    )


def held_out(
    split: pd.DataFrame, table: pd.DataFrame, labels: np.ndarray, path: str | Path
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Part -> its rows of the source and their labels, both (n,) int64: validation as observed, test clean.

    ``table``: the sample table of the cell, ``labels`` (N,) of the whole source, ``path``: where the split lies.
    Raises GlitchtraceError where the split says no labels.
    """
    kept = _thinned(split, table, labels)
    tested = rows_of(kept, TEST)
    return {
        VALIDATION: (rows_of(kept, VALIDATION), _observed(kept, VALIDATION, path)),
        TEST: (tested, np.asarray(labels[tested], np.int64)),
    }


def _thinned(split: pd.DataFrame, table: pd.DataFrame, labels: np.ndarray) -> pd.DataFrame:
    """The split without the validation rows that a glitch down-samples, see ``glitches.near_anomalies``.

    Of m rows of the class floor(share·m), at least one, stay, evenly spaced.
    """
    if "validation_share" not in table:
        return split
    marked = table[table["validation_share"].notna()]
    rare, share = marked["label"].iloc[0], float(marked["validation_share"].iloc[0])
    of_class = np.asarray(labels[split["row"].to_numpy()]) == rare
    members = np.flatnonzero((split["part"] == VALIDATION).to_numpy() & of_class)
    if not len(members):
        return split
    kept = members[
        np.linspace(0, len(members), max(1, int(share * len(members) + 1e-9)), endpoint=False).astype(int)
    ]
    return split.drop(index=split.index[np.setdiff1d(members, kept)])


def _observed(split: pd.DataFrame, part: str, path: str | Path) -> np.ndarray:
    """The labels of a part as the split has them: those of the source would be clean where the split's are not."""
    if "label" not in split:
        raise GlitchtraceError(f"{path} has no column 'label'; delete it and run the same command again")
    # A copy: torch warns of arrays that cannot be written to.
    return split.loc[split["part"] == part, "label"].to_numpy(np.int64, copy=True)


def _stored(
    features: Sequence[str | Path],
    stored: Sequence[str | Path],
    host: str,
    table: pd.DataFrame,
    held_out: Mapping[str, np.ndarray],
    representation: str,
) -> dict[str, Inputs]:
    """The inputs of all parts as features that a frozen backbone has made of them."""
    if not stored:
        raise GlitchtraceError(
            "the model is trained on extracted features, which this stage does not take; choose another model"
        )
    store = FeatureStore.named(features[0], stored[0])
    wanted = {part: of_rows(host, rows) for part, rows in held_out.items()}
    wanted[TRAIN] = of_samples(table)
    return {part: FeatureInputs(store, identities, representation) for part, identities in wanted.items()}


def _view(
    view: str, dataset: str, clean_rows: Callable[[], np.ndarray], counts: tuple[int, ...]
) -> Callable[[np.ndarray], Inputs]:
    """The function that turns stored rows into inputs of one view."""
    card = registry.card("dataset", dataset)
    if view == "pictures" and card["modality"] == "image":
        return lambda stored: PictureInputs(stored, card.get("convolution_size"))
    form = {"vector": VectorInputs, "tokens": TokenInputs}.get(view)
    if form and (view == "vector" or card["modality"] == "table"):
        mean, std = standardisation(clean_rows())
        return lambda stored: form(stored, mean, std, counts)
    raise GlitchtraceError(
        f"dataset {dataset} ({card['modality']}) has no view '{view}'; choose another model"
    )

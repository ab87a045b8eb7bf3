"""What ``import glitchtrace`` offers for arrays and models: ``influence`` and ``detect``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import complaints, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.data import doors
from glitchtrace.detectors import evidence as pieces
from glitchtrace.detectors.stage import score_table
from glitchtrace.influence.arrays import class_codes, factors_of_arrays, factors_of_module, head_layer
from glitchtrace.influence.estimator import EstimatorInputs, Problem, complete_settings
from glitchtrace.influence.factors import Factors
from glitchtrace.influence.profile import Profiles, build_profiles
from glitchtrace.influence.tracin import HeadInfluence

# What ``detect`` asks where no model has spoken: by neighbours and by the jury's own experts.
_WITHOUT_A_MODEL = ("jury", "knn_vote", "simifeat", "mahalanobis", "knn_distance")


@dataclass(frozen=True)
class Influence:
    """The influence of n training samples on m validation samples, of a model with a linear softmax head.

    Nothing is computed before it is asked for, and the matrix is held only by ``matrix``.

    Attributes
    ----------
    factors : Factors
        Features, probabilities and labels at each checkpoint.
    classes : numpy.ndarray
        The label of each column of the probabilities, (K,).
    index : pandas.Index or None
        The names of the training samples, where a table or a series has some; those of ``signals``.
    """

    factors: Factors
    classes: np.ndarray
    settings: Mapping[str, Any]
    index: pd.Index | None = None

    @cached_property
    def _estimator(self) -> HeadInfluence:
        return HeadInfluence(EstimatorInputs(lambda: self.factors, _no_network), self.settings)

    def matrix(self) -> np.ndarray:
        """The influence matrix J, (n, m): J[i, j] > 0 where training on i lowers the loss of j."""
        return np.concatenate([block for _, block in self.blocks()])

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """The same in blocks: rows and their part of J, (b, m), in order; at most 16 MiB, but at least one row."""
        return self._estimator.blocks()

    @cached_property
    def self_influence(self) -> np.ndarray:
        """The influence of each training sample on itself, (n,), at least 0."""
        return self._estimator.self_influence()

    @cached_property
    def profiles(self) -> Profiles:
        """Positive and negative influence by class, (n, C), observed and counterfactual; streamed.

        C: the classes that occur among the training or validation samples, ``profiles.classes``.
        """
        return build_profiles(
            self._estimator,
            self.factors.train.labels,
            self.factors.validation.labels,
            per_epoch=False,
            counterfactual_epochs=self.settings["counterfactual_epochs"],
            exclude_own_class=self.settings["exclude_own_class"],
        )

    def signals(self, detectors: str | Sequence[str] = "default") -> pd.DataFrame:
        """Scores of the influence signals, one column each, higher = more suspicious; see ``detect``."""
        evidence = pieces.Evidence(
            self.factors.train.labels, len(self.classes), read_profiles=lambda: self.profiles
        )
        return _table(evidence, _chosen(detectors, evidence), {}, self.classes, self.index)


def influence(
    features: Any,
    probabilities: Any = None,
    labels: Any = None,
    validation: Any = None,
    *,
    classes: Any = None,
    head: str | None = None,
    checkpoints: Sequence[Mapping[str, Any]] | None = None,
    learning_rates: Any = None,
    include_bias: bool = True,
    counterfactual_epochs: str = "last",
    exclude_own_class: bool = False,
) -> Influence:
    """Influence of training samples on validation samples: TracIn of a linear softmax head, exact and in closed form.

    With features h, residuals e = p − onehot(y) and rates η over checkpoints t,
    J_ij = Σ_t η_t (e_ti · e_tj)(h_ti · h_tj + b), b = 1 where the bias counts.  Source: docs/methods/tracin.md.

    Parameters
    ----------
    features : array of shape (n, d), list of such, or torch.nn.Module
        Inputs of the head, the same at all checkpoints or one array for each.  A module is passed over
        ``probabilities`` and ``labels``, which are then loaders of training and validation samples, (inputs, labels).
    probabilities : array of shape (n, K) or (T, n, K)
        Class probabilities of the model on its training samples, at one or at T checkpoints.
    labels : array of shape (n,)
        Observed labels, text or whole numbers.
    validation : (features, probabilities, labels), optional
        The same of the m validation samples; by default the training samples judge each other.
    classes : array of shape (K,), optional
        The label of each column, ``classes_`` of scikit-learn; by default the columns are numbered or sorted.  Columns
        of a table that are named by the labels are taken by their names.
    head : str, optional
        With a module, the name of its last linear layer, by default the one declared last.  The module must answer
        with the logits of this layer, their softmax or log-softmax.
    checkpoints : sequence of state dictionaries, optional
        With a module, its states in training; by default the one it has.
    learning_rates : array of shape (T,) or float, optional
        The weight of each checkpoint, by default 1.
    include_bias : bool
        Whether the bias of the head counts; a layer without one has none that counts.
    counterfactual_epochs : {"last", "all"}
        Checkpoints of the influence under other labels (CNCI, PCID).
    exclude_own_class : bool
        Whether the label that CNCI proposes must differ from the observed one.

    Returns
    -------
    Influence
        Matrix, self influence, class profiles and signals, each computed when asked for.

    Raises
    ------
    GlitchtraceError
        Where shapes, types, values or labels do not fit, in one line.
    """
    chosen = {
        "include_bias": include_bias,
        "counterfactual_include_bias": include_bias,
        "counterfactual_epochs": counterfactual_epochs,
        "exclude_own_class": exclude_own_class,
    }
    complaints.check_settings("estimator", "tracin", chosen, "influence")
    index = None
    if hasattr(features, "named_modules"):
        if validation is not None:
            raise GlitchtraceError(
                "validation: with a module give two loaders, influence(module, training, validation)"
            )
        factors = factors_of_module(
            features, probabilities, labels, head=head, checkpoints=checkpoints, learning_rates=learning_rates
        )
        if head_layer(features, head).bias is None:
            chosen |= {"include_bias": False, "counterfactual_include_bias": False}
        columns = factors.train.probabilities[0].shape[1]
        names = np.arange(columns) if classes is None else doors.class_names(classes, columns)
    else:
        if head is not None or checkpoints is not None:
            raise GlitchtraceError(
                "head, checkpoints: they are of a module; with arrays give features and probabilities by checkpoint"
            )
        if probabilities is None or labels is None:
            raise GlitchtraceError("influence needs features, probabilities and labels; give all three")
        beside = None if validation is None else _three(validation)
        if beside is not None and beside[1] is None:
            raise GlitchtraceError(
                "validation: influence needs probabilities; give (features, probabilities, labels)"
            )
        doors.same_order(features=features, probabilities=probabilities, labels=labels)
        columns = doors.checkpoints(probabilities)[0].shape[1]
        tables = {"probabilities": probabilities}
        if beside is not None:
            tables["validation probabilities"] = beside[1]
        codes, names, tables = _coded(labels, tables, columns, classes, "labels")
        train = (features, tables["probabilities"], codes)
        other = train
        if beside is not None:
            other = _validation(beside, tables["validation probabilities"], names, features)
        factors = factors_of_arrays(*train, *other, learning_rates)
        index = _index(features, labels, probabilities)
    return Influence(factors, names, complete_settings("tracin", chosen), index)


def detect(
    X: Any = None,
    y: Any = None,
    *,
    probabilities: Any = None,
    features: Any = None,
    out_of_fold: Any = None,
    validation: Any = None,
    pictures: Any = None,
    detectors: str | Sequence[str] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    classes: Any = None,
    learning_rates: Any = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Score training samples by how suspicious their labels and their features are.

    Parameters
    ----------
    X : array of shape (n, d), optional
        Inputs; a representation of the samples where ``features`` gives none.
    y : array of shape (n,)
        Observed labels, text or whole numbers.
    probabilities : array of shape (n, K) or (T, n, K), optional
        Class probabilities of a trained model on these samples, ``predict_proba``; T of them are its epochs.
    features : array of shape (n, d), or mapping of name to such, optional
        What a model makes of the samples: inputs of its last layer.
    out_of_fold : array of shape (n, K), optional
        Class probabilities by models that have not seen the sample, ``cross_val_predict(..., method="predict_proba")``.
    validation : (features, probabilities or None, labels), optional
        Samples beside the training set; influence needs their probabilities.  Where both are tables, features are taken
        by the names of the columns of the first representation.
    pictures : array of shape (n, H, W) or (n, H, W, 3), uint8, optional
        The samples as pictures.
    detectors : str or sequence of str, optional
        Names, ``"default"`` or ``"all"``: of these groups, those whose evidence is given.  By default ``"default"``,
        and with ``X`` and ``y`` alone ``jury``, ``knn_vote``, ``simifeat``, ``mahalanobis`` and ``knn_distance``.
    settings : mapping of name to settings, optional
        Settings of detectors.
    classes : array of shape (K,), optional
        The label of each column of the probabilities, ``classes_`` of scikit-learn; by default the columns are numbered
        or sorted.  Columns of a table that are named by the labels are taken by their names.
    learning_rates : array of shape (T,) or float, optional
        The weight of each checkpoint in the influence.
    seed : int
        Seed of the detectors that draw.

    Returns
    -------
    pandas.DataFrame
        A row per sample: its position ``sample``, its label, a column per detector (higher = more suspicious), and
        ``{detector}/...`` for what else a detector says: a proposed label, its own flags, a kind.  The index is that of
        ``X``, ``y`` or ``features``, the first whose rows are more than numbered, so that it can be joined to it.

    Raises
    ------
    GlitchtraceError
        Where an array does not fit, or a detector is asked for whose evidence is not given, in one line.
    """
    if y is None:
        raise GlitchtraceError("detect needs the labels of the samples; give y=")
    generator(seed, "detect")  # a seed that is none ends here, whether or not a detector draws
    representations = dict(features) if isinstance(features, Mapping) else {"head": features}
    if X is not None and representations.get("input") is not None:
        raise GlitchtraceError("features: 'input' is the name of X; give it another name, or leave X= out")
    representations = {
        name: part for name, part in {**representations, "input": X}.items() if part is not None
    }
    called = {_called(name): part for name, part in representations.items()}
    doors.same_order(y=y, probabilities=probabilities, out_of_fold=out_of_fold, **called)
    beside = None if validation is None else _three(validation)
    if beside is not None and not representations:
        raise GlitchtraceError(
            "validation: its rows are set beside the features of the training samples; give features= or X="
        )
    tables = {"probabilities": probabilities, "out_of_fold": out_of_fold}
    if beside is not None:
        tables["validation probabilities"] = beside[1]
    tables = {name: part for name, part in tables.items() if part is not None}
    if tables:
        name = next(iter(tables))
        columns = doors.checkpoints(tables[name], name)[0].shape[1]
        labels, names, tables = _coded(y, tables, columns, classes, "y")
    else:
        if classes is not None:
            raise GlitchtraceError(
                "classes: they are the labels of the columns of probabilities; give probabilities=, or leave them out"
            )
        labels, names = doors.labels(y, "y")
        columns = len(names)
    probabilities, out_of_fold = tables.get("probabilities"), tables.get("out_of_fold")
    other = None
    if beside is not None:
        first = next(iter(representations.values()), None)
        other = _validation(beside, tables.get("validation probabilities"), names, first)

    def profiles() -> Profiles:
        first = next(iter(representations.values()))
        assert other is not None
        return influence(
            first, probabilities, labels, other, classes=np.arange(columns), learning_rates=learning_rates
        ).profiles

    whole = representations and probabilities is not None and other is not None and other[1] is not None
    evidence = pieces.Evidence(
        labels,
        columns,
        read_epochs=None if probabilities is None else lambda: doors.checkpoints(probabilities),
        read_representations=(lambda: representations) if representations else None,
        read_out_of_fold=None if out_of_fold is None else lambda: out_of_fold,
        read_validation=None
        if other is None
        else lambda: _beside(other, next(iter(representations), "head")),
        read_profiles=profiles if whole else None,
        read_pictures=None if pictures is None else lambda: pictures,
        seed=seed,
    )
    _check(evidence, representations)
    if learning_rates is not None:
        doors.rates(learning_rates, len(evidence.epochs) if evidence.has("epochs") else 1)
        if not whole:
            raise GlitchtraceError(
                "learning_rates: they weigh the checkpoints of the influence; give features=, probabilities= and "
                "validation= with its probabilities, or leave them out"
            )
    if detectors is None:
        chosen = _fitting(registry.chosen("detector", "default"), evidence) or _fitting(
            _WITHOUT_A_MODEL, evidence
        )
        if not chosen:
            raise GlitchtraceError("detect: no detector can do with labels alone; give probabilities= or X=")
    else:
        chosen = _chosen(detectors, evidence)
    if settings is not None:
        if not isinstance(settings, Mapping) or any(name not in chosen for name in settings):
            raise GlitchtraceError(f"settings: give them by detector of this call: {', '.join(chosen)}")
        for name, own in settings.items():
            complaints.check_settings("detector", name, own, f"settings.{name}")
    index = _index(X, y, *(() if features is None else representations.values()))
    return _table(evidence, chosen, settings or {}, names, index)


def _table(
    evidence: pieces.Evidence,
    names: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]],
    classes: np.ndarray,
    index: pd.Index | None,
) -> pd.DataFrame:
    answers = {name: pieces.detect(name, evidence, settings.get(name, {})) for name in names}
    table = score_table(evidence.labels, answers)
    for column in table.columns:
        if column == "label" or column.endswith("proposed_label"):
            table[column] = classes[table[column].to_numpy()]
    return table if index is None else table.set_axis(index)


def _index(*given: Any) -> pd.Index | None:
    """The index of the first table or series whose rows are not just numbered; of checkpoints that of the first one."""
    for part in given:
        one = part[0] if isinstance(part, list | tuple) and len(part) else part
        found = getattr(one, "index", None)
        if isinstance(found, pd.Index) and not found.equals(pd.RangeIndex(len(found))):
            return found
    return None


def _fitting(names: Sequence[str], evidence: pieces.Evidence) -> list[str]:
    return [
        name for name in names if all(evidence.has(need) for need in registry.card("detector", name)["needs"])
    ]


def _check(evidence: pieces.Evidence, representations: Mapping[str, Any]) -> None:
    """Check what was given, whether or not a detector reads it: rows that do not fit are a mistake in any case."""
    for name, part in representations.items():
        called = _called(name)
        doors.single(doors.check_features(part, called, rows=len(evidence)), called)
    for need, piece in (("epochs", "epochs"), ("out_of_fold", "out_of_fold"), ("validation", "validation")):
        if evidence.has(need):
            getattr(evidence, piece)
    if evidence.has("pictures"):
        _ = evidence.pictures


def _chosen(detectors: str | Sequence[str], evidence: pieces.Evidence) -> list[str]:
    """The names of a choice: those that it names, and of the groups all whose evidence is given.

    Raises GlitchtraceError for what is no name, and for none.
    """
    asked = (
        [detectors] if isinstance(detectors, str) or not isinstance(detectors, Iterable) else list(detectors)
    )
    for name in asked:
        if not isinstance(name, str):
            raise GlitchtraceError(f"detectors: {name!r} is no name; give names, 'default' or 'all'")
    if not asked:
        raise GlitchtraceError("detectors: none is named; name one, or leave detectors= out")
    groups = [name for name in asked if name in ("default", "all")]
    named = registry.chosen("detector", [name for name in asked if name not in groups])
    fitting = _fitting(registry.chosen("detector", groups), evidence)
    if not named and not fitting:
        raise GlitchtraceError(
            f"detectors: none of {asked[0]!r} can do with what is given; give probabilities= or X="
        )
    return sorted({*named, *fitting})


def _called(representation: str) -> str:
    """What the caller calls a representation."""
    return "X" if representation == "input" else f"features '{representation}'"


def _three(validation: Any) -> tuple[Any, Any, Any]:
    """Features, probabilities and labels of the validation samples, as they are given."""
    if isinstance(validation, str | Mapping) or hasattr(validation, "columns"):
        validation = None
    try:
        features, probabilities, labels = validation
    except (TypeError, ValueError):
        features = labels = None
    if features is None or labels is None or isinstance(features, Mapping):
        raise GlitchtraceError("validation: give three arrays, (features, probabilities or None, labels)")
    names = ("validation features", "validation probabilities", "validation labels")
    doors.same_order(**dict(zip(names, (features, probabilities, labels), strict=True)))
    return features, probabilities, labels


def _validation(
    given: tuple[Any, Any, Any], probabilities: Any, classes: np.ndarray, beside: Any
) -> tuple[Any, Any, np.ndarray]:
    """Validation samples: labels by the classes, columns in the order of the training samples (``beside``)."""
    features, _, labels = given
    name = "validation features"
    one = doors.of_checkpoints(features, name)
    parts, sides = one or [features], doors.of_checkpoints(beside, "features") or [beside]
    if len(parts) == len(sides):  # otherwise they do not fit, which is said where they are read
        names = [name] if one is None else [f"{name}[{place}]" for place in range(len(parts))]
        parts = [_aligned(*three) for three in zip(parts, sides, names, strict=True)]
        features = parts[0] if one is None else parts
    return features, probabilities, class_codes(labels, len(classes), classes, "validation labels")


def _aligned(features: Any, beside: Any, name: str) -> Any:
    """Features with their columns in the order of another table, where both name them."""
    if hasattr(beside, "columns") and len(set(beside.columns)) == len(beside.columns):
        return doors.in_order(features, list(beside.columns), name)
    return features


def _beside(given: tuple[Any, Any, np.ndarray], name: str) -> pieces.Validation:
    features, probabilities, labels = given
    seen = None if probabilities is None else doors.checkpoints(probabilities, "validation probabilities")[-1]
    return pieces.Validation(labels, {name: doors.features(features, "validation features")}, seen)


def _coded(
    given: Any, tables: Mapping[str, Any], columns: int, classes: Any, name: str
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Labels as columns (n,), the label of each column (K,), and tables of probabilities with columns in this order.

    Columns that are named by the labels are taken by their names, others in the order of ``classes``, by default that
    of the sorted labels.  Raises GlitchtraceError as ``doors.names_of``.
    """
    own = doors.labels(given, name)[1]
    if classes is None:
        classes = doors.names_of(own, **tables)
    codes = class_codes(given, columns, classes, name)
    if classes is not None:
        names = doors.class_names(classes, columns)
    else:
        names = own if len(own) == columns else np.arange(columns)
    ordered = {key: doors.in_order(part, names.tolist(), key) for key, part in tables.items()}
    return codes, names, ordered


def _no_network() -> Problem:
    raise GlitchtraceError("the closed form of the head needs no pass through a network")

"""What ``import glitchtrace`` offers for arrays and models: ``influence`` and ``detect``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data import doors
from glitchtrace.detectors import evidence as pieces
from glitchtrace.detectors.stage import score_table
from glitchtrace.influence.arrays import class_codes, factors_of_arrays, factors_of_module
from glitchtrace.influence.estimator import EstimatorInputs, Problem, complete_settings
from glitchtrace.influence.factors import Factors
from glitchtrace.influence.profile import Profiles, build_profiles
from glitchtrace.influence.tracin import HeadInfluence


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
    """

    factors: Factors
    classes: np.ndarray
    settings: Mapping[str, Any]

    @cached_property
    def _estimator(self) -> HeadInfluence:
        return HeadInfluence(EstimatorInputs(lambda: self.factors, _no_network), self.settings)

    def matrix(self) -> np.ndarray:
        """The influence matrix J, (n, m): J[i, j] > 0 where training on i lowers the loss of j."""
        return np.concatenate([block for _, block in self.blocks()])

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """The same in blocks: rows and their part of J, (b, m), in order, within 8 MiB."""
        return self._estimator.blocks()

    @cached_property
    def self_influence(self) -> np.ndarray:
        """The influence of each training sample on itself, (n,), at least 0."""
        return self._estimator.self_influence()

    @cached_property
    def profiles(self) -> Profiles:
        """Positive and negative influence by class, (n, K), observed and counterfactual; streamed."""
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
        names = [
            name
            for name in registry.chosen("detector", detectors)
            if registry.card("detector", name)["needs"] == ["profile"]
        ]
        return _table(_evidence_of(self), names, {}, self.classes)


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
        The label of each column, ``classes_`` of scikit-learn; by default the columns are numbered or sorted.
    head : str, optional
        With a module, the name of its last linear layer.
    checkpoints : sequence of state dictionaries, optional
        With a module, its states in training; by default the one it has.
    learning_rates : array of shape (T,) or float, optional
        The weight of each checkpoint, by default 1.
    include_bias : bool
        Whether the bias of the head counts.
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
    if hasattr(features, "named_modules"):
        factors = factors_of_module(
            features, probabilities, labels, head=head, checkpoints=checkpoints, learning_rates=learning_rates
        )
        columns = factors.train.probabilities[0].shape[1]
    else:
        if probabilities is None or labels is None:
            raise GlitchtraceError("influence needs features, probabilities and labels; give all three")
        columns = doors.checkpoints(probabilities)[0].shape[1]
        train = (features, probabilities, class_codes(labels, columns, classes))
        other = train if validation is None else _validation(validation, columns, classes)
        if other[1] is None:
            raise GlitchtraceError(
                "validation: influence needs probabilities; give (features, probabilities, labels)"
            )
        factors = factors_of_arrays(*train, *other, learning_rates)
    names = _class_names(labels, columns, classes)
    settings = complete_settings(
        "tracin",
        {
            "include_bias": include_bias,
            "counterfactual_include_bias": include_bias,
            "counterfactual_epochs": counterfactual_epochs,
            "exclude_own_class": exclude_own_class,
        },
    )
    return Influence(factors, names, settings)


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
        Samples beside the training set; influence needs their probabilities.
    pictures : array of shape (n, H, W) or (n, H, W, 3), uint8, optional
        The samples as pictures.
    detectors : str or sequence of str, optional
        Names, ``"default"`` or ``"all"``; by default every default detector whose evidence is given.
    settings : mapping of name to settings, optional
        Settings of detectors.
    classes : array of shape (K,), optional
        The label of each column of the probabilities, ``classes_`` of scikit-learn.
    learning_rates : array of shape (T,) or float, optional
        The weight of each checkpoint in the influence.
    seed : int
        Seed of the detectors that draw.

    Returns
    -------
    pandas.DataFrame
        A row per sample: its label, a column per detector (higher = more suspicious), and ``{detector}/...`` for what
        else a detector says: a proposed label, its own flags, a kind.

    Raises
    ------
    GlitchtraceError
        Where an array does not fit, or a detector is asked for whose evidence is not given, in one line.
    """
    if y is None:
        raise GlitchtraceError("detect needs the labels of the samples; give y=")
    given = [part for part in (probabilities, out_of_fold) if part is not None]
    if given:
        columns = doors.checkpoints(given[0])[0].shape[1]
        labels, names = class_codes(y, columns, classes, "y"), _class_names(y, columns, classes)
    else:
        labels, names = doors.labels(y, "y")
        columns = len(names)
    representations = dict(features) if isinstance(features, Mapping) else {"head": features}
    representations = {
        name: part for name, part in {**representations, "input": X}.items() if part is not None
    }
    other = None if validation is None else _validation(validation, columns, classes)

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
    if detectors is None:
        chosen = [
            name
            for name in registry.chosen("detector", "default")
            if all(evidence.has(need) for need in registry.card("detector", name)["needs"])
        ]
        if not chosen:
            raise GlitchtraceError("detect: no detector can do with labels alone; give probabilities= or X=")
    else:
        chosen = registry.chosen("detector", detectors)
    return _table(evidence, chosen, settings or {}, names)


def _table(
    evidence: pieces.Evidence,
    names: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]],
    classes: np.ndarray,
) -> pd.DataFrame:
    answers = {name: pieces.detect(name, evidence, settings.get(name, {})) for name in names}
    table = score_table(evidence.labels, answers)
    for column in table.columns:
        if column == "label" or column.endswith("proposed_label"):
            table[column] = classes[table[column].to_numpy()]
    return table


def _evidence_of(found: Influence) -> pieces.Evidence:
    return pieces.Evidence(
        found.factors.train.labels, len(found.classes), read_profiles=lambda: found.profiles
    )


def _validation(given: Any, columns: int, classes: Any) -> tuple[Any, Any, np.ndarray]:
    try:
        features, probabilities, labels = given
    except (TypeError, ValueError):
        raise GlitchtraceError(
            "validation: give three arrays, (features, probabilities or None, labels)"
        ) from None
    return features, probabilities, class_codes(labels, columns, classes, "validation labels")


def _beside(given: tuple[Any, Any, np.ndarray], name: str) -> pieces.Validation:
    features, probabilities, labels = given
    seen = None if probabilities is None else doors.checkpoints(probabilities, "validation probabilities")[-1]
    return pieces.Validation(labels, {name: doors.features(features, "validation features")}, seen)


def _class_names(labels: Any, columns: int, classes: Any) -> np.ndarray:
    if classes is not None:
        return np.asarray(classes)
    if hasattr(labels, "__iter__") and not hasattr(labels, "dataset"):
        own = doors.labels(labels)[1]
        if len(own) == columns:
            return own
    return np.arange(columns)


def _no_network() -> Problem:
    raise GlitchtraceError("the closed form of the head needs no pass through a network")

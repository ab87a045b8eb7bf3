"""The rivals of influence: oracles for what we compute, the libraries' own numbers for what we wrap."""

import itertools
import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import LocalOutlierFactor

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.detectors.anomalies import isolation_scores, shrunk_covariance
from glitchtrace.detectors.evidence import Evidence, Validation, detect
from glitchtrace.detectors.neighbours import nearest_neighbours, shapley_values, soft_labels
from glitchtrace.detectors.number import count
from glitchtrace.evaluation.detection import auroc

SAMPLES, CLASSES = 150, 3


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    found: np.ndarray = raised / raised.sum(axis=-1, keepdims=True)
    return found


def make(seed: int = 0, flipped: int = 15, far: int = 0) -> tuple[Evidence, np.ndarray]:
    """Three blobs in five dimensions with wrong labels or far samples, a head in training, and which are wrong."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLASSES, 5)) * 4
    truth = np.arange(SAMPLES) % CLASSES
    rows = centres[truth] + rng.normal(size=(SAMPLES, 5))
    labels, wrong = truth.copy(), np.zeros(SAMPLES, bool)
    wrong[: flipped or far] = True
    if flipped:
        labels[wrong] = (truth[wrong] + 1) % CLASSES
    rows[:far] = rng.normal(size=(far, 5)) * 25
    beside = centres[truth[:60]] + rng.normal(size=(60, 5))
    models = [LogisticRegression(C=c, max_iter=500).fit(rows, labels) for c in (0.001, 0.01)]
    held_out = LogisticRegression(C=0.01, max_iter=500).fit(beside, truth[:60])
    evidence = Evidence(
        labels,
        CLASSES,
        read_epochs=lambda: [model.predict_proba(rows) for model in models],
        read_representations=lambda: {"head": rows},
        read_out_of_fold=lambda: held_out.predict_proba(rows),
        read_validation=lambda: Validation(truth[:60], {"head": beside}, models[-1].predict_proba(beside)),
        seed=seed,
    )
    return evidence, wrong


def named(finds: str) -> list[str]:
    """The rivals that are made for one thing; variability and forgetting are for ambiguous samples."""
    return [
        name
        for name in registry.names("detector")
        if registry.card("detector", name)["finds"] == finds
        and not {"profile", "pictures"} & set(registry.card("detector", name)["needs"])
    ]


@pytest.mark.parametrize("name", [*named("label"), "knn_shapley", "cooks_distance"])
def test_wrong_labels_are_found_and_the_right_ones_proposed(name: str) -> None:
    evidence, wrong = make()
    found = detect(name, evidence)
    assert found.scores.shape == (SAMPLES,)
    assert auroc(found.scores, wrong) > 0.95
    if found.proposed_labels is not None:
        assert (found.proposed_labels[wrong] == np.arange(SAMPLES)[wrong] % CLASSES).mean() > 0.9


@pytest.mark.parametrize("name", [name for name in named("anomaly") if name != "autoencoder"])
def test_far_samples_are_found(name: str) -> None:
    evidence, wrong = make(flipped=0, far=8)
    assert auroc(detect(name, evidence).scores, wrong) > 0.95


@pytest.mark.parametrize(
    "name", [name for name in named("label") + named("anomaly") if name != "autoencoder"]
)
def test_the_same_evidence_gives_the_same_bytes(name: str) -> None:
    first, second = (detect(name, make()[0]).scores for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_aum_is_the_mean_margin_of_the_logits() -> None:
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(4, 20, CLASSES)) * 3, rng.integers(CLASSES, size=20)
    evidence = Evidence(labels, CLASSES, read_epochs=lambda: list(softmax(logits)))
    own = logits[:, np.arange(20), labels]
    others = logits.copy()
    others[:, np.arange(20), labels] = -np.inf
    np.testing.assert_allclose(
        detect("AUM", evidence).scores, -(own - others.max(axis=2)).mean(axis=0), rtol=1e-9
    )


def test_forgetting_counts_falls_and_what_was_never_learnt() -> None:
    right = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1]], bool)
    chances = np.where(right[..., None], [0.9, 0.1], [0.2, 0.8])
    evidence = Evidence(np.zeros(4, int), 2, read_epochs=lambda: list(chances))
    assert detect("forgetting", evidence).scores.tolist() == [2, 1, 4, 0]


def test_shapley_values_are_those_of_all_coalitions() -> None:
    rng = np.random.default_rng(2)
    rows, others = rng.normal(size=(6, 2)), rng.normal(size=(3, 2))
    labels, truth = rng.integers(2, size=6), rng.integers(2, size=3)
    for k in (1, 2, 8):
        expected = np.zeros(6)
        for other, label in zip(others, truth, strict=True):
            order = np.argsort(((rows - other) ** 2).sum(axis=1), kind="stable")

            def worth(members: tuple[int, ...], order: np.ndarray = order, label: int = label) -> float:
                nearest = [i for i in order if i in members][:k]  # noqa: B023
                return sum(labels[i] == label for i in nearest) / k  # noqa: B023

            for i in range(6):
                rest = [j for j in range(6) if j != i]
                for size in range(6):
                    weight = 1 / (6 * math.comb(5, size))
                    for members in itertools.combinations(rest, size):
                        expected[i] += weight * (worth((*members, i)) - worth(members)) / 3
        np.testing.assert_allclose(shapley_values(rows, labels, others, truth, k), expected, atol=1e-12)


def test_neighbours_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(3)
    rows, labels = rng.normal(size=(40, 4)), rng.integers(3, size=40)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    expected = np.array([np.bincount(labels[np.argsort(-line)[:7]], minlength=3) / 7 for line in similarity])
    np.testing.assert_allclose(soft_labels(nearest_neighbours(rows, 7), labels, 3, weighted=False), expected)


def test_equal_similarities_stand_in_the_order_of_the_samples() -> None:
    rng = np.random.default_rng(5)
    rows = rng.integers(-1, 2, size=(60, 2)) + 2.0  # nine places: most neighbours are tied
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    for neighbours in (1, 7, 30, 59):
        expected = np.argsort(-similarity, axis=1, kind="stable")[:, :neighbours]
        np.testing.assert_array_equal(nearest_neighbours(rows, neighbours)[0], expected)


def test_relations_are_those_of_all_pairs() -> None:
    evidence, _ = make()
    unit = evidence.features / np.linalg.norm(evidence.features, axis=1, keepdims=True)
    relation = np.maximum(unit @ unit.T, 0) * (evidence.probabilities @ evidence.probabilities.T)
    relation *= (relation > 0.03) * np.where(evidence.labels[:, None] == evidence.labels, 1, -1)
    np.fill_diagonal(relation, 0)
    np.testing.assert_allclose(detect("relation_graph", evidence).scores, -relation.sum(axis=1), rtol=1e-6)


def test_leave_one_out_is_near_the_refitted_head() -> None:
    rng = np.random.default_rng(4)
    rows, labels = rng.normal(size=(60, 3)), rng.integers(2, size=60)
    labels = np.where(rows[:, 0] + 0.5 * rng.normal(size=60) > 0, 1, labels * 0)
    model = LogisticRegression(C=1e4, max_iter=2000, tol=1e-8)
    chances = model.fit(rows, labels).predict_proba(rows)
    evidence = Evidence(labels, 2, read_epochs=lambda: [chances], read_representations=lambda: {"head": rows})
    found = detect("leave_one_out", evidence, {"damping": 1e-6}).scores
    exact = []
    for row in range(60):
        rest = np.arange(60) != row
        left = model.fit(rows[rest], labels[rest]).predict_proba(rows[row : row + 1])[0, labels[row]]
        exact.append(-np.log(left))
    assert np.corrcoef(found, exact)[0, 1] > 0.98


def test_what_leaving_out_moves_is_the_formula_and_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence, _ = make()
    rows = np.hstack([evidence.features, np.ones((SAMPLES, 1))])
    chances = evidence.probabilities
    weights, residuals = chances * (1 - chances), chances - np.eye(CLASSES)[evidence.labels]
    leverage = np.empty_like(chances)
    for label in range(CLASSES):
        hessian = rows.T @ np.diag(weights[:, label]) @ rows
        damped = hessian + 0.01 * np.trace(hessian) / len(hessian) * np.eye(len(hessian))
        leverage[:, label] = np.einsum("ij,jk,ik->i", rows, np.linalg.inv(damped), rows)
    spread = 1 - weights * leverage
    logits = np.log(chances) + leverage * residuals / spread
    left = -np.log(softmax(logits)[np.arange(SAMPLES), evidence.labels])
    np.testing.assert_allclose(detect("leave_one_out", evidence).scores, left, rtol=1e-8)
    monkeypatch.setattr("scipy.linalg.cholesky", None)
    cook = (residuals**2 * leverage / spread**2).sum(axis=1)
    np.testing.assert_allclose(detect("cooks_distance", evidence).scores, cook, rtol=1e-8)
    with pytest.raises(TypeError):
        detect("cooks_distance", evidence, {"damping": 0.1})


def test_the_gap_is_the_best_influence_over_all_labels() -> None:
    evidence, _ = make()
    other = evidence.validation
    beside = other.probabilities - np.eye(CLASSES)[other.labels]  # type: ignore[operator]
    inner = evidence.features @ other.features.T + 1
    per_label = np.stack(
        [
            (((evidence.probabilities - np.eye(CLASSES)[label]) @ beside.T) * inner).sum(axis=1)
            for label in range(CLASSES)
        ],
        axis=1,
    )
    expected = per_label.max(axis=1) - per_label[np.arange(SAMPLES), evidence.labels]
    found = detect("counterfactual_gap", evidence)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(found.proposed_labels, per_label.argmax(axis=1))


def test_wrapped_libraries_give_their_own_numbers() -> None:
    from cleanlab.rank import get_label_quality_scores
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.ecod import ECOD

    evidence, _ = make()
    rows, chances = evidence.features, evidence.out_of_fold
    own = {
        "local_outlier_factor": -LocalOutlierFactor(n_neighbors=20).fit(rows).negative_outlier_factor_,
        "ecod": ECOD().fit(rows).decision_scores_,
        "out_of_fold_margin": 1
        - get_label_quality_scores(evidence.labels, chances, method="normalized_margin"),
        "weighted_entropy": 1
        - get_label_quality_scores(evidence.labels, chances, method="confidence_weighted_entropy"),
    }
    for name, expected in own.items():
        np.testing.assert_allclose(detect(name, evidence).scores, expected, rtol=1e-9, err_msg=name)
    library = AutoEncoder(
        hidden_neuron_list=[2, 2],
        epoch_num=10,
        batch_size=32,
        device="cpu",
        random_state=int(generator(evidence.seed, "autoencoder").integers(2**31)),
        verbose=0,
    ).fit(rows.astype(np.float32))
    np.testing.assert_allclose(detect("autoencoder", evidence).scores, library.decision_scores_, rtol=1e-5)
    forest = IsolationForest(n_estimators=30, random_state=5).fit(rows)
    np.testing.assert_array_equal(isolation_scores(rows, rows, 30, 5), -forest.score_samples(rows))


def test_mahalanobis_does_not_depend_on_units() -> None:
    evidence, _ = make()
    units = np.array([1, 1e-3, 1e3, 7, 0.2])
    scaled = Evidence(
        evidence.labels, CLASSES, read_representations=lambda: {"head": evidence.features * units}
    )
    np.testing.assert_allclose(
        detect("mahalanobis", scaled).scores, detect("mahalanobis", evidence).scores, rtol=1e-6
    )


def test_mahalanobis_is_the_nearest_centre_by_the_covariance_within_classes() -> None:
    evidence, _ = make(flipped=0)
    rows, labels = evidence.features, evidence.labels
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(CLASSES)])
    scale = (rows - means[labels]).std(axis=0)
    covariance, _ = ledoit_wolf((rows - means[labels]) / scale, assume_centered=True)
    gaps = (rows[:, None] - means) / scale
    distances = np.einsum("icj,jk,ick->ic", gaps, np.linalg.inv(covariance), gaps)
    found = detect("mahalanobis", evidence)
    np.testing.assert_allclose(found.scores, distances.min(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(found.proposed_labels, distances.argmin(axis=1))


@pytest.mark.parametrize(("samples", "width"), [(20, 3), (101, 40), (96, 200)])
def test_the_autoencoder_has_the_bits_of_pyod(samples: int, width: int) -> None:
    from pyod.models.auto_encoder import AutoEncoder

    class Library(AutoEncoder):  # type: ignore[misc]
        def evaluating_forward(self, batch_data: Any) -> np.ndarray:  # the same without a compiler
            distance: np.ndarray = np.linalg.norm(self.model(batch_data).numpy() - batch_data.numpy(), axis=1)
            return distance

    rows = np.random.default_rng(12).normal(size=(samples, width)).astype(np.float32)
    evidence = Evidence(np.arange(samples) % 2, 2, read_representations=lambda: {"head": rows})
    library = Library(
        hidden_neuron_list=[min(max(2, width // 2), 64), min(max(2, width // 4), 32)],
        epoch_num=4,
        batch_size=min(32, samples),
        device="cpu",
        random_state=int(generator(0, "autoencoder").integers(2**31)),
        verbose=0,
    ).fit(rows)
    found = detect("autoencoder", evidence, {"epochs": 4}).scores
    np.testing.assert_array_equal(found, library.decision_scores_)


@pytest.mark.parametrize("made", ["drawn", "ties", "one value", "two values", "mirrored"])
def test_ecod_has_the_bits_of_pyod(made: str) -> None:
    from pyod.models.ecod import ECOD

    rng = np.random.default_rng(11)
    rows = rng.gamma(2.0, size=(101, 7)).astype(np.float32)
    if made == "ties":
        rows = np.round(rows)
    elif made == "one value":
        rows[:, 3] = 0.1
    elif made == "two values":
        rows[:, 2:5] = rng.integers(2, size=(101, 3)) - 0.5
    elif made == "mirrored":
        rows = np.vstack([rows, -rows])  # no skew at all
    evidence = Evidence(np.arange(len(rows)) % 2, 2, read_representations=lambda: {"head": rows})
    with warnings.catch_warnings(action="ignore"):  # of both, where a feature is constant
        expected = ECOD().fit(rows.astype(np.float64)).decision_scores_
        found = detect("ecod", evidence).scores
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(80, 1), (50, 6), (30, 90), (2, 3)])
def test_the_shrunk_covariance_is_that_of_scikit_learn(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(13)
    rows = rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1]))
    rows -= rows.mean(axis=0)
    expected, _ = ledoit_wolf(rows, assume_centered=True)
    np.testing.assert_allclose(shrunk_covariance(rows), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("sharpness", "tolerance"), [(0.05, 2e-5), (0.25, 1e-4)])
def test_many_features_have_their_leverages_in_single_precision(
    sharpness: float, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(14)
    # As a network gives them: positive, with a long tail of small directions.
    rows = rng.normal(size=(500, 40)) @ (rng.normal(size=(40, 300)) / np.arange(1, 41)[:, None])
    rows = np.maximum(0.5 + rows + 0.05 * rng.normal(size=(500, 300)), 0).astype(np.float32)
    chances = softmax(rows.astype(np.float64) @ rng.normal(size=(300, CLASSES)) * sharpness)
    labels = np.arange(500) % CLASSES

    def scores() -> list[np.ndarray]:
        evidence = Evidence(
            labels, CLASSES, read_epochs=lambda: [chances], read_representations=lambda: {"head": rows}
        )
        return [detect(name, evidence).scores for name in ("leave_one_out", "cooks_distance")]

    single = scores()
    monkeypatch.setattr("glitchtrace.detectors.linear_head._WIDE", 1000)
    for one, double in zip(single, scores(), strict=True):
        assert not np.array_equal(one, double)
        np.testing.assert_allclose(one, double, rtol=tolerance)


@pytest.mark.parametrize("neighbours", [1, 4, 10])
def test_simifeat_is_the_cosine_of_counted_labels_with_few_rows_too(neighbours: int) -> None:
    rows, labels = np.random.default_rng(6).normal(size=(5, 3)), np.array([0, 0, 1, 1, 1])
    found = detect("simifeat", Evidence(labels, 2, read_representations=lambda: {"head": rows}),
                   {"neighbours": neighbours})  # fmt: skip
    for row, near in enumerate(nearest_neighbours(rows, neighbours)[0]):
        counts = np.bincount(labels[[row, *near]], minlength=2)
        assert found.scores[row] == pytest.approx(1 - counts[labels[row]] / np.linalg.norm(counts))


@pytest.mark.parametrize("name", registry.names("counter"))
def test_an_estimated_number_has_an_interval(name: str) -> None:
    evidence, wrong = make(flipped=30)
    found = count(name, evidence)
    assert 0 <= found.low <= found.count <= found.high <= SAMPLES
    if name != "expected_errors":  # right only for calibrated probabilities
        assert abs(found.count - wrong.sum()) < 15
    assert count(name, evidence) == found


@pytest.mark.parametrize("name", registry.names("counter"))
def test_a_class_that_no_sample_has_does_not_hinder_counting(name: str) -> None:
    evidence, _ = make(flipped=30)
    wider = [np.pad(part, ((0, 0), (0, 1))) for part in (evidence.probabilities, evidence.out_of_fold)]
    more = replace(
        evidence,
        classes=evidence.classes + 1,
        read_epochs=lambda: [wider[0]],
        read_out_of_fold=lambda: wider[1],
    )
    assert count(name, more).rounded(SAMPLES) == pytest.approx(count(name, evidence).count, abs=3)


def test_clean_labels_are_counted_as_such() -> None:
    evidence, _ = make(flipped=0, far=1)
    assert count("confident_joint", evidence).count < 5
    assert count("neighbour_clusters", evidence).count < 5


def test_expected_errors_are_those_of_calibrated_probabilities() -> None:
    rng = np.random.default_rng(6)
    chances = softmax(rng.normal(size=(5000, 4)) * 2)
    labels = np.array([rng.choice(4, p=line) for line in chances])
    drawn = np.array([rng.choice(4, p=line) for line in chances])
    found = count("expected_errors", Evidence(labels, 4, read_out_of_fold=lambda: chances))
    assert found.low < (drawn != labels).sum() < found.high
    own = chances[np.arange(5000), labels]
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt((own * (1 - own)).sum()))


def test_pixel_checks_are_those_of_cleanvision_and_find_empty_pictures() -> None:
    rng = np.random.default_rng(7)
    pictures = rng.integers(256, size=(12, 24, 24, 3), dtype=np.uint8)
    pictures[0], pictures[1] = 0, 255
    found = detect("pixels", Evidence(np.arange(12) % 2, 2, read_pictures=lambda: pictures))
    assert found.flags is not None
    assert found.flags[:2].all()
    assert set(np.argsort(-found.scores)[:2]) == {0, 1}


@pytest.mark.parametrize("scale", [2.0**-60, 2.0**90])
def test_detectors_of_anomalies_do_not_depend_on_the_unit(scale: float) -> None:
    rows, labels = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    for name in ("isolation_forest", "local_outlier_factor", "knn_distance", "autoencoder", "ecod"):
        plain, other = (
            detect(
                name,
                Evidence(labels, 2, read_representations=lambda part=part: {"head": part}),
                {"epochs": 1},
            )
            for part in (rows, rows * scale)
        )
        found = other.scores / scale if name == "knn_distance" else other.scores
        np.testing.assert_allclose(found, plain.scores, rtol=1e-6, err_msg=name)


def test_pictures_of_any_size_are_read() -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 8), (3, 5, 1), (8, 8, 3)):
        pictures = rng.integers(256, size=(12, *shape), dtype=np.uint8)
        for name in ("pixels", "picture_autoencoder"):
            given = Evidence(np.arange(12) % 2, 2, read_pictures=lambda part=pictures: part)
            assert np.isfinite(detect(name, given, {"epochs": 1}).scores).all(), (name, shape)
    for shape in ((8, 8, 2), (0, 8), (8,)):
        given = Evidence(np.arange(12) % 2, 2, read_pictures=lambda s=shape: np.zeros((12, *s), np.uint8))
        with pytest.raises(GlitchtraceError, match="pictures have shape"):
            detect("pixels", given)


def test_the_autoencoder_of_pictures_reconstructs_what_is_frequent() -> None:
    rng = np.random.default_rng(8)
    pictures = np.clip(rng.normal(60, 5, size=(64, 16, 16)), 0, 255).astype(np.uint8)
    pictures[5] = 255 - pictures[5]
    evidence = Evidence(np.arange(64) % 2, 2, read_pictures=lambda: pictures)
    scores = detect("picture_autoencoder", evidence, {"epochs": 10}).scores
    assert scores.argmax() == 5
    with pytest.raises(GlitchtraceError, match="uint8"):
        detect("picture_autoencoder", Evidence(evidence.labels, 2, read_pictures=lambda: pictures / 255))


def test_a_detector_is_given_the_representation_that_its_settings_name() -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(60) % 3
    views = {"head": rng.normal(size=(60, 4)), "stage5": rng.normal(size=(60, 7))}
    held = Validation(np.arange(9) % 3, {name: part[:9] for name, part in views.items()})
    both = Evidence(labels, 3, read_representations=lambda: views, read_validation=lambda: held)
    for name in ("knn_vote", "knn_shapley", "mahalanobis"):
        for view, part in views.items():
            alone = Evidence(
                labels,
                3,
                read_representations=lambda part=part: {"only": part},
                read_validation=lambda part=part: Validation(held.labels, {"only": part[:9]}),
            )
            found = detect(name, both, {"representation": view}).scores
            np.testing.assert_array_equal(found, detect(name, alone).scores)
        np.testing.assert_array_equal(
            detect(name, both).scores, detect(name, both, {"representation": "head"}).scores
        )
    with pytest.raises(GlitchtraceError, match="representation 'stage4' is not at hand; known: head, stage5"):
        detect("knn_vote", both, {"representation": "stage4"})

"""Jury: the refit never lets a label vouch for itself; typicality, rare classes, verdict and evidence."""

import numpy as np
import pytest

from glitchtrace.detectors.evidence import Evidence, Validation, detect
from glitchtrace.detectors.jury import Jury, typicality
from glitchtrace.detectors.jury import evidence as evidence_
from glitchtrace.detectors.jury.kernel import KernelRidge
from glitchtrace.detectors.jury.panel import seat
from glitchtrace.detectors.jury.pool import fit_pool
from glitchtrace.detectors.jury.rare import find_rare, rare_classes, thinned
from glitchtrace.detectors.jury.refit import FoldedKernel, refit
from glitchtrace.detectors.jury.rows import deal_folds, gather_rows
from glitchtrace.detectors.jury.typicality import (
    GATE,
    Typicality,
    against_validation,
    along_axes,
    beyond_shift,
    foreign_probability,
    in_doubt,
    kernel_scores,
    ridge_scores,
)
from glitchtrace.detectors.jury.verdict import ANOMALOUS, CLEAN, CORRUPTED, MISLABELLED, weigh


def blobs(n: int, classes: int, seed: int, width: int = 5):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, width)) * 2.0
    truth = rng.integers(classes, size=n)
    truth[:classes] = np.arange(classes)
    return centres[truth] + rng.normal(size=(n, width)), truth


def test_folded_kernel_equals_a_fit_without_the_folds():
    X, truth = blobs(90, 3, 0)
    rows = gather_rows({"x": X}, truth, None, None, 0)
    kernel = KernelRidge.fit(rows.views["x"], rows, 0, "x", 20)
    fold = deal_folds(rows.units, truth, 3, 0)
    phi = kernel.features.rows(np.arange(90))
    scores = FoldedKernel.of(kernel, fold).pair_scores(truth, 3)
    keep = fold == 2
    weights = np.linalg.solve(
        phi[keep].T @ phi[keep] + kernel.penalty * np.eye(phi.shape[1]), phi[keep].T @ np.eye(3)[truth[keep]]
    )
    for side, a in enumerate((0, 1)):
        np.testing.assert_allclose(scores[0, 1][side], phi[fold == a] @ weights, atol=1e-8)


def test_refit_of_a_fold_never_sees_its_labels():
    X, truth = blobs(150, 3, 1)
    fold = np.arange(150) % 5
    plain = gather_rows({"x": X}, truth, None, None, 0)
    panel = seat(plain, fold, 0, trees=())
    pool = fit_pool(panel.ballots, truth, 150)
    changed = np.where(fold == 0, (truth + 1) % 3, truth)
    other = gather_rows({"x": X}, changed, None, None, 0)
    # The same pool and penalties: only what the experts were shown differs.
    once = refit(plain, panel, pool, fold, 0)
    twice = refit(other, panel, pool, fold, 0)
    mine = fold == 0
    for number, name in enumerate(once.names):
        # One optimiser serves the softmax of all folds, hence a small remainder.
        tolerance = 0.1 if name.startswith("softmax") else 1e-4
        first = once.z[number, mine] * once.deviations[number]
        second = twice.z[number, mine] * twice.deviations[number]
        np.testing.assert_allclose(first, second, atol=tolerance * once.deviations[number], err_msg=name)
        assert np.abs(once.z[number, ~mine] - twice.z[number, ~mine]).max() > 1e-3


def test_ridge_and_kernel_scores_equal_refits_without_the_row():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4)).astype(np.float32)
    target = np.r_[np.ones(25), -np.ones(15)]
    weight = np.where(target > 0, 0.8, 1.3)
    scores = ridge_scores(X, target, weight, 5.0)
    x = np.concatenate([(X / X.std(axis=0)).astype(float), np.full((40, 1), 30.0)], axis=1)
    for i in (0, 30):
        keep = np.arange(40) != i
        gram = (x[keep] * weight[keep, None]).T @ x[keep] + 5.0 * np.eye(5)
        expected = x[i] @ np.linalg.solve(gram, x[keep].T @ (weight * target)[keep])
        assert scores[i] == pytest.approx(expected, abs=1e-6)
    flat = kernel_scores(X, np.zeros(40), 30.0, 0)
    np.testing.assert_allclose(flat, 0, atol=1e-12)


def validated(seed: int, foreign: int):
    X, truth = blobs(600, 3, seed, width=6)
    X[:foreign] = np.random.default_rng(seed).normal(size=(foreign, 6)) * 0.5 - 5.0
    labels = truth.copy()
    labels[:foreign] = 1
    V, v = blobs(300, 3, seed + 50, width=6)
    return gather_rows({"x": X}, labels, ({"x": V}, v), None, 0), V, v


def test_gate_is_closed_without_foreign_rows_and_open_with_them():
    gates = []
    for seed in range(5):
        rows, _, _ = validated(seed, 0)
        found = against_validation(rows, np.ones(len(rows), dtype=bool), 0)
        gates.append(found.gate)
        assert not found.open
        assert not found.probability.any()
    rows, _, _ = validated(7, 60)
    found = against_validation(rows, np.ones(len(rows), dtype=bool), 0)
    assert found.open
    assert set(np.argsort(-found.score)[:60]) == set(range(60))
    assert (found.probability[:60] > 0.5).all()
    assert (found.probability[60:] > 0.5).sum() <= 5


def test_a_shift_between_sources_does_not_open_the_gate_and_foreign_rows_do():
    rng = np.random.default_rng(0)
    train, held = rng.normal(0.2, 1, size=3600), rng.normal(-0.1, 1, size=900)
    assert beyond_shift(train, held) < GATE
    train[:100] += 6
    assert beyond_shift(train, held) > GATE
    # Rows that only the validation set has are no finding.
    assert beyond_shift(rng.normal(size=900), np.r_[rng.normal(size=800), rng.normal(9, 1, size=100)]) < GATE


def test_a_score_that_nothing_is_foreign_by_is_not_sharpened_into_nothing():
    rows, _, _ = validated(1, 0)
    found = against_validation(rows, np.ones(len(rows), dtype=bool), 0)
    assert not found.open
    assert len(np.unique(found.score)) > 1


def test_axes_rank_a_far_cluster_without_validation():
    X, _ = blobs(500, 3, 3, width=6)
    X[:30] += 25.0
    found = along_axes({"x": X.astype(np.float32)}, 500, 0)
    assert set(np.argsort(-found.score)[:30]) == set(range(30))
    assert not found.checked
    assert not found.probability.any()


def test_axes_of_many_rows_do_not_depend_on_where_the_cluster_stands(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(typicality, "_AXIS_ROWS", 300)
    X, _ = blobs(500, 3, 3, width=6)
    X[-60:] += 25.0  # behind the first 300
    found = along_axes({"x": X.astype(np.float32)}, 500, 0)
    assert set(np.argsort(-found.score)[:60]) == set(range(440, 500))


def test_two_sources_that_differ_by_a_factor_of_two_open_the_gate_as_seldom_as_chance_allows():
    rng = np.random.default_rng(0)
    # Above 0 training rows are twice as dense as validation rows: the edge of what counts as a shift.
    found = []
    for _ in range(400):
        above = rng.random(1200) < 2 / 3
        train = np.where(above, 1, -1) * rng.random(1200)
        held = np.where(rng.random(300) < 1 / 3, 1, -1) * rng.random(300)
        found.append(beyond_shift(train, held))
    assert np.mean(np.array(found) > GATE) <= 0.01
    assert np.mean(np.array(found) > 1) > 0.1


def test_foreign_probability_is_a_share_and_cautious_below_plain():
    rng = np.random.default_rng(1)
    held = rng.normal(size=500)
    train = np.r_[rng.normal(size=900), rng.normal(size=100) + 6]
    plain, cautious = (foreign_probability(train, held, flag) for flag in (False, True))
    assert (plain[900:] > 0.9).all()
    assert plain[:900].mean() < 0.12  # isotonic steps fit the noise of the two samples
    assert np.mean(cautious[:900] > 0.5) < 0.01
    assert (cautious <= plain + 1e-12).all()
    assert cautious.mean() == pytest.approx(0.1, abs=0.03)


def test_rare_classes_need_significance_and_belief():
    train, held = np.array([400, 400, 100]), np.array([200, 200, 200])
    np.testing.assert_array_equal(rare_classes(train, held), [2])
    assert not len(rare_classes(np.array([40, 40, 30]), np.array([20, 20, 20])))
    labels, other = np.repeat([0, 1, 2], train), np.repeat([0, 1, 2], held)
    np.testing.assert_array_equal(find_rare(labels, other, train, held, 3), [2])
    assert not len(find_rare(labels, other, np.array([300, 300, 300]), held, 3))
    keep = thinned(labels, other, np.array([2]))
    assert np.bincount(other[keep]).tolist() == [200, 200, 50]
    assert thinned(labels, other, np.empty(0, dtype=int)).all()


def test_a_rare_class_is_anomalous():
    X, truth = blobs(700, 3, 4)
    keep = np.flatnonzero((truth != 2) | (np.cumsum(truth == 2) <= 25))
    V, v = blobs(400, 3, 5)
    verdict = Jury(refit=False).judge({"x": X[keep]}, truth[keep], ({"x": V}, v))
    assert verdict.rare == (2,)
    mine = truth[keep] == 2
    assert (verdict.verdict[mine] == ANOMALOUS).mean() > 0.9
    assert (verdict.verdict[~mine] == CLEAN).mean() > 0.9


def test_verdict_of_each_kind():
    odds = np.array([-5.0, 5.0, -5.0, -5.0, -5.0, -5.0])
    labels = np.array([0, 0, 1, 1, 2, 0])
    P = np.array([0, 0, 1.0, 1.0, 0, 0])
    found = Typicality(P, P, P, 9.0, True)
    total, kinds, verdict = weigh(odds, found, labels == 2, labels, 3)
    assert verdict.tolist() == [CLEAN, MISLABELLED, ANOMALOUS, ANOMALOUS, ANOMALOUS, CLEAN]
    np.testing.assert_allclose(kinds.sum(axis=1), 1)
    assert set(np.argsort(-total)[:4]) == {1, 2, 3, 4}
    spread = Typicality(np.ones(6), np.ones(6), np.ones(6), 9.0, True)
    assert (weigh(odds, spread, labels == 9, np.arange(6) % 3, 3)[2] == CORRUPTED).all()
    assert np.array_equal(weigh(odds, None, labels == 9, labels, 3)[0], odds)


def test_a_closed_gate_leaves_a_small_chance_that_ranks_and_never_judges():
    P = np.array([0.0, 0.05, 0.3, 0.5, 0.8, 1.0])
    shift = np.linspace(1, 2, 100_001)[:, None]
    np.testing.assert_allclose(in_doubt(P), 0.01 * np.maximum(0, 1 - shift * (1 - P)).mean(axis=0), atol=1e-7)
    odds = np.array([-100.0, -90.0, -100.0, 2.0])
    labels = np.array([0, 1, 2, 0])
    closed = Typicality(np.arange(4.0), np.zeros(4), np.array([0, 0, 0.005, 0]), 1.0, True)
    total, kinds, verdict = weigh(odds, closed, labels == 9, labels, 3)
    assert np.argsort(-total).tolist()[:2] == [3, 2]
    assert verdict.tolist() == [CLEAN, CLEAN, CLEAN, MISLABELLED]
    assert not kinds[:, [ANOMALOUS, CORRUPTED]].any()
    # Labels of which the number is not known, only the order, keep it.
    lifted, _, _ = weigh(odds, closed, labels == 9, labels, 3, lift=88.0)
    assert np.argsort(-lifted).tolist()[:3] == [3, 1, 2]
    # Of rows that neither label nor chance tells apart, the stranger one comes first, over one nat.
    alike, _, _ = weigh(np.full(4, -99.0), closed, labels == 9, labels, 3)
    assert np.argsort(-alike).tolist() == [2, 3, 1, 0]
    assert alike[3] - alike[0] == pytest.approx(0.75)


def test_evidence_effect_equals_a_refit_with_the_label_changed(monkeypatch):
    monkeypatch.setattr(evidence_, "_BLOCK", 32)
    X, truth = blobs(80, 3, 6)
    rows = gather_rows({"x": X}, truth, None, None, 0)
    kernel = KernelRidge.fit(rows.views["x"], rows, 0, "x", 30)
    changed = truth.copy()
    changed[5] = (truth[5] + 1) % 3
    other = KernelRidge.fit(rows.views["x"], gather_rows({"x": X}, changed, None, None, 0), 0, "x", 30)
    other.penalty = kernel.penalty
    moved = other.scores(np.arange(80)) - kernel.scores(np.arange(80))
    effect = evidence_.relabelling_effect(kernel, np.array([5]), np.arange(80), True)[0]
    keep = np.arange(80) != 5
    np.testing.assert_allclose(moved[keep, changed[5]], effect[keep], atol=1e-8)
    np.testing.assert_allclose(moved[keep, truth[5]], -effect[keep], atol=1e-8)


@pytest.mark.parametrize("with_validation", [False, True])
def test_evidence_names_neighbours_and_held_out_rows(with_validation: bool):
    X, truth = blobs(300, 3, 8)
    X *= 2
    labels = truth.copy()
    labels[:12] = (truth[:12] + 1) % 3
    V, v = blobs(150, 3, 9)
    verdict = Jury(typicality=False).judge({"x": X}, labels, ({"x": V * 2}, v) if with_validation else None)
    found = [verdict.evidence[i] for i in range(12) if i in verdict.evidence]
    assert len(found) >= 9
    for one in found:
        assert one.observed == labels[one.row]
        assert one.proposed == verdict.proposed[one.row]
        assert all(labels[j] == one.proposed for j, _ in one.supporters)
        assert one.row not in dict(one.supporters)
        assert one.held_out == ("validation" if with_validation else "training")
        held = v if with_validation else labels
        assert held[one.helped[0][0]] == one.proposed or one.proposed != truth[one.row]
        assert all(gain > 0 for _, gain in one.helped)
        assert all(gain < 0 for _, gain in one.hurt)


@pytest.mark.parametrize("name", ["jury", "jury_validated"])
def test_jury_is_a_detector_of_the_grid(name: str):
    X, truth = blobs(300, 3, 8)
    labels = truth.copy()
    labels[:15] = (truth[:15] + 1) % 3
    V, v = blobs(100, 3, 9)
    evidence = Evidence(
        labels,
        3,
        read_representations=lambda: {"head": X},
        read_validation=lambda: Validation(v, {"head": V}),
    )
    found = detect(name, evidence, {"max_false": 0.2})
    assert set(np.argsort(-found.scores)[:10]) <= set(range(15))
    assert found.posterior is not None
    assert found.posterior.shape == (300, 4)
    assert found.flags is not None
    assert not found.flags[15:].any()

"""Jury: experts never see the label they judge; noise, promise and number do what they say."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_digits

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors.jury import Jury, noise, number, pool, promise
from glitchtrace.detectors.jury.ballots import Ballots, collect
from glitchtrace.detectors.jury.heads import PENALTY, Forest, SoftmaxFolds, fit_softmax, softmax_scores
from glitchtrace.detectors.jury.kernel import KernelRidge
from glitchtrace.detectors.jury.neighbours import Vote, find_neighbours
from glitchtrace.detectors.jury.rows import deal_folds, find_units, gather_rows, prepare_view


def blobs(n: int, classes: int, seed: int, width: int = 5, spread: float = 1.0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, width)) * 2.0
    truth = rng.integers(classes, size=n)
    truth[:classes] = np.arange(classes)
    return centres[truth] + spread * rng.normal(size=(n, width)), truth


def flip(truth: np.ndarray, share: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wrong = rng.choice(len(truth), round(share * len(truth)), replace=False)
    labels = truth.copy()
    classes = truth.max() + 1
    labels[wrong] = (labels[wrong] + rng.integers(1, classes, size=len(wrong))) % classes
    return labels


@pytest.fixture(scope="module")
def digits():
    X, truth = load_digits(return_X_y=True)
    # The rows stand in the order of their writers: not shuffled, validation would be of another source.
    order = np.random.default_rng(0).permutation(len(X))
    X, truth = X[order], truth[order]
    return X[:1000], truth[:1000], X[1000:1400], truth[1000:1400]


def test_kernel_scores_equal_refits_without_the_unit():
    X, truth = blobs(60, 3, 0)
    X[10] = X[3]  # a pair of exact duplicates
    groups = np.arange(60)
    groups[[20, 21, 22, 23]] = 20
    rows = gather_rows({"x": X}, truth, None, groups, 0)
    kernel = KernelRidge.fit(rows.views["x"], rows, 0, "x", 25)
    scores = kernel.scores(np.arange(60))
    phi = kernel.features.rows(np.arange(60))
    onehot = np.eye(3)[rows.labels]
    for i in (0, 3, 10, 21, 59):
        keep = rows.units != rows.units[i]
        assert (~keep).sum() == {0: 1, 3: 2, 10: 2, 21: 4, 59: 1}[i]
        weights = np.linalg.solve(
            phi[keep].T @ phi[keep] + kernel.penalty * np.eye(phi.shape[1]), phi[keep].T @ onehot[keep]
        )
        np.testing.assert_allclose(scores[i], phi[i] @ weights, atol=1e-6)


def test_kernel_unit_larger_than_its_basis():
    X, truth = blobs(60, 3, 0)
    rows = gather_rows({"x": X}, truth, None, np.r_[np.zeros(30), np.arange(1, 31)], 0)
    kernel = KernelRidge.fit(rows.views["x"], rows, 0, "x", 12)
    phi = kernel.features.rows(np.arange(60))
    weights = np.linalg.solve(
        phi[30:].T @ phi[30:] + kernel.penalty * np.eye(12), phi[30:].T @ np.eye(3)[rows.labels[30:]]
    )
    np.testing.assert_allclose(kernel.scores(np.arange(60))[:30], phi[:30] @ weights, atol=1e-6)


@pytest.mark.parametrize("expert", ["kernel", "vote", "softmax", "forest"])
def test_no_expert_sees_a_label_of_the_own_unit(expert: str):
    X, truth = blobs(80, 3, 1)
    X[7] = X[2]
    other = truth.copy()
    other[[2, 7]] = (other[[2, 7]] + 1) % 3

    def scores(labels: np.ndarray) -> np.ndarray:
        rows = gather_rows({"x": X}, labels, None, None, 0)
        fold = np.arange(80) % 5
        fold[7] = fold[2]
        view = rows.views["x"]
        made = {
            "kernel": lambda: KernelRidge.fit(view, rows, 0, "x", 30),
            "vote": lambda: Vote(find_neighbours(view, rows), rows.labels, 3),
            "softmax": lambda: SoftmaxFolds(view, rows, fold, 0),
            "forest": lambda: Forest(view, rows, 0),
        }[expert]()
        if isinstance(made, KernelRidge):
            made.penalty = 1.0
        return made.scores(np.arange(80))

    # The regressions of all folds share the steps of one optimiser: what is left of it is far below a vote.
    tolerance = 0.01 if expert == "softmax" else 1e-7
    np.testing.assert_allclose(scores(truth)[[2, 7]], scores(other)[[2, 7]], atol=tolerance)


def test_units_are_groups_and_duplicates_through_chains():
    X = np.r_[0.0, 1.0, 1.0, 2.0, 3.0, -0.0, np.arange(4.0, 20)][:, None]
    groups = np.r_[0, 1, 2, 2, -1, -1, np.full(16, -1)]
    np.testing.assert_array_equal(find_units({"x": X}, groups), np.r_[0, 1, 1, 1, 2, 0, np.arange(3, 19)])


def test_rows_that_are_equal_by_chance_are_units_of_their_own():
    X = np.arange(20.0)[:, None] % 17  # three of 20 repeat an earlier one
    np.testing.assert_array_equal(find_units({"x": X}, None), np.arange(20))
    np.testing.assert_array_equal(
        find_units({"x": X}, np.repeat(np.arange(10), 2)), np.repeat(np.arange(10), 2)
    )
    np.testing.assert_array_equal(find_units({"x": np.arange(20.0)[:, None] % 18}, None)[18:], [0, 1])


def few_rows(kind: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Tables of few different rows, whose labels cannot be told from the rows that differ."""
    rng = np.random.default_rng(3)
    if kind == "parity":
        cells = rng.integers(0, 2, (n, 5))
        return np.concatenate([cells, 1 - cells], axis=1).astype(float), cells.sum(axis=1) % 2
    if kind == "product":
        a, b, c = rng.integers(0, 4, n), rng.integers(0, 4, n), rng.integers(0, 2, n)
        return np.concatenate([np.eye(4)[a], np.eye(4)[b], np.eye(2)[c]], axis=1), (a * b + c) % 3
    code = rng.integers(0, 6, n)
    return np.eye(6)[code], code % 3


@pytest.mark.parametrize("kind", ["code", "parity", "product"])
def test_labels_of_few_different_rows_are_judged_by_equal_rows(kind: str):
    X, truth = few_rows(kind, 2000)
    labels = flip(truth, 0.04, 4)
    verdict = Jury(typicality=False).judge({"x": X}, labels)
    wrong = labels != truth
    assert (verdict.label_log_odds[wrong] > 0).mean() > 0.9
    assert (verdict.label_log_odds[~wrong] < 0).all()
    low, high = verdict.number.of(2000)[1:]
    assert low <= wrong.sum() <= high
    assert verdict.flagged.any()
    assert not verdict.flagged[~wrong].any()


@pytest.mark.parametrize("kind", ["code", "parity", "product"])
def test_nothing_is_flagged_where_groups_leave_the_experts_with_the_opposite(kind: str):
    X, truth = few_rows(kind, 1200)
    groups = np.unique(X, axis=0, return_inverse=True)[1].ravel()
    promise = Jury(typicality=False).judge({"x": X}, flip(truth, 0.02, 4), groups=groups).promise
    assert not promise.flagged.any()
    assert "take some class for another one" in promise.words


def test_folds_keep_units_whole_and_spread_classes():
    units = np.repeat(np.arange(50), 2)
    fold = deal_folds(units, np.repeat(np.arange(50) % 2, 2), 5, 3)
    assert np.array_equal(fold[::2], fold[1::2])
    np.testing.assert_array_equal(np.bincount(fold), np.full(5, 20))


@pytest.mark.parametrize(
    ("groups", "blocks_at_least"),
    [
        (np.random.default_rng(0).integers(60, size=500), 4),
        # One large group that comes last: no cut may fall into it.
        (np.minimum(np.arange(500), 90), 2),
    ],
    ids=["small groups", "a large last group"],
)
def test_blocks_hold_every_row_once_and_whole_units(groups: np.ndarray, blocks_at_least: int):
    X, truth = blobs(500, 3, 2)
    rows = gather_rows({"x": X}, truth, None, groups, 0)
    blocks = list(rows.blocks(64))
    assert len(blocks) >= blocks_at_least
    np.testing.assert_array_equal(np.sort(np.concatenate(blocks)), np.arange(500))
    owner = {unit for block in blocks for unit in np.unique(rows.units[block])}
    assert sum(len(np.unique(rows.units[block])) for block in blocks) == len(owner)


def test_faiss_neighbours_equal_the_blocked_ones(monkeypatch):
    X, truth = blobs(400, 3, 3)
    rows = gather_rows({"x": X}, truth, None, np.arange(400) // 2, 0)
    exact = find_neighbours(rows.views["x"], rows, 10)
    monkeypatch.setattr("glitchtrace.detectors.jury.neighbours._BLOCKED_ROWS", 10)
    found = find_neighbours(rows.views["x"], rows, 10)
    assert np.mean(found.index == exact.index) > 0.99
    np.testing.assert_allclose(found.weight, exact.weight, atol=1e-4)
    assert not (rows.units[found.index] == rows.units[:, None]).any()


def test_softmax_regressions_in_one_run_equal_single_ones():
    X, truth = blobs(120, 3, 4)
    X = X.astype(np.float32)
    used = np.arange(120)[:, None] % 2 != np.arange(2)
    together = fit_softmax(X, truth, used, 3, steps=300)
    for side in range(2):
        alone = fit_softmax(X, truth, used[:, [side]], 3, steps=300)[0]
        np.testing.assert_allclose(X @ together[side][:-1], X @ alone[:-1], atol=0.05)


def simulated(n: int, matrix: np.ndarray, seed: int):
    """Rows whose posterior p is known, and labels drawn by T: the pool's model is true."""
    rng = np.random.default_rng(seed)
    K = len(matrix)
    z = rng.normal(size=(1, n, K)) * 2.0
    z -= z.mean(axis=2, keepdims=True)
    p = np.exp(z[0] * 2)
    p /= p.sum(axis=1, keepdims=True)
    truth = (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    labels = (matrix[truth].cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    useless = rng.normal(size=(1, n, K))
    ballots = Ballots(
        np.concatenate([z, useless]).astype(np.float32),
        np.tile(np.arange(K), (n, 1)),
        ("true", "useless"),
        K,
        np.ones(2),
    )
    return ballots, truth, labels


def test_pool_finds_weights_and_noise_of_its_own_model():
    matrix = noise.uniform_matrix(0.2, 4)
    ballots, _, labels = simulated(6000, matrix, 0)
    found = pool.fit_pool(ballots, labels, 6000)
    assert found.uniform
    np.testing.assert_allclose(found.weights, [2.0, 0.0], atol=0.25)
    np.testing.assert_allclose(found.noise, matrix, atol=0.03)


def test_pool_finds_class_pairs():
    matrix = np.eye(4)
    matrix[1] = [0, 0.6, 0.4, 0]
    ballots, _, labels = simulated(6000, matrix, 1)
    found = pool.fit_pool(ballots, labels, 6000)
    assert not found.uniform
    np.testing.assert_allclose(found.noise, matrix, atol=0.06)


def test_few_easy_rows_do_not_drive_the_weights_without_bound():
    def weight(n: int) -> float:
        truth = np.arange(n) % 3
        z = np.eye(3)[truth] * np.random.default_rng(0).uniform(0.2, 1, size=(n, 1))
        z = (z - z.mean(axis=1, keepdims=True)) / z.std()
        ballots = Ballots(z[None].astype(np.float32), np.tile(np.arange(3), (n, 1)), ("a",), 3, np.ones(1))
        return float(pool.fit_pool(ballots, truth, n, strengths=noise.UNIFORM).weights.sum())

    assert weight(60) < 6 < 8 < weight(6000)


def test_likelihood_rises_from_round_to_round():
    ballots, _, labels = simulated(2000, noise.uniform_matrix(0.3, 3), 2)
    path = pool.fit_pool(ballots, labels, 2000, strengths=noise.UNIFORM).objective
    assert np.diff(path).min() > -1e-9


def test_likelihood_of_em_alone_rises():
    ballots, _, labels = simulated(1000, noise.uniform_matrix(0.3, 3), 3)
    p = np.exp(ballots.log_posterior(np.array([2.0, 0.0]), np.zeros(3)))
    matrix, before = noise.uniform_matrix(0.05, 3), -np.inf
    for _ in range(30):
        value = noise.responsibilities(p, ballots.column(matrix, labels))[1].sum()
        assert value >= before - 1e-9
        before = value
        matrix = noise.estimate(p, ballots, labels, matrix, (0.0, 1e-9), 1)


def test_wrong_validation_labels_are_counted():
    ballots, truth, labels = simulated(3000, noise.uniform_matrix(0.1, 4), 4)
    labels[2000:] = flip(truth[2000:], 0.2, 0)
    found = pool.fit_pool(ballots, labels, 2000)
    assert found.validation_flip == pytest.approx(0.2, abs=0.05)
    labels[2000:] = truth[2000:]
    clean = pool.fit_pool(ballots, labels, 2000).validation_flip
    assert clean is not None
    assert clean < 0.02


def test_scale_error_is_the_spread_of_the_estimate():
    estimates, errors = [], []
    for seed in range(12):
        ballots, _, labels = simulated(1500, noise.uniform_matrix(0.2, 3), 10 + seed)
        found = pool.fit_pool(ballots, labels, 1500, strengths=noise.UNIFORM)
        estimates.append(1 - found.noise[0, 0])
        errors.append(promise.profile(found, ballots, labels, 1500).error * estimates[-1])
    assert 0.5 < np.std(estimates) / np.mean(errors) < 2.0


def test_largest_sets():
    assert promise.largest_by_posterior(np.full(50, 0.5), 0.1) == 0
    assert promise.largest_by_posterior(np.zeros(50), 0.1) == 50
    assert promise.largest_by_posterior(np.r_[np.full(40, 1e-4), np.ones(1000)], 0.1) >= 40
    # Rows more likely right than wrong do not fill what the promise allows.
    assert promise.largest_by_posterior(np.r_[np.zeros(300), np.full(20, 0.6)], 0.1) == 300
    # A pool that is not sure of itself: one draw in ten says that a third is right.
    draws = np.full((10, 300), 0.02)
    assert promise.largest_by_posterior(draws, 0.1) == 300
    draws[0] = 0.33
    assert promise.largest_by_posterior(draws, 0.1) <= 1
    assert promise.largest_by_validation(np.r_[np.zeros(200), np.ones(800)], np.full(500, 2.0), 0.1) > 100
    assert promise.largest_by_validation(np.r_[np.zeros(200), np.ones(800)], np.zeros(500), 0.1) == 0
    assert promise.uncontradicted(np.arange(1000.0), np.full(500, 2000.0), 80, 0.1) == 80
    assert promise.uncontradicted(np.arange(1000.0), np.full(500, 50.5), 80, 0.1) == 51
    assert promise.uncontradicted(np.arange(1000.0), np.full(500, -1.0), 80, 0.1) == 0


def test_odd_right_labels_of_two_classes_are_left_room_where_the_experts_doubt():
    sure = np.tile([[0.99, 0.01], [0.01, 0.99]], (50, 1))
    np.testing.assert_array_equal(promise.with_odd(sure), sure)
    mixed = np.r_[sure, np.full((40, 2), 0.5)]
    odd = promise.with_odd(mixed)
    np.testing.assert_allclose(odd.sum(axis=1), 1)
    # C of two balanced classes: sum p(0) p(1) / sum p(0) = (100 * 0.0099 + 40 * 0.25) / 70.
    np.testing.assert_allclose(
        odd[0, 1], 0.85 * 0.01 + 0.15 * (0.99 * (10.99 / 70) + 0.01 * (1 - 10.99 / 70))
    )


def test_pairs_of_classes_are_trusted_by_a_quarter():
    matrix = np.array([[0.7, 0.3, 0.0], [0.05, 0.9, 0.05], [0.0, 0.0, 1.0]])
    # 0.25 * 0.3 + 0.75 * 0.15; an empty cell stays empty, uniform errors stay as they are.
    np.testing.assert_allclose(promise.weakened(matrix), [[0.7, 0.1875, 0.0], [0.05, 0.9, 0.05], [0, 0, 1]])


def test_two_classes_that_cannot_be_told_apart_flag_nothing():
    rng = np.random.default_rng(5)
    n = 2000
    logit = 3.0 * rng.normal(size=n)
    truth = np.where(rng.random(n) < 0.05, 1 - (logit > 0), rng.random(n) < 1 / (1 + np.exp(-logit))).astype(
        int
    )
    labels = flip(truth, 0.2, 5)
    z = np.stack([-logit, logit], axis=1)[None] / 2
    ballots = Ballots(z.astype(np.float32), np.tile([0, 1], (n, 1)), ("one",), 2, np.ones(1))
    found = pool.fit_pool(ballots, labels, n)
    made, _ = promise.make_promise(found, ballots, labels, n, 0.1)
    assert (labels[made.flagged] == truth[made.flagged]).sum() <= 0.1 * made.flagged.sum()


def test_labels_that_follow_nothing_are_not_judged():
    ballots, _, labels = simulated(2000, noise.uniform_matrix(0.2, 3), 6)
    labels = np.random.default_rng(7).permutation(labels)
    found = pool.fit_pool(ballots, labels, 2000)
    made, scale = promise.make_promise(found, ballots, labels, 2000, 0.1)
    assert scale.loss > promise.LEARNABLE
    assert not made.flagged.any()
    assert "no more of the labels" in made.words


def test_few_rows_get_a_promise_where_validation_rows_do_not_contradict_it(digits):
    X, truth, V, v = digits
    labels = flip(truth, 0.1, 5)[:600]
    jury = Jury(refit=False, typicality=False, trees=())
    verdict = jury.judge({"x": X[:600]}, labels)
    assert not verdict.flagged.any()
    assert "Below 1,000 training rows" in verdict.promise.words
    verdict = jury.judge({"x": X[:600]}, labels, ({"x": V}, v))
    wrong = labels != truth[:600]
    assert (verdict.flagged & wrong).sum() > 0.5 * wrong.sum()
    assert (verdict.flagged & ~wrong).sum() <= 0.1 * verdict.flagged.sum()
    assert "do not contradict it" in verdict.promise.words


@pytest.mark.parametrize("validated", [False, True])
def test_clean_digits_flag_nothing(digits, validated: bool):
    X, truth, V, v = digits
    verdict = Jury().judge({"x": X}, truth, ({"x": V}, v) if validated else None)
    assert not verdict.flagged.any()
    assert verdict.promise.words.startswith("Nothing can be flagged")
    assert verdict.number.share < 0.01


@pytest.mark.parametrize("validated", [False, True])
def test_wrong_digits_are_found_counted_and_repaired(digits, validated: bool):
    X, truth, V, v = digits
    labels = flip(truth, 0.1, 5)
    wrong = labels != truth
    verdict = Jury().judge({"x": X}, labels, ({"x": V}, v) if validated else None)
    worst = np.argsort(-verdict.log_odds)[: wrong.sum()]
    assert wrong[worst].mean() > 0.9
    assert verdict.number.low <= 0.1 <= verdict.number.high
    assert verdict.flagged.sum() > 30
    assert wrong[verdict.flagged].mean() >= 0.9
    repaired = verdict.flagged & wrong
    assert np.mean(verdict.proposed[repaired] == truth[repaired]) > 0.95
    assert (verdict.proposed != labels).all()
    np.testing.assert_allclose(verdict.posterior.sum(axis=1), 1)
    np.testing.assert_allclose(verdict.kinds.sum(axis=1), 1)


def test_same_seed_same_bytes(digits):
    X, truth, _, _ = digits
    labels = flip(truth, 0.1, 5)[:400]
    one, two = (Jury(trees=()).judge({"x": X[:400]}, labels, seed=3) for _ in range(2))
    assert one.log_odds.tobytes() == two.log_odds.tobytes()


def test_order_of_rows_and_classes_matters_little(digits):
    X, truth, _, _ = digits
    labels = flip(truth, 0.1, 5)
    order = np.random.default_rng(0).permutation(len(X))
    name = np.random.default_rng(1).permutation(10)
    jury = Jury(typicality=False)
    plain = jury.judge({"x": X}, labels)
    moved = jury.judge({"x": X[order]}, name[labels[order]])
    # Landmarks, folds and bags differ, hence the ranks are close, not equal.
    assert np.corrcoef(plain.log_odds[order], moved.log_odds)[0, 1] > 0.97
    assert moved.number.share == pytest.approx(plain.number.share, abs=0.01)


def test_a_twin_with_the_same_wrong_label_does_not_vouch(digits):
    X, truth, _, _ = digits
    labels = flip(truth, 0.05, 7)
    wrong = np.flatnonzero(labels != truth)
    doubled = Jury(typicality=False).judge(
        {"x": np.r_[X, X[wrong], X[wrong]]}, np.r_[labels, labels[wrong], labels[wrong]]
    )
    assert np.mean(doubled.log_odds[wrong] > 0) > 0.9


def test_many_classes_keep_the_likely_candidates():
    X, truth = blobs(1500, 100, 6, width=12, spread=0.3)
    labels = flip(truth, 0.1, 0)
    verdict = Jury(typicality=False).judge({"x": X}, labels)
    assert verdict.posterior.shape == (1500, 32)
    assert (verdict.candidates == labels[:, None]).any(axis=1).all()
    wrong = labels != truth
    assert wrong[np.argsort(-verdict.log_odds)[: wrong.sum()]].mean() > 0.9
    assert np.mean(verdict.probability(truth)) > 0.9


def test_candidates_change_nothing_where_they_hold_all_mass(monkeypatch):
    X, truth = blobs(600, 12, 8, spread=0.5)
    labels = flip(truth, 0.1, 0)
    whole = Jury(refit=False, typicality=False).judge({"x": X}, labels)
    monkeypatch.setattr("glitchtrace.detectors.jury.ballots.DENSE", 4)
    monkeypatch.setattr("glitchtrace.detectors.jury.ballots.CANDIDATES", 11)
    kept = Jury(refit=False, typicality=False).judge({"x": X}, labels)
    assert np.corrcoef(whole.log_odds, kept.log_odds)[0, 1] > 0.99
    assert kept.number.share == pytest.approx(whole.number.share, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": np.zeros(6)}, "labels: float64"),
        ({"labels": np.zeros(6, dtype=int)}, "one class only"),
        ({"representations": {"x": np.full((6, 2), np.nan)}}, "row 0, column 0: nan is not finite"),
        ({"representations": {}}, "representations: none"),
        ({"representations": {"x": np.zeros((5, 2))}}, "6 rows as the labels"),
        ({"groups": np.zeros(5)}, "groups: shape"),
        ({"max_false": 0.0}, "max_false"),
        ({"validation": ({"z": np.zeros((2, 2))}, np.zeros(2, dtype=int))}, "no representation 'x'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(changes, words):
    given = {"representations": {"x": np.eye(6)}, "labels": np.arange(6) % 2} | changes
    with pytest.raises(GlitchtraceError, match=words):
        Jury().judge(**given)


def test_collect_scales_each_expert():
    class Fixed:
        def scores(self, block: np.ndarray) -> np.ndarray:
            return np.sin(np.arange(len(block) * 3).reshape(-1, 3)) * 7 + 100

    X, truth = blobs(50, 3, 0)
    ballots = collect({"one": Fixed()}, gather_rows({"x": X}, truth, None, None, 0))
    np.testing.assert_allclose(ballots.z.mean(axis=2), 0, atol=1e-5)
    assert np.sqrt(np.mean(np.square(ballots.z))) == pytest.approx(1, abs=1e-5)


def test_number_that_does_not_differ_from_none_is_bounded_by_the_likelihood():
    for share, seed in ((0.0, 30), (0.004, 31)):
        ballots, truth, _ = simulated(1500, noise.uniform_matrix(0.1, 3), seed)
        labels = flip(truth, share, seed)
        found = pool.fit_pool(ballots, labels, 1500)
        scale = promise.profile(found, ballots, labels, 1500)
        told = number.class_number(found, scale, ballots, labels, 1500)
        assert told.low <= share <= told.high
        assert 3 / 1500 <= told.high < 0.05
        wider = number.mixed_number(found, None, told, scale, ballots, labels, 1500)
        assert wider.high > told.high


def test_a_part_of_the_rows_decides_as_surely_as_that_part(monkeypatch):
    ballots, _, labels = simulated(2000, noise.uniform_matrix(0.2, 3), 32)
    found = pool.fit_pool(ballots, labels, 2000)
    whole = promise.profile(found, ballots, labels, 2000).error
    monkeypatch.setattr(pool, "_FIT_ROWS", 500)
    assert promise.profile(found, ballots, labels, 2000).error == pytest.approx(2 * whole, rel=0.02)


def test_number_where_errors_follow_the_sample_or_the_class():
    rng = np.random.default_rng(0)
    ballots, truth, uniform = simulated(8000, noise.uniform_matrix(0.15, 4), 20)
    p = np.exp(ballots.log_posterior(np.array([2.0, 0.0]), np.zeros(4)))
    found, follows = number.mixed_share(p, uniform, noise.uniform_matrix(0.15, 4))
    assert found == pytest.approx(np.mean(uniform != truth), abs=0.02)
    assert follows < 0.3
    other = np.where(np.arange(4) == truth[:, None], 0, p)
    other /= other.sum(axis=1, keepdims=True)
    suggested = (other.cumsum(axis=1) > rng.random((8000, 1))).argmax(axis=1)
    labels = np.where(rng.random(8000) < 0.15, suggested, truth)
    found, follows = number.mixed_share(p, labels, noise.uniform_matrix(0.15, 4))
    assert found == pytest.approx(np.mean(labels != truth), abs=0.04)
    assert follows > 0.5


def test_number_reaches_up_to_labels_that_repeat_the_mistakes_of_the_experts():
    rng = np.random.default_rng(0)
    ballots, truth, labels = simulated(4000, noise.uniform_matrix(0.1, 4), 21)
    sure = pool.fit_pool(ballots, truth, 4000, strengths=noise.UNIFORM)
    best = sure.posterior(ballots).argmax(axis=1)
    labels = np.where((best != truth) & (rng.random(4000) < 0.25), best, labels)
    found = pool.fit_pool(ballots, labels, 4000)
    scale = promise.profile(found, ballots, labels, 4000)
    by_class = number.class_number(found, scale, ballots, labels, 4000)
    told = number.mixed_number(found, sure, by_class, scale, ballots, labels, 4000)
    share = np.mean(labels != truth)
    assert told.share < share  # nothing in the observed labels tells of them
    assert told.low <= share <= told.high


def test_em_by_observed_label_equals_em_row_by_row():
    ballots, _, labels = simulated(900, noise.uniform_matrix(0.3, 4), 40)
    labels = np.minimum(labels, 2)  # one label is never observed
    p = np.exp(ballots.log_posterior(np.array([2.0, 0.0]), np.zeros(4)))
    matrix = start = noise.uniform_matrix(0.1, 4)
    for _ in range(12):
        q, _ = noise.responsibilities(p, ballots.column(matrix, labels))
        matrix = noise.maximise(noise.counts(q, ballots, labels), (5.0, 1.0))
    np.testing.assert_allclose(noise.estimate(p, ballots, labels, start, (5.0, 1.0), 12), matrix, atol=1e-12)


def test_number_by_cells_equals_em_row_by_row():
    ballots, _, labels = simulated(900, noise.uniform_matrix(0.2, 4), 41)
    p = np.exp(ballots.log_posterior(np.array([2.0, 0.0]), np.zeros(4)))
    n, index = 900, np.arange(900)
    own = np.eye(4, dtype=bool)[labels]
    third = np.digitize(p.max(axis=1), np.quantile(p.max(axis=1), [1 / 3, 2 / 3]))
    uniform = (1 - np.eye(4)) / 3
    rate, factor, follows, targets = np.full(3, 0.1), np.ones(4), 0.3, uniform
    for _ in range(100):
        e = np.minimum(rate[third][:, None] * factor, 0.95)
        by_class = np.where(own, 0, p * e * (1 - follows) * targets.T[labels])
        by_sample = np.where(own, 0, p * e * follows * p[index, labels][:, None] / (1 - p))
        right = np.where(own, p * (1 - e), 0)
        total = (by_class + by_sample + right).sum(axis=1, keepdims=True)
        by_class, by_sample, right = by_class / total, by_sample / total, right / total
        flips = by_class + by_sample
        q = flips + right
        follows = by_sample.sum() / flips.sum()
        rate = np.array([flips[third == b].sum() / (q * factor)[third == b].sum() for b in range(3)])
        found = np.array([by_class[labels == y].sum(axis=0) for y in range(4)]).T
        targets = (found + 10 * uniform) / (found.sum(axis=1) + 10)[:, None]
        pull = 50 * flips.sum() / n
        factor = (flips.sum(axis=0) + pull) / ((q * rate[third][:, None]).sum(axis=0) + pull)
    share, of_samples = number.mixed_share(p, labels, noise.uniform_matrix(0.2, 4))
    assert share == pytest.approx(flips.sum() / n, abs=1e-10)
    assert of_samples == pytest.approx(follows, abs=1e-10)


@pytest.mark.parametrize("soft", [False, True])
def test_softmax_minimises_the_loss_that_it_states(soft: bool):
    X, truth = blobs(90, 3, 5, width=2)
    view = X.astype(np.float32)
    used = np.arange(90)[:, None] % 3 != np.arange(2)
    targets = np.random.default_rng(0).dirichlet(np.ones(3), size=(2, 90)).astype(np.float32)
    found = fit_softmax(view, targets if soft else truth, used, 3, steps=400).astype(np.float64)

    def loss(W: np.ndarray, side: int) -> float:
        log_p = softmax_scores(view.astype(np.float64), W)
        aim = targets[side] if soft else np.eye(3)[truth]
        return -(aim * log_p).sum(axis=1)[used[:, side]].mean() + 0.5 * PENALTY * np.square(W[:-1]).sum()

    for side in range(2):
        best = minimize(lambda w, side=side: loss(w.reshape(3, 3), side), np.zeros(9), tol=1e-10).fun
        assert loss(found[side], side) == pytest.approx(best, abs=1e-5)


def test_the_kept_axes_are_the_leading_ones_of_all():
    X = np.random.default_rng(0).normal(size=(300, 140)) * np.linspace(3, 0.1, 140)
    kept = prepare_view(X, 0, width=5)
    centred = X - X.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    projected = centred @ axes[:5].T
    np.testing.assert_allclose(
        kept @ kept.T, projected @ projected.T / np.square(projected).mean(), atol=1e-3
    )


def test_kernel_scores_are_the_same_where_features_are_not_kept(monkeypatch):
    X, truth = blobs(300, 3, 3)
    rows = gather_rows({"x": X}, truth, None, np.arange(300) // 2, 0)
    kept = KernelRidge.fit(rows.views["x"], rows, 0, "x", 40)
    monkeypatch.setattr("glitchtrace.detectors.jury.kernel._CACHED", 0)
    made = KernelRidge.fit(rows.views["x"], rows, 0, "x", 40)
    assert kept.basis is None
    assert made.basis is not None
    assert made.penalty == kept.penalty
    block = next(rows.blocks(100))
    np.testing.assert_allclose(made.scores(block), kept.scores(block), atol=1e-8)


def test_errors_between_classes_are_believed_where_they_are_plain():
    def chosen(labels: np.ndarray, doubt: float) -> bool:
        half = np.arange(len(labels)) % 2
        return noise.is_uniform(
            noise.choose_strengths(p, ballots, labels, half, noise.uniform_matrix(0.1, 4), doubt)[0]
        )

    matrix = np.eye(4)
    matrix[1] = [0, 0.85, 0.15, 0]
    ballots, truth, labels = simulated(1200, matrix, 42)
    p = np.exp(ballots.log_posterior(np.array([2.0, 0.0]), np.zeros(4)))
    assert not chosen(labels, 2.8)
    assert chosen(labels, 100.0)
    assert chosen(flip(truth, 0.1, 0), 2.8)


def test_ranking_pool_finds_the_pair_that_a_rate_of_none_hides():
    matrix = np.eye(4)
    matrix[1] = [0, 0.9, 0.1, 0]
    ballots, _, labels = simulated(3000, matrix, 43)
    found = pool.fit_pool(ballots, labels, 3000)
    assert pool.ranking_pool(found, ballots, labels, 3000) is found
    none = replace(found, noise=np.eye(4))
    # A rate of 0 is one that EM never leaves.
    p = none.posterior(ballots)
    np.testing.assert_array_equal(noise.estimate(p, ballots, labels, none.noise, (5.0, 1.0), 5), none.noise)
    other = pool.ranking_pool(none, ballots, labels, 3000)
    assert other.noise[1, 2] == pytest.approx(0.1, abs=0.03)
    # The level is that of the first pool, the order that of the second.
    level = other.levelled(none, labels)
    assert level.rate(labels) < 1e-10
    assert (level.log_odds(ballots, labels) < 0).all()
    lifted = replace(level, noise=noise.scaled(level.noise, np.exp(level.lift(1e-4, labels))))
    assert lifted.rate(labels) == pytest.approx(1e-4, rel=1e-3)  # 1 - T[c, c] rounds a rate of 1e-12
    assert level.lift(1e-14, labels) == 0
    sure = level.noise[1, 2] / level.noise[1, 3]
    assert sure == pytest.approx(other.noise[1, 2] / other.noise[1, 3], rel=1e-6)
    right = noise.uniform_matrix(0.02, 4)
    assert other.levelled(replace(none, noise=right), labels).rate(labels) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("share", "ahead", "reopen", "anew"),
    [(0.0, 5.0, False, True), (0.0, 1.5, False, False), (0.0, 1.5, True, True), (0.2, 5.0, False, False)],
)
def test_a_rate_of_none_is_left_where_pairs_are_plain(monkeypatch, share, ahead, reopen, anew):
    ballots, truth, _ = simulated(800, noise.uniform_matrix(0.1, 4), 44)
    labels = flip(truth, share, 0)
    started = []
    opened = noise.opened
    monkeypatch.setattr(noise, "choose_strengths", lambda *_: ((5.0, 1.0), ahead))
    monkeypatch.setattr(noise, "opened", lambda *given: started.append(1) or opened(*given))
    pool.fit_pool(ballots, labels, 800, reopen=reopen)
    assert bool(started) == anew

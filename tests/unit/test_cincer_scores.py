"""Curvature, influence functions and negotiators against dense algebra, exact retraining and bad input."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from components import complete_card
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.detectors import influence_signals
from glitchtrace.influence.solvers import Operator, conjugate_gradients, direct
from glitchtrace.papers.cincer import curvature
from glitchtrace.papers.cincer.curvature import (
    block_scores,
    dense_hessian,
    diagonal_scores,
    fisher_scores,
    influence,
    loss_relative,
    matrix_scores,
    parameter_relative,
    solve_by_lissa,
)
from glitchtrace.papers.cincer.dense import DenseNetwork, softmax
from glitchtrace.papers.cincer.gradients import ExplicitGradients
from glitchtrace.papers.cincer.query import Query, by_score, largest_distance, load_inspector, load_negotiator


def operator(matrix: np.ndarray, damping: float) -> Operator:
    return Operator(lambda vector: matrix @ vector, len(matrix), damping, remedy="raise the damping")


def solve_exactly(matrix: np.ndarray, vectors: np.ndarray, damping: float) -> np.ndarray:
    return direct(operator(matrix, damping), vectors.T, indefinite=True).vector.T


NEGOTIATORS = [name for name in registry.names("negotiator") if name != "no_ce"]


def rows(*values: list[float]) -> ExplicitGradients:
    return ExplicitGradients(np.array(values, dtype=float), [1] * len(values[0]))


def random_problem(seed: int, columns: int, parameters: int):
    rng = np.random.default_rng(seed)
    sizes = [parameters // 2, parameters - parameters // 2]
    make = [ExplicitGradients(rng.normal(size=(m, parameters)), sizes) for m in (1, 4, columns)]
    return *make, rng.random(columns)


# --- curvature --------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12), st.sampled_from([0.01, 1.0, 100.0]))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_dual_and_primal_scores_are_those_of_the_dense_matrix(
    seed: int, columns: int, parameters: int, damping: float
) -> None:
    one, many, drawn, weights = random_problem(seed, columns, parameters)
    matrix = (weights[:, None] * drawn.vectors()).T @ drawn.vectors() + damping * np.eye(parameters)
    expected = many.vectors() @ np.linalg.solve(matrix, one.vectors()[0])
    np.testing.assert_allclose(
        fisher_scores(one, many, drawn, weights, damping=damping), expected, rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize(("columns", "parameters"), [(3, 8), (8, 3), (5, 5)])
def test_without_damping_scores_are_those_of_the_pseudo_inverse(columns: int, parameters: int) -> None:
    one, many, drawn, weights = random_problem(1, columns, parameters)
    matrix = (weights[:, None] * drawn.vectors()).T @ drawn.vectors()
    expected = many.vectors() @ np.linalg.pinv(matrix, hermitian=True) @ one.vectors()[0]
    found = fisher_scores(one, many, drawn, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    np.testing.assert_allclose(
        matrix_scores(one.vectors()[0], many.vectors(), matrix, damping=0), expected, rtol=1e-8
    )


def test_blocks_and_diagonal_are_those_of_the_dense_matrix() -> None:
    one, many, drawn, weights = random_problem(2, 9, 6)
    matrix = (weights[:, None] * drawn.vectors()).T @ drawn.vectors()
    blocks = matrix.copy()
    blocks[:3, 3:] = blocks[3:, :3] = 0
    for kept, found in (
        (blocks, block_scores(one, many, drawn, weights, damping=0.1, cutoff=1e-10)),
        (np.diag(np.diag(matrix)), diagonal_scores(one, many, drawn, weights, damping=0.1)),
    ):
        expected = many.vectors() @ np.linalg.solve(kept + 0.1 * np.eye(6), one.vectors()[0])
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    undamped = block_scores(one, many, drawn, weights, damping=0, cutoff=1e-10)
    np.testing.assert_allclose(
        undamped, many.vectors() @ np.linalg.pinv(blocks) @ one.vectors()[0], rtol=1e-7
    )


def test_a_pseudo_inverse_keeps_its_digits_down_to_the_cutoff() -> None:
    """Known directions and singular values over five decades, so that scores are known to the last digit."""
    rng = np.random.default_rng(3)
    directions, _ = np.linalg.qr(rng.normal(size=(40, 8)))
    turned, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    values = np.geomspace(1, 2e-5, 8)
    drawn = ExplicitGradients(turned @ (values[:, None] * directions.T), [20, 20])
    one, many = (ExplicitGradients(rng.normal(size=(m, 40)), [20, 20]) for m in (1, 5))
    whitened = directions / values
    expected = (many.vectors() @ whitened) @ (one.vectors()[0] @ whitened)
    found = fisher_scores(one, many, drawn, np.ones(8))
    np.testing.assert_allclose(found, expected, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["full_fisher", "top_fisher", "block_fisher"])
def test_an_order_made_by_rounding_is_refused(name: str, classes: int) -> None:
    """More parameters than independent gradients, no damping: every score is 0 in exact arithmetic."""
    rng = np.random.default_rng(1)
    inputs, labels = rng.normal(size=(30, 50)), rng.integers(0, classes, 30)
    network = DenseNetwork([50, 60, classes], dtype=np.float64)
    probabilities = network.probabilities(inputs)
    example = int(np.flatnonzero(probabilities.argmax(axis=1) != labels)[0])
    others = [sample for sample in range(30) if sample != example]
    query = Query(network, inputs, labels, [*others, example], example, probabilities[example], lambda _: 1.0)
    undamped = complete("negotiator", name, sample=None, damping=0.0)
    rank = load_negotiator(name, undamped).rank
    assert rank is not None
    # The blocks of biases have fewer parameters than gradients.
    if name == "block_fisher":
        assert rank(query, np.random.RandomState(0)).scores is not None
    else:
        with pytest.raises(
            GlitchtraceError, match=r"every score is 0 up to rounding.*set the negotiator's damping"
        ):
            rank(query, np.random.RandomState(0))
    damped = load_negotiator(name, undamped | {"damping": 0.01}).rank
    assert damped is not None
    backwards = replace(query, known=query.known[::-1])
    first, second = (damped(asked, np.random.RandomState(0)) for asked in (query, backwards))
    np.testing.assert_array_equal(first.order, second.order)


def test_a_drawn_sample_that_tells_nothing_scores_nothing(caplog: pytest.LogCaptureFixture) -> None:
    drawn = ExplicitGradients(np.eye(4)[:3], [2, 2])
    one, many = drawn.take(np.array([0])), drawn.take(np.array([1, 2]))
    with pytest.raises(GlitchtraceError, match="every score is 0 up to rounding"):
        fisher_scores(one, many, drawn, np.ones(3))
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(fisher_scores(one, many, drawn, np.ones(3), drawn=True), [0, 0])
    assert "the first candidate is taken" in caplog.text
    assert fisher_scores(one, many.take(np.array([0])), drawn, np.ones(3)) == 0  # nothing to choose


def test_defaults_of_the_whole_fisher_matrix_are_damped() -> None:
    for name in registry.names("negotiator"):
        if registry.card("negotiator", name).get("whole_fisher"):
            assert complete("negotiator", name)["damping"] > 0


def test_a_pseudo_inverse_too_large_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curvature, "LARGEST_GRADIENT_BYTES", 100)
    one, many, drawn, weights = random_problem(1, 3, 8)
    for found in (fisher_scores, block_scores):
        with pytest.raises(
            GlitchtraceError, match=r"3 gradients of 8 parameters needs.*set the negotiator's damping"
        ):
            found(one, many, drawn, weights, damping=0, cutoff=1e-10)


def test_entries_without_curvature_are_left_out() -> None:
    drawn = rows([1.0, 0.0])
    found = diagonal_scores(rows([2.0, 5.0]), rows([3.0, 7.0]), drawn, np.ones(1), damping=0)
    np.testing.assert_array_equal(found, [6.0])
    np.testing.assert_allclose(fisher_scores(rows([2.0, 5.0]), rows([3.0, 7.0]), drawn, np.ones(1)), [6.0])


def test_a_matrix_of_zeros_scores_nothing() -> None:
    found = fisher_scores(rows([1.0, 2.0]), rows([3.0, 4.0]), rows([0.0, 0.0]), np.ones(1))
    np.testing.assert_array_equal(found, [0.0])


def test_diverged_gradients_and_singular_matrices_are_one_line() -> None:
    with pytest.raises(GlitchtraceError, match="gradients are not finite"):
        fisher_scores(rows([1.0, 2.0]), rows([3.0, 4.0]), rows([np.nan, 0.0]), np.ones(1))
    with pytest.raises(GlitchtraceError, match="singular to rounding; raise the"):
        matrix_scores(np.ones(2), np.ones((1, 2)), np.array([[1e20, 1e20], [1e20, 1e20]]), damping=1e-9)


# --- influence functions ----------------------------------------------------------------------------------------


def test_the_quadratic_example_of_the_helper_package() -> None:
    """Loss v₁² + v₂² at (2, 3), one sample: H = 2I."""
    gradient = np.array([[4.0, 6.0]])
    solution = solve_exactly(2 * np.eye(2), gradient, 0)
    np.testing.assert_allclose(solution, [[2, 3]])
    np.testing.assert_allclose(influence(solution, gradient[0]), [-26])
    np.testing.assert_allclose(parameter_relative(solution, gradient[0]), [-26 / np.sqrt(13)])
    np.testing.assert_allclose(loss_relative(solution, gradient[0], gradient), [-26 / np.sqrt(26)])


def test_a_sample_that_changes_nothing_has_no_relative_influence() -> None:
    nothing = np.zeros((1, 2))
    assert parameter_relative(nothing, np.ones(2)) == 0
    assert loss_relative(nothing, np.ones(2), nothing) == 0


def test_all_solvers_agree_on_a_convex_problem() -> None:
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(6, 4))
    hessians = np.einsum("ni,nj->nij", parts, parts) / 12
    mean = hessians.mean(axis=0)
    vector = rng.normal(size=4)
    expected = np.linalg.solve(mean + 0.5 * np.eye(4), vector)
    np.testing.assert_allclose(solve_exactly(mean, vector[None], 0.5)[0], expected, rtol=1e-10)
    found = conjugate_gradients(operator(mean, 0.5), vector, tolerance=1e-12).vector
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    orders = rng.integers(0, 6, (400, 60))
    found = solve_by_lissa(lambda r, v: hessians[r] @ v, vector, 0.5, orders)
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.05)


def test_an_indefinite_hessian_is_solved_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    matrix = np.diag([2.0, -1.0])
    with caplog.at_level(logging.WARNING):
        found = solve_exactly(matrix, np.ones((1, 2)), 0.5)
    np.testing.assert_allclose(found, [[0.4, -2.0]])
    assert "1 negative eigenvalues" in caplog.text
    with pytest.raises(GlitchtraceError, match=r"not positive definite.*; raise the damping"):
        conjugate_gradients(operator(matrix, 0.5), np.array([0.0, 1.0]))
    assert np.isnan(loss_relative(np.array([[1.0]]), np.ones(1), np.array([[-1.0]])))[0]


def test_a_singular_hessian_is_one_line() -> None:
    with pytest.raises(GlitchtraceError, match="singular to rounding; raise the damping"):
        solve_exactly(np.diag([1.0, 0.0]), np.ones((1, 2)), 0)


def test_a_divergent_lissa_is_one_line() -> None:
    with pytest.raises(GlitchtraceError, match="LiSSA diverged with damping 0 and depth 1000"):
        solve_by_lissa(lambda r, v: 5 * v, np.ones(2), 0, [[0] * 1000])


def test_conjugate_gradients_say_what_they_leave(caplog: pytest.LogCaptureFixture) -> None:
    """As published: from the right-hand side, at most 100 steps, to a residual of 1e-5."""
    query = small_query()
    exact, found = (
        curvature.inverse_hessian_products(
            query,
            query.prediction_gradient()[None],
            {"solver": solver, "damping": 1.0},
            np.random.RandomState(0),
        )
        for solver in ("exact", "cg")
    )
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-5 * np.abs(exact).max())
    assert caplog.text == ""

    def stiff(inputs: np.ndarray, labels: np.ndarray, vector: np.ndarray) -> np.ndarray:
        return vector * 10.0 ** np.linspace(0, 14, len(vector))

    query.classifier.hessian_product = stiff
    settings = {"solver": "cg", "damping": 1.0}
    with caplog.at_level(logging.WARNING):
        curvature.inverse_hessian_products(query, np.ones((1, 43)), settings, np.random.RandomState(0))
    assert "conjugate gradients end after 100 steps with a residual of" in caplog.text


@pytest.mark.parametrize("draws", ["known", "all"])
@pytest.mark.parametrize(("depth", "scale", "told"), [(1, 0.1, True), (40, 0.1, False), (40, 1.0, True)])
def test_lissa_says_when_it_has_not_converged(
    depth: int, scale: float, told: bool, draws: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Too short, long enough, and growing though finite, since eigenvalues exceed 2."""
    query = small_query()
    query = replace(query, inputs=query.inputs * scale)
    settings = {"solver": "lissa", "damping": 0.3, "depth": depth, "samples": 200, "draws": draws}
    vectors = query.prediction_gradient()[None]
    with caplog.at_level(logging.WARNING):
        curvature.inverse_hessian_products(query, vectors, settings, np.random.RandomState(0))
    assert ("LiSSA has not converged, its residual is" in caplog.text) == told


# --- leave-one-out: what the sign means -------------------------------------------------------------------------


SAMPLES = 120


class Regression:
    """L2-regularised softmax regression trained to its optimum."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.inputs = rng.normal(size=(SAMPLES, 3))
        logits = self.inputs @ rng.normal(size=(3, 3))
        self.labels = np.array([rng.choice(3, p=p) for p in softmax(2 * logits)])
        self.network = DenseNetwork([3, 3], dtype=np.float64)
        self.decay = 0.05

    def optimum(self, kept: np.ndarray) -> np.ndarray:
        def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            self.network.parameters[:] = parameters
            probabilities = self.network.probabilities(self.inputs[kept])
            loss = -np.log(probabilities[np.arange(len(kept)), self.labels[kept]]).sum()
            gradient = (
                -self.network.gradients(self.inputs[kept], np.arange(len(kept)), self.labels[kept])
                .vectors()
                .sum(axis=0)
            )
            count = len(self.inputs)
            return (
                loss / count + self.decay / 2 * parameters @ parameters,
                gradient / count + self.decay * parameters,
            )

        found = minimize(
            objective,
            np.zeros(12),
            jac=True,
            method="BFGS",
            options={"gtol": 1e-10},
        )
        return found.x


@pytest.mark.parametrize("seed", [0, 1])
def test_the_contrastive_sign_follows_leaving_out_and_the_published_one_opposes_it(seed: int) -> None:
    problem = Regression(seed)
    everyone = np.arange(SAMPLES)
    best = problem.optimum(everyone)
    problem.network.parameters[:] = best
    probabilities = problem.network.probabilities(problem.inputs)
    example = int(np.flatnonzero(probabilities.argmax(axis=1) != problem.labels)[0])
    query = Query(
        classifier=problem.network,
        inputs=problem.inputs,
        labels=problem.labels,
        known=[*everyone[everyone != example], example],
        example=example,
        probabilities=probabilities[example],
        diameter=lambda _: 1.0,
    )
    solver = {"solver": "exact", "damping": problem.decay}
    rank = load_negotiator("if", {**solver, "sign": "contrastive"}).rank
    assert rank is not None
    ranking = rank(query, np.random.RandomState(0))
    assert ranking.scores is not None
    label = problem.labels[example]
    changes = []
    for candidate in ranking.order:
        problem.network.parameters[:] = problem.optimum(everyone[everyone != candidate])
        changed = problem.network.probabilities(problem.inputs[[example]])[0, label]
        changes.append(changed - probabilities[example, label])
    problem.network.parameters[:] = best
    assert np.corrcoef(changes, ranking.scores)[0, 1] > 0.98
    np.testing.assert_allclose(ranking.scores / SAMPLES, changes, atol=0.15 * np.abs(changes).max())
    published = load_negotiator("if", {**solver, "sign": "published"}).rank
    assert published is not None
    opposed = published(query, np.random.RandomState(0))
    np.testing.assert_allclose(sorted(opposed.scores), sorted(-ranking.scores))
    full = load_negotiator(
        "full_fisher", {"sample": None, "cutoff": 1e-10, "damping": problem.decay, "sign": "contrastive"}
    ).rank
    assert full is not None
    same = full(query, np.random.RandomState(0))
    np.testing.assert_array_equal(same.order, ranking.order)
    np.testing.assert_allclose(same.scores * probabilities[example, label], ranking.scores, rtol=1e-8)


def test_leaving_out_moves_the_parameters_by_a_share_of_the_solution() -> None:
    problem = Regression(0)
    everyone = np.arange(SAMPLES)
    best = problem.optimum(everyone)
    problem.network.parameters[:] = best
    hessian = dense_hessian(
        lambda vector: problem.network.hessian_product(problem.inputs, problem.labels, vector), 12
    )
    gradient = -problem.network.gradients(problem.inputs, np.array([5]), problem.labels[[5]]).vectors()
    moved = solve_exactly(hessian, gradient, problem.decay)[0] / SAMPLES
    true = problem.optimum(everyone[everyone != 5]) - best
    assert moved @ true / np.linalg.norm(moved) / np.linalg.norm(true) > 0.97


# --- every negotiator and inspector by name -----------------------------------------------------------------------


def small_query(*, whole_order: bool = True, known: int = 25) -> Query:
    rng = np.random.default_rng(4)
    inputs = rng.normal(size=(40, 4))
    network = DenseNetwork([4, 5, 3], dtype=np.float64)
    labels = rng.integers(0, 3, 40)
    probabilities = network.probabilities(inputs)
    wrong = probabilities.argmax(axis=1) != labels
    example = int(np.flatnonzero(wrong[known:])[0]) + known
    return Query(
        classifier=network,
        inputs=inputs,
        labels=labels,
        known=[*range(known), example],
        example=example,
        probabilities=probabilities[example],
        diameter=lambda _: largest_distance(inputs),
        whole_order=whole_order,
    )


def complete(kind: str, name: str, **changes: object) -> dict:
    fragments = complete_card(kind, name)
    return {key: fragment["default"] for key, fragment in fragments.items()} | changes


@pytest.mark.parametrize("name", NEGOTIATORS)
def test_every_negotiator_orders_exactly_its_candidates(name: str) -> None:
    query = small_query()
    changes = {"damping": 0.5, "depth": 20} if "depth" in complete("negotiator", name) else {}
    rank = load_negotiator(name, complete("negotiator", name, **changes)).rank
    assert rank is not None
    first, second = (rank(query, np.random.RandomState(3)) for _ in range(2))
    np.testing.assert_array_equal(np.sort(first.order), query.candidates)
    np.testing.assert_array_equal(first.order, second.order)
    assert query.labels[first.chosen] == query.predicted
    assert query.example not in first.order
    if first.scores is not None:
        assert first.best == first.scores.max()


@pytest.mark.parametrize("name", [n for n in NEGOTIATORS if "sign" in complete("negotiator", n)])
def test_the_contrastive_sign_turns_the_scores(name: str) -> None:
    query = small_query()
    changes = {"damping": 0.5} | ({"depth": 20} if "depth" in complete("negotiator", name) else {})
    if name == "nearest_fisher":
        changes["radius"] = 0.99
    found = []
    for sign in ("published", "contrastive"):
        rank = load_negotiator(name, complete("negotiator", name, **changes, sign=sign)).rank
        assert rank is not None
        ranking = rank(query, np.random.RandomState(3))
        assert ranking.scores is not None
        found.append(ranking.scores[np.argsort(ranking.order)])
    np.testing.assert_allclose(found[0], -found[1])


def test_near_candidates_come_first() -> None:
    query = small_query()
    rank = load_negotiator("nearest_fisher", complete("negotiator", "nearest_fisher", radius=1e-6)).rank
    nearest = load_negotiator("nearest", {}).rank
    assert rank is not None
    assert nearest is not None
    alone = rank(query, np.random.RandomState(0))
    np.testing.assert_array_equal(alone.order, nearest(query, np.random.RandomState(0)).order)
    settings_ = complete("negotiator", "nearest_if", neighbours=2, solver="exact", damping=1.0)
    rank = load_negotiator("nearest_if", settings_).rank
    assert rank is not None
    first = rank(query, np.random.RandomState(0))
    near = nearest(query, np.random.RandomState(0)).order
    assert set(first.order[:2]) == set(near[:2])
    np.testing.assert_array_equal(first.order[2:], near[2:])


def test_a_small_known_set_is_taken_whole() -> None:
    query = small_query(known=6)
    rank = load_negotiator("top_fisher", complete("negotiator", "top_fisher", sample=30)).rank
    whole = load_negotiator("top_fisher", complete("negotiator", "top_fisher", sample=None)).rank
    assert rank is not None
    assert whole is not None
    np.testing.assert_allclose(
        rank(query, np.random.RandomState(0)).scores, whole(query, np.random.RandomState(0)).scores
    )


def test_lissa_draws_from_the_known_samples_unless_told_otherwise() -> None:
    query = small_query()
    seen: set[int] = set()
    product = query.sample_hessian_product

    def recording(sample: int, vector: np.ndarray) -> np.ndarray:
        seen.add(sample)
        return product(sample, vector)

    query.sample_hessian_product = recording  # type: ignore[method-assign]
    for draws, allowed in (("known", set(query.known)), ("all", set(range(40)))):
        seen.clear()
        rank = load_negotiator("if", complete("negotiator", "if", draws=draws, damping=1.0, depth=200)).rank
        assert rank is not None
        rank(query, np.random.RandomState(0))
        assert seen <= allowed
        assert len(seen) > len(allowed) / 2


def test_an_exact_solver_refuses_large_models() -> None:
    query = small_query()
    query.classifier = DenseNetwork([4, 1000, 3], dtype=np.float64)
    rank = load_negotiator("if", complete("negotiator", "if", solver="exact")).rank
    assert rank is not None
    with pytest.raises(GlitchtraceError, match="use cg"):
        rank(query, np.random.RandomState(0))


@pytest.mark.parametrize("name", [n for n in registry.names("inspector") if n not in ("random", "signal")])
def test_every_inspector_gives_a_number(name: str) -> None:
    query = small_query()
    changes = {"damping": 0.5, "depth": 20} if name == "influence" else {}
    verdict = load_inspector(name, 0.1, complete("inspector", name, **changes)).inspect(
        query, np.random.RandomState(0)
    )
    assert verdict.suspicious == (verdict.score > 0.1)
    assert not np.isnan(verdict.score)


@pytest.mark.parametrize("signal", influence_signals.CARDS)
def test_every_signal_ranks_the_arriving_sample(signal: str) -> None:
    query = small_query()
    verdict = load_inspector("signal", 0.5, {"signal": signal}).inspect(query, np.random.RandomState(0))
    assert 0 <= verdict.score <= 1


def test_a_signal_sees_the_influence_of_the_known_samples_alone() -> None:
    query = small_query()
    known = np.asarray(query.known)
    gradients = query.gradients_of(known, top=True)
    influence = gradients.dot(gradients)[:, :-1]
    np.fill_diagonal(influence, 0)
    # SI is the squared length of the gradient, AAI the mean absolute influence on the others.
    lengths = np.linalg.norm(gradients.vectors(), axis=1) ** 2
    expected = np.mean(lengths[:-1] < lengths[-1])
    found = load_inspector("signal", 0.5, {"signal": "SI"}).inspect(query, np.random.RandomState(0)).score
    assert found == pytest.approx(expected)
    sums = np.abs(influence).mean(axis=1)
    expected = np.mean(sums[:-1] < sums[-1])
    found = load_inspector("signal", 0.5, {"signal": "AAI"}).inspect(query, np.random.RandomState(0)).score
    assert found == pytest.approx(expected)


def test_an_unknown_signal_is_one_line() -> None:
    with pytest.raises(GlitchtraceError, match="unknown detector 'CNCY'"):
        load_inspector("signal", 0.5, {"signal": "CNCY"}).inspect(small_query(), np.random.RandomState(0))


def test_the_random_inspector_draws_one_number_per_sample() -> None:
    query, rng = small_query(), np.random.RandomState(0)
    inspector = load_inspector("random", 0.3, {})
    drawn = [inspector.inspect(query, rng).suspicious for _ in range(2000)]
    assert abs(np.mean(drawn) - 0.3) < 0.03
    assert np.isnan(inspector.inspect(query, rng).score)


def test_equal_scores_keep_the_order_and_nan_comes_last() -> None:
    ranking = by_score(np.array([4, 7, 9, 11]), np.array([1.0, np.nan, 2.0, 2.0]))
    assert ranking.order.tolist() == [9, 11, 4, 7]
    assert ranking.chosen == 9


def test_the_largest_distance_is_that_of_all_pairs() -> None:
    points = np.random.default_rng(0).normal(size=(23, 2, 3))
    flat = points.reshape(23, -1)
    expected = max(np.linalg.norm(a - b) for a in flat for b in flat)
    assert largest_distance(points, block=5) == pytest.approx(expected, rel=1e-12)

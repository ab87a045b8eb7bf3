"""Inverse Hessian-vector products: three solvers against the exact solution, and what they refuse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.influence import solvers
from glitchtrace.influence.solvers import (
    DIRECT_LIMIT,
    Operator,
    conjugate_gradients,
    direct,
    lissa,
    momentum_descent,
    solve,
)


def hessian_of(matrix, **options) -> Operator:
    return Operator(lambda vector: matrix @ vector, len(matrix), **options)


def positive_definite(seed: int, size: int, spread: float = 10.0):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
    return basis * np.geomspace(1, spread, size) @ basis.T, rng.standard_normal(size)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 30), diagonal=st.booleans())
def test_cg_and_cholesky_solve_the_system(seed, size, diagonal):
    matrix, target = positive_definite(seed, size)
    hessian = hessian_of(matrix, diagonal=(lambda: np.diag(matrix)) if diagonal else None)
    exact = np.linalg.solve(matrix, target)
    for found in (conjugate_gradients(hessian, target, tolerance=1e-11), direct(hessian, target)):
        np.testing.assert_allclose(found.vector, exact, rtol=1e-8, atol=1e-9)
        residual = np.linalg.norm(matrix @ found.vector - target) / np.linalg.norm(target)
        assert found.residual == pytest.approx(residual, abs=1e-11)
        assert found.iterations >= 1


def test_the_diagonal_saves_products():
    rng = np.random.default_rng(0)
    matrix = np.diag(np.geomspace(1, 1e6, 60)) + 0.01 * np.ones((60, 60))
    target = rng.standard_normal(60)
    hessian = hessian_of(matrix, diagonal=lambda: np.diag(matrix))
    with_it = conjugate_gradients(hessian, target)
    without = conjugate_gradients(hessian, target, precondition=False)
    assert 3 * with_it.iterations < without.iterations


def test_cg_stops_at_its_tolerance():
    matrix, target = positive_definite(1, 80, spread=1e4)
    loose = conjugate_gradients(hessian_of(matrix), target, tolerance=1e-2)
    tight = conjugate_gradients(hessian_of(matrix), target, tolerance=1e-9)
    assert loose.residual <= 1e-2
    assert tight.residual <= 1e-9
    assert loose.iterations < tight.iterations


def test_nothing_in_nothing_out():
    for found in (
        conjugate_gradients(hessian_of(np.eye(3)), np.zeros(3)),
        direct(hessian_of(np.eye(3)), np.zeros(3)),
    ):
        assert not found.vector.any()
        assert found.residual == 0


@pytest.mark.parametrize("solver", [conjugate_gradients, direct])
def test_a_singular_system_is_refused_with_a_remedy(solver):
    # The target has a part outside the range of the matrix, so that no solution exists.
    matrix = np.diag([1.0, 2.0, 0.0])
    with pytest.raises(GlitchtraceError, match=r"not positive definite .*; add regularisation"):
        solver(hessian_of(matrix), np.ones(3))


@pytest.mark.parametrize("solver", [conjugate_gradients, direct])
def test_an_indefinite_system_is_refused(solver):
    with pytest.raises(GlitchtraceError, match="not positive definite"):
        solver(hessian_of(np.diag([1.0, -2.0])), np.ones(2))


def test_a_diagonal_that_is_not_positive_is_refused():
    with pytest.raises(GlitchtraceError, match="its diagonal is not positive"):
        conjugate_gradients(hessian_of(np.eye(2), diagonal=lambda: np.array([1.0, 0.0])), np.ones(2))


def test_too_few_products_say_how_far_they_came():
    matrix, target = positive_definite(2, 50, spread=1e6)
    with pytest.raises(GlitchtraceError, match=r"residual .* after 3 products, 1\.0e-08 wanted"):
        conjugate_gradients(hessian_of(matrix), target, limit=3)


def test_cholesky_takes_the_dense_matrix_where_it_is_at_hand_and_refuses_a_large_one():
    matrix, target = positive_definite(3, 6)
    calls = []

    def dense():
        calls.append(True)
        return matrix.copy()

    np.testing.assert_allclose(
        direct(hessian_of(matrix, dense=dense), target).vector, np.linalg.solve(matrix, target)
    )
    assert calls == [True]
    with pytest.raises(GlitchtraceError, match=r"too large .*; use cg"):
        direct(Operator(lambda v: v, DIRECT_LIMIT + 1), np.ones(DIRECT_LIMIT + 1))


@pytest.mark.parametrize("damping", [0.0, 0.05])
def test_lissa_without_sampling_converges_to_the_damped_solution(damping):
    matrix, target = positive_definite(4, 10)
    scale = 12.0
    found = lissa(hessian_of(matrix), target, scale=scale, damping=damping, depth=3000)
    exact = np.linalg.solve(matrix + damping * scale * np.eye(10), target)
    np.testing.assert_allclose(found.vector, exact, rtol=1e-8, atol=1e-10)
    assert found.iterations == 3000


def test_lissa_ends_early_where_it_stands_still():
    matrix, target = positive_definite(4, 10)
    found = lissa(hessian_of(matrix), target, scale=12.0, depth=3000, tolerance=1e-9)
    assert found.iterations < 1000
    assert found.residual < 1e-6


def test_sampled_lissa_comes_near_and_depends_on_its_seed_alone():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((400, 6))
    matrix, target = np.eye(6) + X.T @ X / 400, rng.standard_normal(6)

    def sampled(vector, draws):
        part = X[draws.choice(400, 40)]
        return vector + part.T @ (part @ vector) / 40

    hessian = hessian_of(matrix, sampled=sampled)
    options = {"scale": 8.0, "depth": 400, "repeat": 20}
    found, again, other = (lissa(hessian, target, **options, seed=seed) for seed in (0, 0, 1))
    exact = np.linalg.solve(matrix, target)
    assert np.linalg.norm(found.vector - exact) < 0.1 * np.linalg.norm(exact)
    np.testing.assert_array_equal(found.vector, again.vector)
    assert not np.array_equal(found.vector, other.vector)
    assert found.iterations == 8000


def test_lissa_that_diverges_says_so():
    with pytest.raises(GlitchtraceError, match=r"LiSSA diverges: .* scale = 1; raise scale"):
        lissa(hessian_of(np.diag([1.0, 50.0])), np.ones(2), scale=1.0)


def test_lissa_without_a_scale_takes_the_bound_of_the_hessian_and_says_where_there_is_none():
    matrix, target = positive_definite(4, 10)
    hessian = hessian_of(matrix, bound=lambda: 12.0)
    np.testing.assert_array_equal(
        lissa(hessian, target, depth=50).vector, lissa(hessian, target, depth=50, scale=12.0).vector
    )
    with pytest.raises(GlitchtraceError, match="LiSSA: the Hessian has no known bound; give scale"):
        lissa(hessian_of(matrix), target)


def test_one_interface_for_all_solvers():
    matrix, target = positive_definite(6, 5)
    exact = np.linalg.solve(matrix, target)
    for solver, options in (("cg", {}), ("direct", {}), ("lissa", {"scale": 12.0})):
        np.testing.assert_allclose(
            solve(hessian_of(matrix), target, solver, **options).vector, exact, rtol=1e-6, atol=1e-8
        )
    with pytest.raises(GlitchtraceError, match="solver: unknown value 'newton'; use cg, direct, lissa"):
        solve(hessian_of(matrix), target, "newton")


# --- starts, stops, damping: what the published programs differ in -------------------------------------------------


def as_tensors(matrix, **options) -> Operator:
    """The same operator over two tensors."""
    whole = torch.from_numpy(matrix)

    def product(vector):
        return tuple((whole @ torch.cat(vector)).split([len(part) for part in vector]))

    return Operator(product, len(matrix), **options)


@pytest.mark.parametrize("damping", [0.0, 0.7])
def test_arrays_and_tuples_of_tensors_have_one_solution(damping):
    matrix, target = positive_definite(7, 12)
    parts = (torch.from_numpy(target[:5]), torch.from_numpy(target[5:]))
    exact = np.linalg.solve(matrix + damping * np.eye(12), target)
    for solver, options in (
        (conjugate_gradients, {"tolerance": 1e-12}),
        (lissa, {"scale": 12.0, "depth": 3000}),
    ):
        arrays = solver(hessian_of(matrix, damping=damping), target, **options)
        tensors = solver(as_tensors(matrix, damping=damping), parts, **options)
        np.testing.assert_allclose(arrays.vector, exact, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(torch.cat(tensors.vector).numpy(), exact, rtol=1e-8, atol=1e-9)
        assert max(arrays.residual, tensors.residual) < 1e-8
    np.testing.assert_allclose(direct(hessian_of(matrix, damping=damping), target).vector, exact, rtol=1e-9)


def test_cg_from_the_solution_takes_no_step():
    matrix, target = positive_definite(8, 9)
    operator = hessian_of(matrix, damping=0.5)
    solved = conjugate_gradients(operator, target, tolerance=1e-12)
    again = conjugate_gradients(operator, target, tolerance=1e-10, start=solved.vector)
    assert again.iterations == 0
    from_target = conjugate_gradients(operator, target, tolerance=1e-12, start=target)
    np.testing.assert_allclose(from_target.vector, solved.vector, rtol=1e-9, atol=1e-10)


def test_cg_may_stop_short_and_then_says_how_far_it_came(caplog):
    matrix, target = positive_definite(2, 50, spread=1e6)
    found = conjugate_gradients(hessian_of(matrix), target, limit=3, unfinished="log")
    left = np.linalg.norm(matrix @ found.vector - target) / np.linalg.norm(target)
    assert found.iterations == 3
    assert found.residual == pytest.approx(left)
    assert f"end after 3 steps with a residual of {left:.1e}" in caplog.text


def test_cg_may_stop_at_negative_curvature_but_not_at_the_first_step(caplog):
    matrix = np.diag([3.0, 2.0, -0.1])
    found = conjugate_gradients(hessian_of(matrix), np.array([1.0, 1.0, 0.5]), indefinite="stop")
    assert found.iterations >= 1
    assert "its curvature along a direction is -" in caplog.text
    with pytest.raises(GlitchtraceError, match="not positive definite"):
        conjugate_gradients(hessian_of(matrix), np.array([0.0, 0.0, 1.0]), indefinite="stop")


def test_an_indefinite_matrix_is_solved_where_that_is_asked_for_and_a_singular_one_never(caplog):
    matrix, targets = np.diag([1.0, -2.0]), np.array([[1.0, 3.0], [1.0, 4.0]])
    found = direct(hessian_of(matrix, damping=0.5), targets, indefinite=True)
    np.testing.assert_allclose(found.vector, np.linalg.solve(np.diag([1.5, -1.5]), targets))
    assert "has 1 negative eigenvalues; raise the damping above 2 " in caplog.text
    assert np.isnan(found.residual)
    assert 0 <= direct(hessian_of(matrix, damping=0.5), targets[0], indefinite=True).residual < 1e-12
    with pytest.raises(GlitchtraceError, match="damping 2 is singular to rounding; raise the damping"):
        direct(hessian_of(matrix, damping=2.0), targets, indefinite=True)


def test_momentum_descent_is_the_loop_of_the_published_programs(caplog):
    matrix, target = positive_definite(9, 6, spread=4.0)
    operator = hessian_of(matrix, damping=0.1)
    options = {"learning_rate": 0.05, "momentum": 0.9}
    short = momentum_descent(operator, target, [operator.product] * 3, start=target, **options)
    expected, velocity = target, np.zeros(6)
    for _ in range(3):
        velocity = 0.9 * velocity + matrix @ expected + 0.1 * expected - target
        expected = expected - 0.05 * velocity
    np.testing.assert_allclose(short.vector, expected, rtol=1e-12)
    assert short.residual > 0.1
    assert "after 3 steps: it has not converged; lower its rate" in caplog.text
    caplog.clear()
    long = momentum_descent(operator, target, [operator.product] * 600, **options)
    np.testing.assert_allclose(long.vector, np.linalg.solve(matrix + 0.1 * np.eye(6), target), rtol=1e-6)
    assert not caplog.text


def test_a_recursion_that_stays_finite_is_judged_by_its_residual(caplog):
    # Ten steps along an eigenvector of factor 1 − 1 − 50/25 = −2 grow a thousandfold and stay finite.
    with pytest.raises(GlitchtraceError, match=r"LiSSA leaves a residual of .*: it diverges; raise scale"):
        lissa(hessian_of(np.diag([1.0, 50.0])), np.ones(2), scale=25.0, damping=1.0, depth=10)
    lissa(hessian_of(np.diag([0.01, 1.0])), np.ones(2), scale=1.0, depth=10)
    assert "LiSSA leaves a residual of 0.63 of the right-hand side after 10 steps" in caplog.text


@pytest.mark.parametrize("solver", ["cg", "direct", "lissa"])
def test_a_right_hand_side_that_is_not_finite_is_one_line(solver):
    options = {"scale": 2.0} if solver == "lissa" else {}
    with pytest.raises(GlitchtraceError, match="right-hand side of a solver holds NaN"):
        solve(hessian_of(np.eye(2)), np.array([1.0, np.nan]), solver, **options)


@pytest.mark.parametrize("solver", solvers.SOLVERS)
def test_an_operator_that_is_not_finite_is_one_line(solver):
    operator = solvers.Operator(
        product=lambda vector: vector * np.nan,
        size=3,
        sampled=lambda vector, rng: vector * np.nan,
        bound=lambda: 1.0,
    )
    with pytest.raises(GlitchtraceError) as caught:
        solvers.solve(operator, np.ones(3), solver)
    assert "\n" not in str(caught.value)

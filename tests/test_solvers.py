"""Conjugate gradient, power iteration and the ball: the originals' numbers, both forms, gradients, and the hard cases."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import complex_normal

from tfrecon.errors import UsageError
from tfrecon.physics.operators import Sense
from tfrecon.physics.solvers import conjugate_gradient, largest_eigenvalue, project_onto_ball, squared_norm
from tfrecon.training.unrolled_recon import nrmse

FORMS = pytest.mark.parametrize("unrolled", [False, True], ids=["loop", "unrolled"])
RNG = np.random.default_rng(0)


def system(count=3, size=6, dtype=np.complex128):
    """Random Hermitian positive definite maps, one for each sample, and a right side."""
    q = complex_normal(RNG, (count, size, size), dtype)
    matrix = tf.constant(np.conj(q.transpose(0, 2, 1)) @ q + np.eye(size, dtype=dtype))
    return (lambda x: tf.einsum("nij,nj->ni", matrix, x)), complex_normal(RNG, (count, size), dtype), matrix


@FORMS
def test_deepinpy_case(flow, unrolled):
    case = flow("conjgrad")
    a, l2lam = Sense(case["in_maps"], case["in_mask"], centered=False), case.meta["l2lam"]

    def solve(n, eps):
        return conjugate_gradient(lambda x: a.normal(x) + l2lam * x, case["in_b"], case["in_x0"], n, eps, unrolled)[0]

    for n in case.meta["iters"]:
        np.testing.assert_allclose(solve(n, 0.0), case[f"out_x_iter{n}"], atol=2e-5)
    np.testing.assert_allclose(solve(case.meta["num_iter_tol"], case.meta["eps"]), case["out_x_tol"], atol=2e-5)
    np.testing.assert_allclose(solve(60, 1e-7), case["out_x_exact"], atol=2e-5)
    q = case["in_real_Q"]
    gram = np.einsum("nki,nkj->nij", q, q)
    real, _ = conjugate_gradient(lambda x: tf.einsum("nij,nj->ni", gram, x) + l2lam * x, case["in_real_b"], None, 4, 0.0,
                                 unrolled)
    np.testing.assert_allclose(real, case["out_real_x4"], rtol=1e-4, atol=1e-5)


@FORMS
def test_solves_and_counts(unrolled):
    normal, b, matrix = system()
    x, count = conjugate_gradient(normal, b, max_iter=50, eps=1e-9, unrolled=unrolled)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, b[..., None])[..., 0], atol=1e-8)
    assert 6 <= count < 50
    assert conjugate_gradient(normal, b, max_iter=0, unrolled=unrolled)[1] == 0
    again, count = conjugate_gradient(normal, b, x, max_iter=50, eps=1e-6, unrolled=unrolled)
    assert count == 0
    np.testing.assert_array_equal(again, x)


@FORMS
def test_a_sample_that_has_converged_waits_for_the_others(unrolled):
    normal, b, matrix = system()
    b[1] = 0  # solved from the start: 0/0 in every step
    x, _ = conjugate_gradient(normal, b, max_iter=40, eps=1e-9, unrolled=unrolled)
    np.testing.assert_array_equal(x[1], np.zeros(6))
    np.testing.assert_allclose(x, np.linalg.solve(matrix, b[..., None])[..., 0], atol=1e-8)


@FORMS
@pytest.mark.parametrize("jit", [False, True])
def test_gradients_go_through_the_iterations(unrolled, jit):
    """By the right side the gradient of <c, x(b)> is A^-1 c; through `eps` too, which has stopped the loop by then."""
    normal, b, matrix = system()
    c = complex_normal(RNG, b.shape, b.dtype)

    @tf.function(jit_compile=jit)
    def gradient(b):
        with tf.GradientTape() as tape:
            tape.watch(b)
            x, _ = conjugate_gradient(normal, b, max_iter=9, eps=1e-11, unrolled=unrolled)
            value = tf.reduce_sum(tf.math.real(tf.math.conj(c) * x))
        return tape.gradient(value, b)

    np.testing.assert_allclose(gradient(tf.constant(b)), np.linalg.solve(matrix, c[..., None])[..., 0], atol=1e-6)


@FORMS
def test_gradient_with_a_converged_sample_is_finite(unrolled):
    normal, b, _ = system()
    b[0] = 0
    b = tf.constant(b)
    with tf.GradientTape() as tape:
        tape.watch(b)
        value = tf.reduce_sum(squared_norm(conjugate_gradient(normal, b, max_iter=5, unrolled=unrolled)[0]))
    assert np.isfinite(tape.gradient(value, b).numpy()).all()


def test_wrong_settings_are_refused():
    for settings in ({"max_iter": -1}, {"max_iter": 2.5}, {"max_iter": True}, {"eps": -1.0}, {"eps": float("nan")}):
        with pytest.raises(UsageError, match="at least 0"):
            conjugate_gradient(lambda x: x, np.ones((1, 2)), **settings)


def test_largest_eigenvalue():
    normal, b, matrix = system()
    found = largest_eigenvalue(normal, b, iterations=200)
    np.testing.assert_allclose(found, np.linalg.eigvalsh(matrix)[:, -1], rtol=1e-6)
    assert np.all(largest_eigenvalue(lambda x: 0 * x, b) == 0)
    with pytest.raises(UsageError, match="at least 1"):
        largest_eigenvalue(normal, b, iterations=0)


def test_deepinpy_vector_operations(flow):
    case = flow("vector_ops")
    np.testing.assert_allclose(squared_norm(tf.constant(case["in_a"])), case["out_norm2"].real, rtol=1e-6)
    np.testing.assert_allclose(project_onto_ball(case["in_a"], case["in_eps"]), case["out_proj"], atol=1e-6)
    np.testing.assert_allclose(np.mean(nrmse(case["in_a"], tf.constant(case["in_b"]))), case["out_nrmse"], rtol=1e-6)


@pytest.mark.parametrize("unrolled", [False, True])
def test_nan_in_one_sample_stays_there(unrolled):
    """It neither stops the others nor passes for convergence."""
    b = np.ones((2, 3), np.float32)
    b[0, 1] = np.nan
    x, count = conjugate_gradient(lambda v: 2.0 * v, b, max_iter=4, eps=1e-3, unrolled=unrolled)
    np.testing.assert_allclose(x[1], 0.5)
    assert np.isnan(x[0]).all() and int(count) == 4
    alone, _ = conjugate_gradient(lambda v: 2.0 * v, b[:1], max_iter=4, eps=1e-3, unrolled=unrolled)
    assert np.isnan(alone).all()


@pytest.mark.parametrize("function", [
    lambda: conjugate_gradient(lambda v: v, np.ones((1, 2)), max_iter="ten"),
    lambda: conjugate_gradient(lambda v: v, np.ones((1, 2)), eps="x"),
    lambda: project_onto_ball(np.ones((1, 2)), -1.0),
])
def test_numbers_out_of_range(function):
    with pytest.raises(UsageError, match="at least 0"):
        function()


def test_ball_leaves_what_is_inside_and_has_finite_gradients_at_its_centre():
    x = tf.constant([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = project_onto_ball(x, 1.0)
    np.testing.assert_allclose(y, [[0.6, 0.8], [0.3, 0.4], [0, 0]], atol=1e-6)
    assert np.isfinite(tape.gradient(y, x).numpy()).all()

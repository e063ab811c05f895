"""Iterative solvers on batches: conjugate gradient, power iteration, projection onto a ball. They know no operator."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import tensorflow as tf

from ..errors import UsageError

Map = Callable[[tf.Tensor], tf.Tensor]


def conjugate_gradient(
    normal: Map, b: Any, x: Any = None, max_iter: int = 10, eps: float = 1e-4, unrolled: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Solve `normal(x) = b` for every sample of a batch, differentiably through the iterations.

    Args:
        normal: a Hermitian positive definite map on tensors like b, as `lambda x: A.normal(x) + l2lam * x`.
        b: real or complex (N, ...); axis 0 counts the samples.
        x: where to start; None: zeros.
        max_iter: at least 0.
        eps: stops once EVERY sample's residual norm is below it; 0 never stops. (Of the residual |b - normal(x)| itself,
            as DeepInPy since its f3ba1e6; before, it was compared with the squared norm: give that the root of its eps.)
        unrolled: a fixed number of iterations written out, of which those after the stop change nothing; False: a
            `tf.while_loop`, a smaller graph that really stops. Values and gradients are the same.

    Returns:
        (x, iterations taken, int32). A sample that has converged exactly stays as it is while others go on (0/0 is 0).

    Reference: utcsilab/deepinpy@eafebc7 opt/conjgrad.py.
    """
    check_iterations(max_iter, eps)
    b = tf.convert_to_tensor(b)
    x = tf.zeros_like(b) if x is None else tf.convert_to_tensor(x)
    residual = b - normal(x)
    squared = squared_norm(residual)
    state = (tf.constant(0), x, residual, residual, squared)

    def wanted(squared: tf.Tensor) -> tf.Tensor:
        # Not "some are above": NaN in one sample must neither stop the others nor pass for convergence.
        return tf.reduce_any(~(squared < tf.cast(eps, squared.dtype) ** 2))

    def step(count: tf.Tensor, x: tf.Tensor, residual: tf.Tensor, direction: tf.Tensor, squared: tf.Tensor) -> tuple:
        image, go_on = normal(direction), wanted(squared)
        alpha = tf.math.divide_no_nan(squared, _inner(direction, image))
        # Steps of length 0 after the stop leave x and the residual as they are, so that it stays stopped.
        alpha = _per_sample(tf.where(go_on, alpha, tf.zeros_like(alpha)), x)
        residual = residual - alpha * image
        new = squared_norm(residual)
        beta = _per_sample(tf.math.divide_no_nan(new, squared), x)
        return count + tf.cast(go_on, tf.int32), x + alpha * direction, residual, residual + beta * direction, new

    if unrolled:
        for _ in range(max_iter):
            state = step(*state)
    else:
        state = tf.while_loop(lambda *state: wanted(state[-1]), step, state, maximum_iterations=max_iter)
    return state[1], state[0]


def check_iterations(max_iter: Any, eps: Any) -> None:
    """UsageError unless conjugate gradient can take these."""
    whole = isinstance(max_iter, Integral) and not isinstance(max_iter, bool)
    if not whole or max_iter < 0 or not isinstance(eps, Real) or not eps >= 0:
        raise UsageError("The iterations of conjugate gradient must be a whole number and its eps a number, both at least 0; "
                         f"received {max_iter!r} and {eps!r}.")


def largest_eigenvalue(normal: Map, x: Any, iterations: int = 30) -> tf.Tensor:
    """The largest eigenvalue of a Hermitian map for every sample, by power iteration.

    Args:
        normal: a map on tensors like x.
        x: where to start, (N, ...), not orthogonal to the first eigenvector: random.
        iterations: at least 1.

    Returns:
        Real (N,); 0 for a map that is 0.
    """
    if iterations < 1:
        raise UsageError(f"iterations must be at least 1, received {iterations!r}.")
    x, value = tf.convert_to_tensor(x), None
    for _ in range(iterations):
        x = x * _per_sample(tf.math.divide_no_nan(tf.ones((), x.dtype.real_dtype), tf.sqrt(squared_norm(x))), x)
        image = normal(x)
        value, x = _inner(x, image), image
    return value


def project_onto_ball(x: Any, radius: Any) -> tf.Tensor:
    """The nearest point with a norm of at most `radius` (a number or real (N,)) for every sample of x (N, ...).

    x min(|x|, radius) / (1e-8 + |x|), as utcsilab/deepinpy@eafebc7 utils/utils.py writes it; radius 0 gives 0.
    """
    if isinstance(radius, Real) and not radius >= 0:
        raise UsageError(f"The radius must be at least 0, received {radius!r}.")
    x = tf.convert_to_tensor(x)
    squared = squared_norm(x)
    # The root's derivative at 0 is infinite, and its product with the outer 0 would be NaN.
    norm = tf.where(squared > 0, tf.sqrt(tf.where(squared > 0, squared, tf.ones_like(squared))), tf.zeros_like(squared))
    return x * _per_sample(tf.minimum(norm, tf.cast(radius, norm.dtype)) / (1e-8 + norm), x)


def squared_norm(x: tf.Tensor) -> tf.Tensor:
    """Sum of squared magnitudes of every sample: real (N,)."""
    return _inner(x, x)


def _inner(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Re<x, y> of every sample: real (N,)."""
    axes = list(range(1, len(x.shape)))
    if not x.dtype.is_complex:
        return tf.reduce_sum(x * y, axes)
    return tf.reduce_sum(tf.math.real(x) * tf.math.real(y) + tf.math.imag(x) * tf.math.imag(y), axes)


def as_factor(value: Any, dtype: tf.DType) -> tf.Tensor:
    """A real tensor in a dtype that may be complex; the derivative of `tf.cast` would warn of the imaginary part it drops."""
    value = tf.cast(value, dtype.real_dtype)
    return tf.complex(value, tf.zeros_like(value)) if dtype.is_complex else value


def _per_sample(values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Real (N,) as factors of `like`."""
    return as_factor(tf.reshape(values, [-1] + [1] * (len(like.shape) - 1)), like.dtype)

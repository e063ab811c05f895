"""Monotonic rational-quadratic splines, elementwise: functions of tensors, without gathers by condition."""

from __future__ import annotations

import math
from typing import Any

from keras import ops

MINIMUM = 1e-3  # of bin widths and heights, as a share of the box, and of slopes
MOST_BINS = round(1 / MINIMUM) - 1


def rational_quadratic_spline(
    x: Any,
    widths: Any,
    heights: Any,
    derivatives: Any,
    inverse: bool = False,
    box: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0),
) -> tuple[Any, Any]:
    """Map a box's side [left, right] onto [bottom, top], or back.

    Args:
        x: real (...); values outside the box are taken as its border.
        widths, heights: raw, (..., K): K bins.
        derivatives: raw, (..., K + 1): slopes at the knots.
        inverse: from [bottom, top] to [left, right].
        box: (left, right, bottom, top).

    Returns:
        (y, log of the derivative), both (...).

    Departures: values outside are no error (in the original they are), and the square root's argument is kept above 0.
    Reference: Durkan et al., "Neural Spline Flows" (2019); bayesiains/nsf@eaa9377 nde/transforms/splines/rational_quadratic.py.
    """
    left, right, bottom, top = box
    x = ops.clip(x, *((bottom, top) if inverse else (left, right)))
    xs, ys = _knots(widths, left, right), _knots(heights, bottom, top)
    slopes = MINIMUM + ops.softplus(derivatives)
    chosen = _bin_of(x, ys if inverse else xs)
    x0, width = _of_bin(chosen, xs[..., :-1]), _of_bin(chosen, xs[..., 1:] - xs[..., :-1])
    y0, height = _of_bin(chosen, ys[..., :-1]), _of_bin(chosen, ys[..., 1:] - ys[..., :-1])
    first, last = _of_bin(chosen, slopes[..., :-1]), _of_bin(chosen, slopes[..., 1:])
    mean = height / width
    excess = first + last - 2.0 * mean
    if inverse:
        theta = _position((x - y0) / height, mean, excess, first)
        return theta * width + x0, -_log_slope(theta, mean, excess, first, last)
    theta = (x - x0) / width
    rest = theta * (1.0 - theta)
    y = y0 + height * (mean * theta**2 + first * rest) / (mean + excess * rest)
    return y, _log_slope(theta, mean, excess, first, last)


def unconstrained_spline(
    x: Any, widths: Any, heights: Any, derivatives: Any, inverse: bool = False, tail_bound: float = 1.0
) -> tuple[Any, Any]:
    """The spline on [-tail_bound, tail_bound], the identity outside, smooth where they meet.

    Args:
        x: real (...), any values.
        widths, heights: raw, (..., K).
        derivatives: raw, (..., K - 1): slopes at the inner knots; those at the ends are 1.
        inverse: the way back.
        tail_bound: above 0.

    Returns:
        (y, log of the derivative), both (...).

    Reference: bayesiains/nsf@eaa9377 `unconstrained_rational_quadratic_spline`, tails="linear".
    """
    edge = ops.full_like(derivatives[..., :1], math.log(math.expm1(1.0 - MINIMUM)))
    slopes = ops.concatenate([edge, derivatives, edge], axis=-1)
    box = (-tail_bound, tail_bound, -tail_bound, tail_bound)
    y, log_slope = rational_quadratic_spline(x, widths, heights, slopes, inverse, box)
    inside = ops.abs(x) <= tail_bound
    return ops.where(inside, y, x), ops.where(inside, log_slope, ops.zeros_like(log_slope))


def _knots(raw: Any, low: float, high: float) -> Any:
    """(..., K) -> (..., K + 1) from low to high, exactly."""
    count = raw.shape[-1]
    if count > MOST_BINS:
        raise ValueError(f"Expected at most {MOST_BINS} bins, received {count}.")
    shares = MINIMUM + (1.0 - MINIMUM * count) * ops.softmax(raw, axis=-1)
    inner = low + (high - low) * ops.cumsum(shares[..., :-1], axis=-1)
    ends = [ops.full_like(raw[..., :1], value) for value in (low, high)]
    return ops.concatenate([ends[0], inner, ends[1]], axis=-1)


def _bin_of(x: Any, knots: Any) -> Any:
    """Which bin x lies in, bool (..., K), True in one place; the last one includes its right end."""
    above = x[..., None] >= knots[..., 1:-1]
    first = ops.ones_like(above[..., :1])
    return ops.logical_and(ops.concatenate([first, above], -1), ops.logical_not(ops.concatenate([above, ~first], -1)))


def _of_bin(chosen: Any, values: Any) -> Any:
    return ops.sum(ops.where(chosen, values, ops.zeros_like(values)), axis=-1)


def _position(share: Any, mean: Any, excess: Any, first: Any) -> Any:
    """Where in its bin, from 0 to 1, the spline has risen by this share of it: the root of a quadratic, without cancellation.

    Departure: divided by the bin's height, so that tiny boxes are as exact as large ones.
    """
    a = share * excess + mean - first
    b = first - share * excess
    c = -mean * share
    # Rounding may take the discriminant, never negative in exact arithmetic, below 0; and the root's derivative at 0 is infinite.
    discriminant = ops.maximum(b**2 - 4.0 * a * c, 1e-30)
    return 2.0 * c / (-b - ops.sqrt(discriminant))


def _log_slope(theta: Any, mean: Any, excess: Any, first: Any, last: Any) -> Any:
    rest = theta * (1.0 - theta)
    numerator = last * theta**2 + 2.0 * mean * rest + first * (1.0 - theta) ** 2
    return 2.0 * ops.log(mean) + ops.log(numerator) - 2.0 * ops.log(mean + excess * rest)

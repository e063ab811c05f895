"""The spline flow's training step in plain TensorFlow, layer by layer, from the description of bayesiains/nsf@eaa9377."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from plain_parts import TorchAdam
from step_start import Case, flow_start

BINS, BITS, MINIMUM = 12, 4, 1e-3


def build(case: Case) -> tuple[list, Callable[..., Any]]:
    """(nothing left to fill, the step on pictures 0..255: its loss, bits for each value)."""
    levels = [([Step(arrays) for arrays in steps], Linear(last)) for steps, last in flow_start()]
    layers = [layer for steps, last in levels for layer in (*steps, last)]
    variables = [variable for layer in layers for variable in layer.variables]
    adam, random = TorchAdam(variables, 1.5e-3), keras.random.SeedGenerator(0)

    def log_prob(x: Any) -> Any:
        size = math.prod(x.shape[1:])
        x, total, latents = x / 2.0**BITS - 0.5, -BITS * math.log(2.0) * size, []
        for number, (steps, last) in enumerate(levels):
            n, h, w, c = x.shape
            x = tf.transpose(tf.reshape(x, (n, h // 2, 2, w // 2, 2, c)), (0, 1, 3, 5, 2, 4))
            x = tf.reshape(x, (n, h // 2, w // 2, 4 * c))
            for layer in (*steps, last):
                x, log = layer(x)
                total += log
            if number < len(levels) - 1:
                given, x = tf.split(x, 2, -1)
                latents.append(tf.reshape(given, (n, -1)))
        z = tf.concat([*latents, tf.reshape(x, (n, -1))], 1)
        return total - 0.5 * tf.reduce_sum(z**2, 1) - 0.5 * size * math.log(2.0 * math.pi)

    @tf.function(jit_compile=case.jit)
    def step(pictures: Any) -> Any:
        values = tf.floor(pictures / 2.0 ** (8 - BITS)) + keras.random.uniform(pictures.shape, seed=random)
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(log_prob(values)) / (math.log(2.0) * math.prod(pictures.shape[1:]))
        adam.apply(tape.gradient(loss, adam.variables))
        return (loss,)

    return [], step


class Linear:
    """L U P at every pixel."""

    def __init__(self, arrays: dict[str, Any]):
        self.order = arrays["order"]
        names = ("lower", "upper", "diagonal", "bias")
        self.variables = self.lower, self.upper, self.diagonal, self.bias = [_variable(arrays[name]) for name in names]

    def __call__(self, x: Any) -> tuple[Any, Any]:
        _, h, w, c = x.shape
        diagonal = tf.math.softplus(self.diagonal.value) + MINIMUM
        strict = tf.linalg.band_part(tf.ones((c, c)), -1, 0) - tf.eye(c)
        lower, upper = self.lower * strict + tf.eye(c), self.upper * tf.transpose(strict) + tf.linalg.diag(diagonal)
        x = tf.matmul(tf.gather(x, self.order, axis=-1), lower @ upper, transpose_b=True) + self.bias
        return x, h * w * tf.reduce_sum(tf.math.log(diagonal))


class Step:
    """Activation norm, 1x1 LU convolution, coupling."""

    def __init__(self, arrays: dict[str, Any]):
        self.log_scale, self.shift, self.linear = _variable(arrays["log_scale"]), _variable(arrays["shift"]), Linear(arrays)
        kernels = arrays["network"][::2]
        self.network = keras.Sequential([
            keras.Input((None, None, kernels[0].shape[2])),
            *(keras.layers.Conv2D(kernel.shape[-1], kernel.shape[0], padding="same", activation="relu" if i < 2 else None)
              for i, kernel in enumerate(kernels))])
        self.network.set_weights(arrays["network"])
        self.hidden = kernels[0].shape[-1]
        self.variables = [self.log_scale, self.shift, *self.linear.variables, *self.network.trainable_variables]

    def __call__(self, x: Any) -> tuple[Any, Any]:
        n, h, w, c = x.shape
        x, log = self.linear(x * tf.exp(self.log_scale.value) + self.shift)
        log += h * w * tf.reduce_sum(self.log_scale)
        bent, kept = tf.split(x, 2, -1)
        raw = tf.reshape(self.network(kept), (n, h, w, c // 2, 3 * BINS - 1))
        bent, slopes = _spline(bent, raw[..., : 2 * BINS] / math.sqrt(self.hidden), raw[..., 2 * BINS :])
        return tf.concat([bent, kept], -1), log + tf.reduce_sum(slopes, (1, 2, 3))


def _variable(array: Any) -> keras.Variable:
    return keras.Variable(array)


def _spline(x: Any, sides: Any, slopes: Any) -> tuple[Any, Any]:
    """Rational quadratic on [-1, 1], the identity outside: (y, log of the slope)."""
    inside, within = tf.abs(x) <= 1.0, tf.clip_by_value(x, -1.0, 1.0)
    xs, ys = (_knots(part) for part in tf.split(sides, 2, -1))
    pads = [[0, 0]] * 4 + [[1, 1]]
    slopes = MINIMUM + tf.math.softplus(tf.pad(slopes, pads, constant_values=math.log(math.expm1(1 - MINIMUM))))
    index = tf.reduce_sum(tf.cast(within[..., None] >= xs[..., 1:-1], tf.int32), -1)

    def pick(values: Any) -> Any:
        return tf.gather(values, index, batch_dims=4)

    width, height = pick(xs[..., 1:] - xs[..., :-1]), pick(ys[..., 1:] - ys[..., :-1])
    first, last, mean = pick(slopes[..., :-1]), pick(slopes[..., 1:]), height / width
    theta = (within - pick(xs[..., :-1])) / width
    rest, excess = theta * (1.0 - theta), first + last - 2.0 * mean
    below = mean + excess * rest
    y = pick(ys[..., :-1]) + height * (mean * theta**2 + first * rest) / below
    slope = mean**2 * (last * theta**2 + 2.0 * mean * rest + first * (1.0 - theta) ** 2) / below**2
    return tf.where(inside, y, x), tf.where(inside, tf.math.log(slope), 0.0)


def _knots(raw: Any) -> Any:
    shares = MINIMUM + (1.0 - MINIMUM * BINS) * tf.nn.softmax(raw)
    inner = 2.0 * tf.cumsum(shares[..., :-1], -1) - 1.0
    ends = tf.ones_like(inner[..., :1])
    return tf.concat([-ends, inner, ends], -1)

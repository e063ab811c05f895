"""MoDL's training step in plain TensorFlow, from the description of utcsilab/deepinpy@eafebc7, DC at index 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from plain_parts import TorchAdam, reflected
from step_start import Case

layers = keras.layers
UNROLLS, ITERATIONS = 4, 10


def build(case: Case) -> tuple[list[keras.Model], Callable[..., Any]]:
    """(the denoiser, the step on k-space, coil maps, mask and the full image: its loss)."""
    denoiser, l2lam = _denoiser(), keras.Variable(1e-3)
    variables = [l2lam, *denoiser.trainable_variables]
    adam, root = TorchAdam(variables, 1e-3), float(case.side)

    def reconstructed(kspace: Any, maps: Any, mask: Any) -> Any:
        mask, weight = tf.cast(mask, tf.complex64)[:, None], tf.cast(l2lam.value, tf.complex64)

        def adjoint(y: Any) -> Any:
            return tf.reduce_sum(tf.signal.ifft2d(y * mask) * root * tf.math.conj(maps), 1)

        def normal(x: Any) -> Any:
            return adjoint(tf.signal.fft2d(maps * x[:, None]) / root) + weight * x

        zero_filled = x = adjoint(kspace)
        for _ in range(UNROLLS):
            channels = tf.stack([tf.math.real(x), tf.math.imag(x)], -1)
            prior = channels + denoiser(channels)
            x = _solved(normal, zero_filled + weight * tf.complex(prior[..., 0], prior[..., 1]), x)
        return x

    @tf.function(jit_compile=case.jit)
    def step(kspace: Any, maps: Any, mask: Any, image: Any) -> Any:
        with tf.GradientTape() as tape:
            difference = reconstructed(kspace, maps, mask) - image
            loss = tf.reduce_sum(_squares(difference)) / case.batch
        adam.apply(tape.gradient(loss, variables))
        return (loss,)

    return [denoiser], step


def _solved(normal: Callable[[Any], Any], b: Any, x: Any) -> Any:
    """Conjugate gradient."""
    residual = direction = b - normal(x)
    squared = tf.reduce_sum(_squares(residual), (1, 2), keepdims=True)
    for _ in range(ITERATIONS):
        image = normal(direction)
        inner = tf.reduce_sum(tf.math.real(tf.math.conj(direction) * image), (1, 2), keepdims=True)
        alpha = tf.cast(squared / inner, tf.complex64)
        x, residual = x + alpha * direction, residual - alpha * image
        new = tf.reduce_sum(_squares(residual), (1, 2), keepdims=True)
        direction, squared = residual + tf.cast(new / squared, tf.complex64) * direction, new
    return x


def _squares(x: Any) -> Any:
    return tf.math.real(x) ** 2 + tf.math.imag(x) ** 2


def _denoiser(features: int = 64) -> keras.Model:
    x = inputs = keras.Input((None, None, 2))
    for index, filters in enumerate((features, features, 2)):
        before = x
        x = layers.Conv2D(features, 7, use_bias=False)(reflected(3)(layers.ReLU()(x)))
        x = x if index == 2 else layers.ReLU()(x)
        x = layers.Conv2D(filters, 7, use_bias=False)(reflected(3)(x))
        skip = before if index == 1 else layers.Conv2D(filters, 1, use_bias=False)(before)
        x = layers.Add()([x, skip])
    return keras.Model(inputs, x)

"""Normalisation and rectifier that go over the image fewer times, for inference on a processor."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfrecon")
class RowwiseInstanceNormalization(keras.layers.Layer):
    """Instance normalisation that adds whole rows before it adds along them, which fills a processor's vectors.

    The variance is the mean squared distance from the mean, as in Keras' own: the image may lie far from zero.

    Args:
        epsilon: added to the variance.

    Input shape, output shape: (N, H, W, C), float32 or float64.
    Reference: keras.layers.GroupNormalization(groups=-1), with its weights gamma and beta.
    """

    def __init__(self, epsilon: float = 1e-3, **kwargs: Any):
        super().__init__(**kwargs)
        self.epsilon = float(epsilon)

    def build(self, input_shape: tuple) -> None:
        self.gamma = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="beta")

    def call(self, inputs: Any) -> Any:
        mean = _mean(inputs)
        scale = self.gamma * ops.rsqrt(_mean(ops.square(inputs - mean)) + self.epsilon)
        return inputs * scale + (self.beta - mean * scale)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


def _mean(x: Any) -> Any:
    """(N, H, W, C) -> (N, 1, 1, C)."""
    n, height, width, channels = ops.shape(x)
    # (A matrix product with ones is faster still in TensorFlow's graphs, but three times as slow with XLA.)
    rows = ops.mean(ops.reshape(x, (n, height, width * channels)), axis=1)
    return ops.mean(ops.reshape(rows, (n, 1, width, channels)), axis=2, keepdims=True)


@keras.saving.register_keras_serializable(package="tfrecon")
class MaximumPReLU(keras.layers.Layer):
    """max(x, alpha x): `keras.layers.PReLU(shared_axes=[1, 2])` wherever no alpha is above 1, bit for bit.

    Input shape, output shape: (N, H, W, C), floating; `alpha` has the shape (C,).
    """

    def build(self, input_shape: tuple) -> None:
        self.alpha = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="alpha")

    def call(self, inputs: Any) -> Any:
        return ops.maximum(inputs, inputs * self.alpha)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

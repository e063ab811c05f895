"""The magnitude of a complex image held in two channels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def flat_sqrt(x: Any) -> Any:
    """The square root of a real tensor, at least 0, with gradient 0 at 0."""
    positive = x > 0
    # Both branches of a where are differentiated: the root must not see the zeros at all.
    root = ops.sqrt(ops.where(positive, x, ops.ones_like(x)))
    return ops.where(positive, root, ops.zeros_like(x))


@keras.saving.register_keras_serializable(package="tfrecon")
class Magnitude(keras.layers.Layer):
    """sqrt(sum of squares over the channels), with gradient 0 where the value is 0.

    The originals' square root has an infinite gradient at 0, which turns one black pixel into NaN weights.

    Input shape: (N, H, W, C), C = 2 for (real, imaginary).
    Output shape: (N, H, W, 1), at least 0.
    """

    def call(self, inputs: Any) -> Any:
        return flat_sqrt(ops.sum(ops.square(inputs), axis=-1, keepdims=True))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], 1)

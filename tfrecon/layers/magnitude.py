"""The magnitude of a complex image held in two channels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfrecon")
class Magnitude(keras.layers.Layer):
    """sqrt(sum of squares over the channels), with gradient 0 where the value is 0.

    The originals' square root has an infinite gradient at 0, which turns one black pixel into NaN weights.

    Input shape: (N, H, W, C), C = 2 for (real, imaginary).
    Output shape: (N, H, W, 1), at least 0.
    """

    def call(self, inputs: Any) -> Any:
        power = ops.sum(ops.square(inputs), axis=-1, keepdims=True)
        positive = power > 0
        # Both branches of a where are differentiated: the root must not see the zeros at all.
        root = ops.sqrt(ops.where(positive, power, ops.ones_like(power)))
        return ops.where(positive, root, ops.zeros_like(power))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], 1)

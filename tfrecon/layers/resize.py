"""Bilinear enlargement by two with aligned corners, as PyTorch's U-Nets use it."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfrecon")
class AlignCornersUpSampling2D(keras.layers.Layer):
    """Double height and width so that the first and last rows and columns stay in place.

    Output i along an axis of n reads position i * (n - 1) / (2n - 1). Keras' own bilinear `UpSampling2D` aligns pixel
    centres instead, and breaks with unknown sizes (keras issue 22079).

    Even outputs lie between i - 1 and i, odd ones between i and i + 1, so everything is shifts, products and one
    interleave: no gather, sizes may be unknown, and XLA fuses it.

    Input shape: (N, H, W, C), floating.
    Output shape: (N, 2H, 2W, C), same dtype and value range.
    Reference: torch.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True).
    """

    def call(self, inputs: Any) -> Any:
        return _double(_double(inputs, axis=1), axis=2)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        n, h, w, c = input_shape
        return n, None if h is None else 2 * h, None if w is None else 2 * w, c


def _double(x: Any, axis: int) -> Any:
    n = ops.shape(x)[axis]
    first, last = _take(x, axis, 0, 1), _take(x, axis, n - 1, n)
    before = ops.concatenate([first, _take(x, axis, 0, n - 1)], axis=axis)
    after = ops.concatenate([_take(x, axis, 1, n), last], axis=axis)
    # Positions in float32: half precision cannot count the rows of an image, and TensorFlow has no range for it.
    index = ops.reshape(ops.arange(n, dtype="float32"), (-1, 1, 1) if axis == 1 else (-1, 1))
    count = ops.cast(n, "float32")
    step = 1.0 / (2.0 * count - 1.0)
    even = x + (before - x) * ops.cast(index * step, x.dtype)
    odd = x + (after - x) * ops.cast((count - 1.0 - index) * step, x.dtype)
    shape = list(ops.shape(x))
    shape[axis] = 2 * n
    return ops.reshape(ops.stack([even, odd], axis=axis + 1), shape)


def _take(x: Any, axis: int, start: Any, stop: Any) -> Any:
    return x[:, start:stop] if axis == 1 else x[:, :, start:stop]

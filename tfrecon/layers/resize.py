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
    """One axis. The gradient is written out, since that of slices and concatenations copies each map many times."""

    @ops.custom_gradient
    def double(x: Any) -> tuple[Any, Any]:
        n = ops.shape(x)[axis]
        to_even, to_odd = _weights(n, x.dtype, axis)
        even = x + (_shifted(x, axis, 1) - x) * to_even
        odd = x + (_shifted(x, axis, -1) - x) * to_odd
        shape = list(ops.shape(x))
        shape[axis] = 2 * n
        return ops.reshape(ops.stack([even, odd], axis=axis + 1), shape), gradient

    def gradient(*args: Any, upstream: Any = None) -> Any:
        return _halve(args[0] if upstream is None else upstream, axis)

    return double(x)


def _halve(y: Any, axis: int) -> Any:
    """The transpose of `_double`: what each input's value contributed to the outputs, summed."""
    shape = list(ops.shape(y))
    n = shape[axis] // 2
    even, odd = ops.unstack(ops.reshape(y, [*shape[:axis], n, 2, *shape[axis + 1 :]]), 2, axis=axis + 1)
    to_even, to_odd = _weights(n, y.dtype, axis)
    given_even, given_odd = even * to_even, odd * to_odd
    return (even - given_even) + (odd - given_odd) + _shifted(given_even, axis, -1) + _shifted(given_odd, axis, 1)


def _weights(n: Any, dtype: Any, axis: int) -> tuple[Any, Any]:
    """The share of the neighbour before in even outputs and of the neighbour behind in odd ones, along the axis.

    Computed in float32 at least: half precision cannot count the rows of an image, and TensorFlow has no range for it.
    """
    precise = keras.backend.result_type(dtype, "float32")
    index = ops.reshape(ops.arange(n, dtype=precise), (-1, 1, 1) if axis == 1 else (-1, 1))
    count = ops.cast(n, precise)
    step = 1.0 / (2.0 * count - 1.0)
    return ops.cast(index * step, dtype), ops.cast((count - 1.0 - index) * step, dtype)


def _shifted(x: Any, axis: int, by: int) -> Any:
    """Element i becomes i - by; the ends take zeros, whose weights are 0 in every sum here."""
    pads = [(0, 0)] * 4
    pads[axis] = (by, 0) if by > 0 else (0, -by)
    kept = slice(None, -by) if by > 0 else slice(-by, None)
    return ops.pad(x[:, kept] if axis == 1 else x[:, :, kept], pads)

"""Bilinear enlargement by a whole number with pixel centres aligned, for images of any size."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfrecon")
class BilinearUpSampling2D(keras.layers.Layer):
    """Enlarge height and width; output pixel i reads the input at (i + 1/2) / scale - 1/2, clamped to the image.

    Every output lies between a pixel and one neighbour, with a share that depends on i modulo the scale alone, so all of it
    is shifts and products: no gather, sizes may be unknown (Keras' own `UpSampling2D` needs them), and whole numbers
    enlarged by a power of two stay exact.

    Args:
        scale: whole number of at least 1.

    Input shape: (N, H, W, C), floating.
    Output shape: (N, scale H, scale W, C), same dtype and value range.
    Reference: torch.nn.functional.interpolate(scale_factor=scale, mode="bilinear", align_corners=False).
    """

    def __init__(self, scale: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(scale, int) or scale < 1:
            raise ValueError(f"Expected scale to be a whole number of at least 1, received {scale!r}.")
        self.scale = scale

    def call(self, inputs: Any) -> Any:
        return _enlarged(_enlarged(inputs, 1, self.scale), 2, self.scale)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        n, h, w, c = input_shape
        return n, *(None if size is None else self.scale * size for size in (h, w)), c

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


def _enlarged(x: Any, axis: int, scale: int) -> Any:
    """One axis, the edges repeated."""
    first, last, head, tail = (_along(x, axis, part) for part in (slice(1), slice(-1, None), slice(-1), slice(1, None)))
    before, behind = ops.concatenate([first, head], axis=axis), ops.concatenate([tail, last], axis=axis)
    phases = []
    for phase in range(scale):
        offset = (phase + 0.5) / scale - 0.5
        neighbour = before if offset < 0 else behind
        phases.append(x * (1.0 - abs(offset)) + neighbour * abs(offset))
    shape = list(ops.shape(x))
    shape[axis] = scale * shape[axis]
    return ops.reshape(ops.stack(phases, axis=axis + 1), shape)


def _along(x: Any, axis: int, part: slice) -> Any:
    return x[:, part] if axis == 1 else x[:, :, part]

"""The phases of an enlarged image, which lie one behind the other in its channels, put beside one another."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfrecon")
class DepthToSpace(keras.layers.Layer):
    """Enlarge by `size`: the channels (a size + b) C to (a size + b + 1) C become rows size i + a and columns size j + b.

    Args:
        size: of the blocks that every pixel becomes.

    Input shape: (N, H, W, size^2 C), any dtype.
    Output shape: (N, size H, size W, C), same values.
    Reference: tf.nn.depth_to_space.
    """

    def __init__(self, size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.size = int(size)

    def call(self, inputs: Any) -> Any:
        return interleaved(inputs, self.size, self.size)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        n, *sizes, channels = input_shape
        return n, *(None if size is None else self.size * size for size in sizes), channels // self.size**2

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


def interleaved(x: Any, rows: int, columns: int) -> Any:
    """(N, H, W, rows * columns * C) -> (N, rows * H, columns * W, C): a pixel's channels become a block."""
    n, height, width, channels = ops.shape(x)
    filters = channels // (rows * columns)
    blocks = ops.transpose(ops.reshape(x, (n, height, width, rows, columns, filters)), (0, 1, 3, 2, 4, 5))
    return ops.reshape(blocks, (n, rows * height, columns * width, filters))

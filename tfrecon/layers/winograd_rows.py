"""7x7 convolution with Winograd's minimal filtering down the columns: half the multiplications, for inference."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from .winograd import minimal_filtering

ROWS = 7
_TILE, _UPPER = 4, 3  # four rows of output at a time; the kernel's first three rows and its last four are filtered apart
_POINTS = (0.0, 0.75, -0.75, 1.5, -1.5), (0.0, 0.5, -0.5, 1.0, -1.0, 2.0)


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A (4, 13), G (13, 7), B (13, 10) with A [(G taps) * (B data)] = the 4 outputs of 10 data and 7 taps.

    Seven taps at once would need 10 products instead of 13, at the price of two more digits.
    """
    a, g, b = zip(*(minimal_filtering(_TILE, taps, points) for taps, points in zip((_UPPER, ROWS - _UPPER), _POINTS)))
    count = len(b[0])
    kernel, data = np.zeros((count + len(b[1]), ROWS)), np.zeros((count + len(b[1]), _TILE + ROWS - 1))
    kernel[:count, :_UPPER], kernel[count:, _UPPER:] = g
    data[:count, :count], data[count:, _UPPER:] = b
    return np.hstack(a), kernel, data


_OUTPUT, _KERNEL, _DATA = _matrices()
_PRODUCTS = len(_DATA)


def winograd_rows_kernel(kernel: np.ndarray) -> np.ndarray:
    """The kernel (7, width, in, out) of a `Conv2D` as `WinogradRowsConv2D` wants it: (13, 1, width, in, out)."""
    return np.einsum("pr,rjck->pjck", _KERNEL, np.asarray(kernel, np.float64))[:, None]


@keras.saving.register_keras_serializable(package="tfrecon")
class WinogradRowsConv2D(keras.layers.Layer):
    """A convolution of seven rows without stride and padding that needs 13 rows' products for 4 rows of output, not 28.

    The same sum rearranged: equal in exact arithmetic, to about 2e-6 of the largest value in float32 (the plain one: 3e-7).
    Meant for inference: its weights come from `winograd_rows_kernel`. Half precision is too coarse for it.

    Args:
        filters: output channels.
        kernel_width: columns of the kernel.
        activation: name of an activation, or None.

    Input shape: (N, H, W, C), float32 or float64.
    Output shape: (N, H - 6, W - kernel_width + 1, filters).
    Reference: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), F(4, 3) and F(4, 4).
    """

    def __init__(self, filters: int, kernel_width: int = ROWS, activation: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters, self.kernel_width, self.activation = int(filters), int(kernel_width), activation

    def build(self, input_shape: tuple) -> None:
        shape = (_PRODUCTS, 1, self.kernel_width, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        n, height, width, _ = self.compute_output_shape(ops.shape(inputs))
        tiles = -(-height // _TILE)
        data = self._transformed(inputs, n, tiles)
        products = ops.stack([ops.conv(data[:, :, i], self.kernel[i], padding="valid") for i in range(_PRODUCTS)])
        combine = ops.convert_to_tensor(_OUTPUT, dtype=products.dtype)
        y = ops.matmul(combine, ops.reshape(products, (_PRODUCTS, n * tiles * width * self.filters)))
        y = ops.transpose(ops.reshape(y, (_TILE, n, tiles, width, self.filters)), (1, 2, 0, 3, 4))
        y = ops.reshape(y, (n, tiles * _TILE, width, self.filters))[:, :height]
        return keras.activations.get(self.activation)(y + self.bias)

    def _transformed(self, x: Any, n: Any, tiles: Any) -> Any:
        """(N, tiles, 13, W, C): the rows cut into tiles of 10 that overlap by 6, and transformed."""
        _, height, width, channels = ops.shape(x)
        # Two tiles too many, of whose rows the last tile takes six.
        x = ops.pad(x, [(0, 0), (0, _TILE * (tiles + 2) - height), (0, 0), (0, 0)])
        x = ops.reshape(x, (n, tiles + 2, _TILE, width * channels))
        rows = ops.concatenate([x[:, :-2], x[:, 1:-1], x[:, 2:, : _DATA.shape[1] - 2 * _TILE]], axis=2)
        data = ops.matmul(ops.convert_to_tensor(_DATA, dtype=x.dtype), rows)
        return ops.reshape(data, (n, tiles, _PRODUCTS, width, channels))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        n, *sizes, _ = input_shape
        lost = (ROWS - 1, self.kernel_width - 1)
        return n, *(None if size is None else size - less for size, less in zip(sizes, lost)), self.filters

    def get_config(self) -> dict[str, Any]:
        own = {"filters": self.filters, "kernel_width": self.kernel_width, "activation": self.activation}
        return {**super().get_config(), **own}

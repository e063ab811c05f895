"""3x3 convolution by Winograd's minimal filtering: a quarter of the multiplications, for inference on a processor."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

_TILE, _TAPS = 4, 3
# A tile's polynomial is taken at these points and at infinity. The usual 0, 1, -1, 2, -2 lose two to three times as many
# digits; these are exact in binary, as are all their products below.
_POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)


def minimal_filtering(outputs: int, taps: int, points: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Toom and Cook's A (m, n), G (n, r), B (n, n), n = m + r - 1: A [(G taps) * (B data)] = m outputs of n data and r taps.

    `points` are n - 1 different numbers.
    """
    values, count = np.array(points), len(points)
    others = [np.delete(values, i) for i in range(count)]
    infinity = np.eye(outputs)[:, -1:], np.eye(taps)[-1:]
    a = np.hstack([values ** np.arange(outputs)[:, None], infinity[0]])
    g = np.vstack([values[:, None] ** np.arange(taps) / [[np.prod(p - o)] for p, o in zip(values, others)], infinity[1]])
    b = np.vstack([*(np.append(np.poly(o)[::-1], 0.0) for o in others), np.poly(values)[::-1]])
    return a, g, b


_OUTPUT, _KERNEL, _DATA = minimal_filtering(_TILE, _TAPS, _POINTS)
_SIDE = len(_DATA)


def winograd_kernel(kernel: np.ndarray) -> np.ndarray:
    """The kernel (3, 3, in, out) of a `Conv2D` as `WinogradConv2D` wants it: (36, in, out), computed in float64."""
    transformed = np.einsum("ri,sj,ijck->rsck", _KERNEL, _KERNEL, np.asarray(kernel, np.float64))
    return transformed.reshape(_SIDE * _SIDE, *kernel.shape[2:])


@keras.saving.register_keras_serializable(package="tfrecon")
class WinogradConv2D(keras.layers.Layer):
    """A 3x3 convolution without stride that needs 36 products for 4x4 outputs, where the plain one needs 144.

    The same sum rearranged: equal in exact arithmetic, to about 1e-6 of the largest value in float32. Meant for inference:
    its weights come from `winograd_kernel` and take four times the memory of the plain kernel. Half precision is too coarse
    for it.

    Args:
        filters: output channels.
        padding: "valid" or "same" (zeros), as `Conv2D`.
        activation: name of an activation, or None.

    Input shape: (N, H, W, C), float32 or float64.
    Output shape: (N, H, W, filters), with "valid" (N, H - 2, W - 2, filters).
    Reference: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), F(4x4, 3x3).
    """

    def __init__(self, filters: int, padding: str = "valid", activation: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if padding not in ("valid", "same"):
            raise ValueError(f"Expected padding to be valid or same, received {padding!r}.")
        self.filters, self.padding, self.activation = int(filters), padding, activation

    def build(self, input_shape: tuple) -> None:
        self.kernel = self.add_weight(shape=(_SIDE * _SIDE, input_shape[-1], self.filters), name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        n, *sizes, _ = self.compute_output_shape(ops.shape(inputs))
        tiles = [-(-size // _TILE) for size in sizes]
        data = self._transformed(inputs, n, tiles)
        products = ops.matmul(data, self.kernel)
        combine = ops.convert_to_tensor(np.kron(_OUTPUT, _OUTPUT), dtype=products.dtype)
        y = ops.matmul(combine, ops.reshape(products, (_SIDE * _SIDE, n * tiles[0] * tiles[1] * self.filters)))
        y = ops.transpose(ops.reshape(y, (_TILE, _TILE, n, *tiles, self.filters)), (2, 3, 0, 4, 1, 5))
        y = ops.reshape(y, (n, *(_TILE * count for count in tiles), self.filters))
        return keras.activations.get(self.activation)(y[:, : sizes[0], : sizes[1]] + self.bias)

    def _transformed(self, x: Any, n: Any, tiles: list) -> Any:
        """(36, tiles of all images, C): both axes in turn cut into tiles of 6 that overlap by 2, and transformed."""
        _, height, width, channels = ops.shape(x)
        before = 1 if self.padding == "same" else 0
        # One tile too many, so that its first rows end the last tile.
        whole = [_TILE * (count + 1) for count in tiles]
        pads = [(before, full - size - before) for full, size in zip(whole, (height, width))]
        x = ops.pad(x, [(0, 0), *pads, (0, 0)])
        x = _tiles_transformed(ops.reshape(x, (n, tiles[0] + 1, _TILE, whole[1] * channels)))
        x = _tiles_transformed(ops.reshape(x, (n * tiles[0] * _SIDE, tiles[1] + 1, _TILE, channels)))
        x = ops.reshape(x, (n, tiles[0], _SIDE, tiles[1], _SIDE, channels))
        return ops.reshape(ops.transpose(x, (2, 4, 0, 1, 3, 5)), (_SIDE * _SIDE, n * tiles[0] * tiles[1], channels))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        n, height, width, _ = input_shape
        lost = 0 if self.padding == "same" else _TAPS - 1
        return n, *(None if size is None else size - lost for size in (height, width)), self.filters

    def get_config(self) -> dict[str, Any]:
        own = {"filters": self.filters, "padding": self.padding, "activation": self.activation}
        return {**super().get_config(), **own}


def _tiles_transformed(x: Any) -> Any:
    """(M, T + 1, 4, K) -> (M, T, 6, K): every four rows and the next two, multiplied by the data matrix."""
    tiles = ops.concatenate([x[:, :-1], x[:, 1:, : _SIDE - _TILE]], axis=2)
    return ops.matmul(ops.convert_to_tensor(_DATA, dtype=x.dtype), tiles)

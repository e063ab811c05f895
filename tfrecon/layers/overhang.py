"""A transposed convolution and the convolution behind it as a single one of the small image, for inference."""

from __future__ import annotations

from itertools import product
from typing import Any

import keras
import numpy as np
from keras import ops

from .composed import composed_kernel


def overhangs(size: int, stride: int) -> list[int]:
    """By how many pixels of the small image a transposed convolution of that size, padded "same", moves what it reads."""
    return sorted({int(move) for move in _moves(size, stride)})


def overhang_kernel(
    transposed: np.ndarray, offset: np.ndarray, stride: int, kernel: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The convolution of `OverhangChannels`, padded "same", that gives all phases of both layers' output for `DepthToSpace`.

    Args:
        transposed, offset: kernel (k, l, out, in) and bias of a `Conv2DTranspose` with that stride, padded "same".
        kernel, bias: of the `Conv2D` behind it: (m, m, in, out) with m odd, padded "same".

    Returns: float64 kernel (2 r + 1, 2 s + 1, channels, stride^2 out) and bias (stride^2 out).
    """
    spread = _spread_kernel(transposed, offset, stride)
    composed, bias = composed_kernel([spread, kernel], [np.zeros(len(offset)), bias])
    selections = []
    for axis, size in enumerate(transposed.shape[:2]):
        # How far before its output pixel the window begins, counted in pixels of the spread image.
        before = spread.shape[axis] - 1 - _cut_in_front(size, stride) + len(kernel) // 2
        selections.append(_selection(composed.shape[axis], stride, before))
    phases = np.einsum("aiu,bjv,uvck->ijcabk", *selections, composed, optimize=True)
    return phases.reshape(*phases.shape[:3], -1), np.tile(bias, stride**2)


def _moves(size: int, stride: int) -> np.ndarray:
    """(size,): the move of every tap."""
    return (np.arange(size) - _cut_in_front(size, stride)) // stride


def _cut_in_front(size: int, stride: int) -> int:
    return max(size - stride, 0) // 2  # half of what sticks out, rounded down


def _spread_kernel(transposed: np.ndarray, offset: np.ndarray, stride: int) -> np.ndarray:
    """The transposed convolution and its bias as a convolution of the `OverhangChannels` spread by the stride.

    Every tap reads the copy of the image without the pixels which that tap would put outside the output.
    """
    rows, columns, filters, channels = transposed.shape
    row_moves, column_moves = _moves(rows, stride), _moves(columns, stride)
    moves = list(product(overhangs(rows, stride), overhangs(columns, stride)))
    copies = [transposed * np.outer(row_moves == a, column_moves == b)[..., None, None] for a, b in moves]
    top, left = _cut_in_front(rows, stride), _cut_in_front(columns, stride)
    kernel = np.zeros((max(rows, top + stride), max(columns, left + stride), filters, len(moves) * channels + 1))
    kernel[:rows, :columns, :, :-1] = np.concatenate(copies, axis=-1)
    kernel[top : top + stride, left : left + stride, :, -1] = offset  # each of the ones becomes a block
    return kernel[::-1, ::-1].transpose(0, 1, 3, 2)


def _selection(size: int, stride: int, before: int) -> np.ndarray:
    """(phase, neighbour, tap): 1 where that phase's tap falls on that neighbour, the pixel itself in the middle, and not on
    a zero in between."""
    phase, tap = np.arange(stride)[:, None, None], np.arange(size)
    reach = max(before // stride, (stride + size - 2 - before) // stride)
    neighbour = np.arange(-reach, reach + 1)[:, None]
    return (stride * neighbour == phase + tap - before).astype(np.float64)


@keras.saving.register_keras_serializable(package="tfrecon")
class OverhangChannels(keras.layers.Layer):
    """Copies of the image without the pixels that, moved by so many rows and columns, would leave it; and a channel of ones.

    A transposed convolution cuts off what sticks out of its output, and adds its bias inside only. A convolution of these
    copies does so too, so that zeros outside the image are enough for a further convolution: see `overhang_kernel`.

    Args:
        rows, columns: the moves, whole numbers; there is a copy for each row with each column.

    Input shape: (N, H, W, C), floating.
    Output shape: (N, H, W, rows * columns * C + 1).
    """

    def __init__(self, rows: list[int], columns: list[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.rows, self.columns = list(rows), list(columns)

    def call(self, inputs: Any) -> Any:
        n, height, width, channels = ops.shape(inputs)
        stays = ops.logical_and(_stays(height, self.rows)[:, None, :, None], _stays(width, self.columns)[:, None, :])
        copies = inputs[:, :, :, None, None] * ops.cast(stays, inputs.dtype)[..., None]
        copies = ops.reshape(copies, (n, height, width, len(self.rows) * len(self.columns) * channels))
        return ops.concatenate([copies, ops.ones_like(copies[..., :1])], axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return *input_shape[:-1], len(self.rows) * len(self.columns) * input_shape[-1] + 1

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rows": self.rows, "columns": self.columns}


def _stays(size: Any, moves: list[int]) -> Any:
    """(size, moves): whether the pixel is still in the image after the move."""
    moved = ops.arange(size, dtype="int32")[:, None] + ops.convert_to_tensor(moves, dtype="int32")
    return ops.logical_and(moved >= 0, moved < size)

"""What puts convolutions that were split into cheaper ones together again, for inference."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

# Row a holds the two taps of phase a made of the three taps of the kernel: enlarged by repetition, an even row sees its
# neighbour before and itself twice, an odd row itself twice and its neighbour behind.
_PHASES = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], np.float64)


def phase_kernel(kernel: np.ndarray) -> np.ndarray:
    """The kernel (3, 3, in, out) that follows a nearest enlargement by two, as one of (2, 2, in, 4 out) without it.

    To be used with one row and column of zeros on every side, and `InterleavePhases` behind. Computed in float64.
    """
    phases = np.einsum("aui,bvj,ijck->uvcabk", _PHASES, _PHASES, np.asarray(kernel, np.float64))
    return phases.reshape(2, 2, kernel.shape[2], -1)


@keras.saving.register_keras_serializable(package="tfrecon")
class InterleavePhases(keras.layers.Layer):
    """The four phases of an enlarged image, each where it belongs: phase (a, b) becomes rows 2 i + a and columns 2 j + b.

    Phase (a, b) is the (2 a + b)th quarter of the channels and starts in row a and column b.

    Input shape: (N, H + 1, W + 1, 4 C), any dtype.
    Output shape: (N, 2 H, 2 W, C), same values.
    """

    def call(self, inputs: Any) -> Any:
        n, height, width, channels = self.compute_output_shape(ops.shape(inputs))
        quarters = ops.split(inputs, 4, axis=-1)
        rows = [
            ops.concatenate([quarters[2 * a + b][:, a : height // 2 + a, b : width // 2 + b] for b in (0, 1)], axis=-1)
            for a in (0, 1)
        ]
        return ops.reshape(ops.stack(rows, axis=2), (n, height, width, channels))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        n, height, width, channels = input_shape
        return n, *(None if size is None else 2 * (size - 1) for size in (height, width)), channels // 4


@keras.saving.register_keras_serializable(package="tfrecon")
class AddShiftedRows(keras.layers.Layer):
    """Sum over r of the rth part of the channels, moved up by r rows.

    So a convolution of R rows and few filters becomes one of a single row with R times as many, which fills a processor's
    vectors.

    Args:
        rows: R.

    Input shape: (N, H + R - 1, W, R C), floating.
    Output shape: (N, H, W, C).
    """

    def __init__(self, rows: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.rows = int(rows)

    def call(self, inputs: Any) -> Any:
        height = ops.shape(inputs)[1] - self.rows + 1
        parts = ops.split(inputs, self.rows, axis=-1)
        return sum(part[:, r : r + height] for r, part in enumerate(parts))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        n, height, width, channels = input_shape
        return n, None if height is None else height - self.rows + 1, width, channels // self.rows

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rows": self.rows}


def row_kernel(kernel: np.ndarray) -> np.ndarray:
    """The kernel (R, S, in, out) as one of (1, S, in, R out), to be followed by `AddShiftedRows(R)`."""
    rows, columns, channels, filters = kernel.shape
    return kernel.transpose(1, 2, 0, 3).reshape(1, columns, channels, rows * filters)

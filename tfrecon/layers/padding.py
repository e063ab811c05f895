"""Zero padding of one feature map to the size of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfrecon")
class PadToMatch(keras.layers.Layer):
    """Pad the first input with zeros to the height and width of the second.

    A difference d is split into d // 2 before and d - d // 2 after, as milesial's U-Net does for odd sizes.

    Input shape: [(N, h, w, C), (N, H, W, K)] with h <= H and w <= W.
    Output shape: (N, H, W, C).
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        x, reference = inputs
        pads = [_split(ops.shape(reference)[axis] - ops.shape(x)[axis]) for axis in (1, 2)]
        if all(isinstance(n, int) and n == 0 for pad in pads for n in pad):  # known sizes that agree already
            return x
        return ops.pad(x, [(0, 0), *pads, (0, 0)])

    def compute_output_shape(self, input_shape: Sequence[tuple]) -> tuple:
        x, reference = input_shape
        return x[0], reference[1], reference[2], x[3]


def _split(difference: Any) -> tuple:
    return difference // 2, difference - difference // 2

"""Padding by reflection, as the ResNet generators use it before their convolutions."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfrecon")
class ReflectionPadding2D(keras.layers.Layer):
    """Pad height and width by mirroring, the edge itself not repeated.

    Args:
        padding: rows and columns added on every side; the input must be larger than that.

    Input shape: (N, H, W, C), H and W above `padding`.
    Output shape: (N, H + 2 padding, W + 2 padding, C), same dtype and values.
    Reference: RaphaelMeudec/deblur-gan@8b4b15d `ReflectionPadding2D`; torch.nn.ReflectionPad2d.
    """

    def __init__(self, padding: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.padding = int(padding)

    def call(self, inputs: Any) -> Any:
        side = (self.padding, self.padding)
        return ops.pad(inputs, [(0, 0), side, side, (0, 0)], mode="reflect")

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        n, h, w, c = input_shape
        return n, *(None if size is None else size + 2 * self.padding for size in (h, w)), c

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": self.padding}

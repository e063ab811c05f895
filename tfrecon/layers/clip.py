"""Limiting values to a range, as the residual output of the CT generator is."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfrecon")
class Clip(keras.layers.Layer):
    """Clip to [minimum, maximum]; the gradient is 1 inside and at the limits, 0 outside, as `torch.clamp` has it.

    Input shape, output shape: any, floating.
    """

    def __init__(self, minimum: float = -1.0, maximum: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.minimum, self.maximum = float(minimum), float(maximum)

    def call(self, inputs: Any) -> Any:
        return ops.clip(inputs, self.minimum, self.maximum)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "minimum": self.minimum, "maximum": self.maximum}

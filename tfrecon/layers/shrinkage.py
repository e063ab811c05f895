"""Layers that make features sparse, as DeepInPy's residual network has them in its middle."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfrecon")
class SoftThreshold(keras.layers.Layer):
    """Move every value towards 0 by `threshold`, those nearer than that to 0.

    Args:
        threshold: at least 0.

    Input shape, output shape: any, same dtype.
    Reference: utcsilab/deepinpy@eafebc7 models/resnet/resnet.py (`l1lam`).
    """

    def __init__(self, threshold: float, **kwargs: Any):
        super().__init__(**kwargs)
        if not threshold >= 0:
            raise ValueError(f"Expected a threshold of at least 0, received {threshold!r}.")
        self.threshold = float(threshold)

    def call(self, inputs: Any) -> Any:
        return ops.relu(inputs - self.threshold) - ops.relu(-inputs - self.threshold)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}


@keras.saving.register_keras_serializable(package="tfrecon")
class KeepLargest(keras.layers.Layer):
    """Keep the `count` values of largest magnitude of each sample, and those equal to the smallest kept; the others become 0.

    Args:
        count: at least 1; all are kept where there are no more.

    Input shape, output shape: (N, H, W, C), same dtype.
    Reference: utcsilab/deepinpy@eafebc7 models/resnet/resnet.py (top-k).
    """

    def __init__(self, count: int, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"Expected count to be a whole number of at least 1, received {count!r}.")
        self.count = count

    def call(self, inputs: Any) -> Any:
        magnitudes = ops.abs(ops.reshape(inputs, (ops.shape(inputs)[0], -1)))
        count = ops.minimum(self.count, ops.shape(magnitudes)[1])
        smallest = ops.take(ops.sort(magnitudes, axis=1), ops.shape(magnitudes)[1] - count, axis=1)
        kept = ops.abs(inputs) >= ops.reshape(smallest, (-1, 1, 1, 1))
        return ops.where(kept, inputs, ops.zeros_like(inputs))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}

"""Instance normalisation whose second derivatives are right, as a gradient penalty needs them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfrecon")
class InstanceNormalization(keras.layers.Layer):
    """Normalise every channel of every sample over height and width with its mean and biased variance.

    Keras' own normalisations stop the gradient at the mean inside the variance: their first derivatives are right, their
    second ones are not, and a gradient penalty through them trains on a wrong gradient. Here the variance is written out.
    Computed in float32 (float64 for float64 inputs) whatever the policy.

    Args:
        epsilon: added to the variance: 1e-3 is tensorflow-addons' default, 1e-5 PyTorch's.
        center, scale: whether there are weights `beta` and `gamma`, one for each channel.

    Input shape, output shape: (N, H, W, C), floating.
    Reference: tensorflow_addons.layers.InstanceNormalization (weights in its order: gamma, beta);
        torch.nn.InstanceNorm2d (`center=False, scale=False, epsilon=1e-5`).
    """

    def __init__(self, epsilon: float = 1e-3, center: bool = True, scale: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.epsilon, self.center, self.scale = float(epsilon), bool(center), bool(scale)

    def build(self, input_shape: tuple) -> None:
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(shape=shape, initializer="ones", name="gamma") if self.scale else None
        self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta") if self.center else None

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        centred = x - ops.mean(x, axis=(1, 2), keepdims=True)
        variance = ops.mean(ops.square(centred), axis=(1, 2), keepdims=True)
        x = centred * ops.rsqrt(variance + self.epsilon)
        if self.gamma is not None:
            x = x * ops.cast(self.gamma, x.dtype)
        if self.beta is not None:
            x = x + ops.cast(self.beta, x.dtype)
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon, "center": self.center, "scale": self.scale}

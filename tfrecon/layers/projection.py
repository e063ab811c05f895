"""The trainable projection that keeps an estimated residual no larger than the noise that is there."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfrecon")
class L2BallProjection(keras.layers.Layer):
    """Shrink every image whose norm is above exp(alpha) * sigma * sqrt(H W C - 1) to that norm; `alpha` is trained.

    Images inside the ball pass unchanged and give alpha no gradient. `sigma` gets none. Computed in float32 at least.

    Args:
        initial_alpha: what the only weight, `alpha` of shape (1,), starts with.

    Input shape: [(N, H, W, C), (N,)], the residual and the standard deviation of the noise in the same units.
    Output shape: (N, H, W, C).
    Reference: RaoUmer/SRResCGAN@cfb4217 modules/l2proj.py `L2Proj`; Lefkimmiatis, "Universal Denoising Networks" (2018).
    Departures: a ball of radius 0 gives 0, also for a residual of 0 (the original: 0 / 0).
    """

    def __init__(self, initial_alpha: float = math.log(2.0), **kwargs: Any):
        super().__init__(**kwargs)
        self.initial_alpha = float(initial_alpha)

    def build(self, input_shape: Any) -> None:
        constant = keras.initializers.Constant(self.initial_alpha)
        # In full precision: alpha stands in an exponent.
        self.alpha = self.add_weight(shape=(1,), initializer=constant, name="alpha", autocast=False)

    def call(self, inputs: Any) -> Any:
        residual, sigma = inputs
        x = ops.cast(residual, keras.backend.result_type(residual.dtype, "float32"))
        _, height, width, channels = ops.shape(x)
        count = ops.cast(height * width * channels - 1, x.dtype)
        radius = ops.exp(ops.cast(self.alpha, x.dtype)) * ops.stop_gradient(ops.cast(sigma, x.dtype)) * ops.sqrt(count)
        power = ops.sum(ops.square(x), axis=(1, 2, 3))
        # Both branches of a where are differentiated: root and quotient must not see the zeros.
        norm = ops.sqrt(ops.where(power > 0, power, ops.ones_like(power)))
        outside = ops.logical_and(power > 0, norm > radius)
        factor = ops.where(outside, radius / norm, ops.ones_like(norm))
        return ops.cast(x * ops.reshape(factor, (-1, 1, 1, 1)), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial_alpha": self.initial_alpha}

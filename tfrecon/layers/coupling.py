"""Coupling layers of a flow: half of the channels is bent by splines whose shape a network reads off the other half."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from .flow_linear import FlowLayer
from .rational_quadratic import unconstrained_spline


@keras.saving.register_keras_serializable(package="tfrecon")
class RationalQuadraticCoupling(FlowLayer):
    """The first ceil(C / 2) channels go through splines, the others stay and feed the network.

    Args:
        network: (N, H, W, floor(C / 2)) -> (N, H, W, ceil(C / 2) (3 num_bins - 1)): for each channel and pixel num_bins widths,
            num_bins heights, num_bins - 1 slopes.
        num_bins: of each spline.
        tail_bound: the spline acts on [-tail_bound, tail_bound]; outside it is the identity.
        width_scale: widths and heights are divided by its root; the network's hidden channels in the original.

    Reference: Durkan et al., "Neural Spline Flows" (2019); bayesiains/nsf@eaa9377 nde/transforms/coupling.py
        `PiecewiseRationalQuadraticCouplingTransform` with linear tails and create_mid_split_binary_mask.
    """

    def __init__(self, network: keras.Model, num_bins: int, tail_bound: float, width_scale: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.network, self.num_bins = network, int(num_bins)
        self.tail_bound, self.width_scale = float(tail_bound), float(width_scale)

    def build(self, input_shape: tuple) -> None:
        channels = input_shape[-1]
        self.bent = (channels + 1) // 2
        seen, wanted = self.network.input_shape[-1], self.network.output_shape[-1]
        if (seen, wanted) != (channels - self.bent, self.bent * (3 * self.num_bins - 1)):
            raise ValueError(f"Expected a network from {channels - self.bent} to {self.bent * (3 * self.num_bins - 1)} channels "
                             f"for {channels} channels and {self.num_bins} bins, received one from {seen} to {wanted}.")

    @property
    def constants(self) -> dict[str, Any]:
        """What the original's state dict holds besides, and means the same in every flow."""
        channels = self.bent + self.network.input_shape[-1]
        return {"transform_features": range(self.bent), "identity_features": range(self.bent, channels)}

    def forward(self, x: Any, training: bool | None = None) -> tuple[Any, Any]:
        return self._bend(x, False, training)

    def inverse(self, y: Any) -> tuple[Any, Any]:
        return self._bend(y, True, False)

    def _bend(self, x: Any, inverse: bool, training: bool | None) -> tuple[Any, Any]:
        bent, kept = x[..., : self.bent], x[..., self.bent :]
        shapes = ops.cast(self.network(kept, training=training), x.dtype)
        n, h, w, _ = ops.shape(x)
        shapes = ops.reshape(shapes, (n, h, w, self.bent, 3 * self.num_bins - 1))
        widths, heights = (shapes[..., i * self.num_bins : (i + 1) * self.num_bins] / math.sqrt(self.width_scale) for i in (0, 1))
        slopes = shapes[..., 2 * self.num_bins :]
        bent, log_slopes = unconstrained_spline(bent, widths, heights, slopes, inverse, self.tail_bound)
        return ops.concatenate([bent, kept], axis=-1), ops.sum(log_slopes, axis=(1, 2, 3))

    def get_config(self) -> dict[str, Any]:
        own = {"num_bins": self.num_bins, "tail_bound": self.tail_bound, "width_scale": self.width_scale}
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RationalQuadraticCoupling:
        return cls(**{**config, "network": keras.saving.deserialize_keras_object(config["network"])})

"""One step of a flow: activation norm and 1x1 convolution, merged into one product, then a coupling."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from .coupling import RationalQuadraticCoupling
from .flow_linear import ActNorm, ChannelMap, Conv1x1LU, FlowLayer, apply_map, undo_map

Map = tuple[Any, Any, Any]  # (matrix or its inverse, offset, log|det|), see ChannelMap


@keras.saving.register_keras_serializable(package="tfrecon")
class FlowStep(FlowLayer):
    """Activation norm, 1x1 LU convolution, rational-quadratic coupling; the first two as a single product.

    Args:
        coupling: the third.
        seed: of the convolution's permutation.

    `forward` and `inverse` take the merged map where it was computed beforehand (`maps`), and compute it otherwise.

    Reference: bayesiains/nsf@eaa9377 experiments/images.py `create_transform_step`.
    """

    def __init__(self, coupling: RationalQuadraticCoupling, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.coupling, self.seed = coupling, int(seed)
        self.actnorm = ActNorm(name=f"{self.name}_actnorm")
        self.linear = Conv1x1LU(seed, name=f"{self.name}_linear")

    def build(self, input_shape: tuple) -> None:
        for layer in (self.actnorm, self.linear, self.coupling):
            layer.build(input_shape)
            layer.built = True

    def forward(self, x: Any, training: bool | None = None, channel_map: Map | None = None) -> tuple[Any, Any]:
        if training and self.trainable:
            self.actnorm.start(x)
        x, first = apply_map(x, *(channel_map or self.channel_map()))
        x, second = self.coupling.forward(x, training)
        return x, first + second

    def inverse(self, y: Any, channel_map: Map | None = None) -> tuple[Any, Any]:
        y, first = self.coupling.inverse(y)
        y, second = undo_map(y, *(channel_map or self.inverse_map()))
        return y, first + second

    def channel_map(self) -> Map:
        """The convolution after the norm: A x + b."""
        (matrix, offset, log), (outer, outer_offset, outer_log) = (m.matrix_and_offset() for m in self._maps())
        return ops.matmul(outer, matrix), _times(outer, offset) + outer_offset, log + outer_log

    def inverse_map(self) -> Map:
        """A^-1 of that, with the same b."""
        (inverse, _, log), (outer, _, outer_log) = (m.inverse_and_offset() for m in self._maps())
        return ops.matmul(inverse, outer), self.channel_map()[1], log + outer_log

    def _maps(self) -> tuple[ChannelMap, ChannelMap]:
        return self.actnorm, self.linear

    def get_config(self) -> dict[str, Any]:
        coupling = keras.saving.serialize_keras_object(self.coupling)
        return {**super().get_config(), "coupling": coupling, "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FlowStep:
        return cls(**{**config, "coupling": keras.saving.deserialize_keras_object(config["coupling"])})


def _times(matrix: Any, vector: Any) -> Any:
    return ops.matmul(matrix, vector[:, None])[:, 0]

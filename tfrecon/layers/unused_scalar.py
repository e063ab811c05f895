"""A scalar of an original network that nothing uses, kept so that its weight files load whole and its count is the same."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="tfrecon")
class UnusedScalar(keras.layers.Layer):
    """The input, unchanged, and one weight that takes no part and is not trained.

    Args:
        weight_name: what the original calls it.

    Input shape, output shape: any.
    """

    def __init__(self, weight_name: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.weight_name = str(weight_name)

    def build(self, input_shape: tuple) -> None:
        self.scalar = self.add_weight(shape=(), initializer="zeros", trainable=False, name=self.weight_name)
        self.built = True

    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight_name": self.weight_name}

"""Reconstructions of complex numbers, seen from outside as real ones: for formats that know no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from ..transforms import channels_to_complex, complex_to_channels

_NOT_FINITE = "the reconstruction is not finite: NaN or infinity in the measured samples, the maps or the weights"


def with_real_inputs(model: keras.Model) -> keras.Model:
    """The reconstruction with complex numbers as two channels, for formats that have none (and for `export`).

    Args:
        model: of `models.unrolled`, or `with_data_consistency`'s.

    Returns:
        A functional model: {"kspace": (N, coils, H, W, 2), "sens_maps": the same, "mask": (N, H, W)}, all real, to
        {"reconstruction": (N, H, W, 2)}. A result that is not finite is an error of the graph, unless XLA compiles it.
    """
    shapes = {"kspace": (None, None, None, 2), "sens_maps": (None, None, None, 2), "mask": (None, None)}
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    outputs = {"reconstruction": RealBorder(model, name="reconstruction")(inputs)}
    return keras.Model(inputs, outputs, name=f"{model.name}_real")


@keras.saving.register_keras_serializable(package="tfrecon")
class RealBorder(keras.layers.Layer):
    """Complex numbers made of channels for a model, and its answer taken apart again."""

    def __init__(self, model: keras.Model, **kwargs: Any):
        super().__init__(**kwargs)
        self.model, self.built = model, True

    def call(self, inputs: Mapping[str, Any]) -> Any:
        maps, kspace = (channels_to_complex(inputs[name]) for name in ("sens_maps", "kspace"))
        answer = complex_to_channels(self.model({"kspace": kspace, "sens_maps": maps, "mask": inputs["mask"]}))
        with tf.control_dependencies([tf.debugging.assert_all_finite(answer, _NOT_FINITE)]):
            return tf.identity(answer)

    def compute_output_shape(self, input_shape: Mapping[str, tuple]) -> tuple:
        return (*input_shape["mask"], 2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**{**config, "model": keras.saving.deserialize_keras_object(config["model"])})

"""Any image-to-image network, made to agree with the measured samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from ..errors import UsageError
from ..layers import DataConsistency
from ..physics.operators import LinearOperator
from ..transforms import channels_to_complex, complex_to_channels
from .measurement import apply_padded, measured_inputs, measurement
from .sizes import check_counts

SCALINGS = ("zero_filled_max", "symmetric", "none")


def with_data_consistency(generator: keras.Model, **options: Any) -> DataConsistent:
    """`DataConsistent(generator, **options)`: the generator's image, its measured samples put back."""
    return DataConsistent(generator, **options)


@keras.saving.register_keras_serializable(package="tfrecon")
class DataConsistent(keras.Model):
    """A network on the zero-filled image, followed by `layers.DataConsistency`.

    A network from 2 to 2 channels sees and gives complex images. Any other sees the zero-filled magnitude, repeated to its
    channels, and gives a magnitude: two channels are a real and an imaginary part whose magnitude counts (the U-Net GAN's),
    others are averaged. Its phase is the zero-filled image's. The image is the whole frame: cropped images have no k-space.

    Args:
        generator: (N, H, W, C) -> (N, H, W, K).
        scaling: what it was trained with: "zero_filled_max", "symmetric" ([-1, 1]) or "none".
        multiple: what its height and width must be multiples of; the image is padded with zeros, and cropped back.
        l2lam, trainable_l2lam, cg_max_iter, cg_eps, centered: of `layers.DataConsistency`; l2lam=0 replaces the samples of a
            single coil, and takes those of several as the measurement has them.

    Call: model({"kspace", "mask", "sens_maps"}) as in `models.unrolled`; without "sens_maps" a single coil's (N, H, W).
    Output shape: complex (N, H, W), in the units of the k-space.
    Reference: Schlemper et al., "A deep cascade of CNNs" (2018); utcsilab/deepinpy@eafebc7 (the closed form).
    """

    def __init__(
        self,
        generator: keras.Model,
        scaling: str = "zero_filled_max",
        multiple: int = 1,
        l2lam: float = 0.0,
        trainable_l2lam: bool = False,
        cg_max_iter: int = 10,
        cg_eps: float = 1e-4,
        centered: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if scaling not in SCALINGS:
            raise UsageError(f"The scaling must be one of {', '.join(SCALINGS)}, received {scaling!r}.")
        check_counts(multiple=multiple)
        self.generator, self.scaling, self.multiple = generator, scaling, int(multiple)
        self.consistency = DataConsistency(l2lam, trainable_l2lam, cg_max_iter, cg_eps, centered, name="consistency",
                                           dtype=self.dtype_policy.variable_dtype)
        self.built = True

    def call(self, inputs: Mapping[str, Any], training: bool | None = None) -> Any:
        inputs = measured_inputs(inputs)
        return self.consistent(self.without(inputs, training), inputs)

    def consistent(self, image: Any, inputs: Mapping[str, Any]) -> Any:
        """A complex image (N, H, W) with the measured samples put back."""
        return self.consistency(image, inputs["kspace"], inputs["mask"], inputs.get("sens_maps"), image)

    def without(self, inputs: Mapping[str, Any], training: bool | None = None) -> Any:
        """The network's own answer, complex (N, H, W), before the measured samples are put back."""
        zero_filled = self.operator(inputs).adjoint(inputs["kspace"])
        real = zero_filled.dtype.real_dtype
        largest = tf.reduce_max(tf.abs(zero_filled), axis=(1, 2), keepdims=True)
        scale = tf.ones_like(largest) if self.scaling == "none" else tf.where(largest > 0, largest, tf.ones_like(largest))
        if self.generator.input_shape[-1] == self.generator.output_shape[-1] == 2:
            answer = self._whole(complex_to_channels(zero_filled / tf.cast(scale, zero_filled.dtype)), training)
            return channels_to_complex(tf.cast(answer, real)) * tf.cast(scale, zero_filled.dtype)
        magnitude = self._magnitude(tf.abs(zero_filled) / scale, training)
        phase = tf.math.divide_no_nan(zero_filled, tf.cast(tf.abs(zero_filled), zero_filled.dtype))
        return tf.cast(tf.cast(magnitude, real) * scale, zero_filled.dtype) * phase

    def operator(self, inputs: Mapping[str, Any]) -> LinearOperator:
        """The measurement of these inputs."""
        return measurement(inputs, self.consistency.centered)

    def _magnitude(self, x: Any, training: bool | None) -> Any:
        """(N, H, W) -> (N, H, W), both in units of the network's own scale."""
        symmetric = self.scaling == "symmetric"
        x = tf.repeat(x[..., None], self.generator.input_shape[-1], axis=-1)
        answer = self._whole(2.0 * x - 1.0 if symmetric else x, training)
        if answer.shape[-1] == 2:
            return tf.norm(answer, axis=-1)
        answer = tf.reduce_mean(answer, axis=-1)
        return (answer + 1.0) / 2.0 if symmetric else answer

    def _whole(self, x: Any, training: bool | None) -> Any:
        """The network's answer at any size."""
        darkest = -1.0 if self.scaling == "symmetric" else 0.0
        try:
            answer = apply_padded(lambda image: self.generator(image, training=training), x, self.multiple, darkest)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            raise UsageError(f"{self.generator.name} cannot take images {tuple(x.shape)} padded to multiples of {self.multiple}: "
                             f"give `multiple`, what its height and width must be multiples of. ({error})") from error
        return tf.cast(answer, self.dtype_policy.variable_dtype)

    def get_config(self) -> dict[str, Any]:
        settings = self.consistency.get_config()
        own = {k: settings[k] for k in ("l2lam", "trainable_l2lam", "cg_max_iter", "cg_eps", "centered")}
        return {**super().get_config(), "generator": keras.saving.serialize_keras_object(self.generator),
                "scaling": self.scaling, "multiple": self.multiple, **own}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> DataConsistent:
        generator = keras.saving.deserialize_keras_object(config["generator"], custom_objects)
        return cls(**{**config, "generator": generator})

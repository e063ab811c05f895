"""Training of the neural spline flow: bits per dimension of dequantised pictures."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ..errors import UsageError
from ..models.served import ServedFlow
from ..models.spline_flow import SplineFlow, bits_per_dimension, log_normal, spline_flow_model
from .base import Trainer
from .optimizers import TorchAdam

_EIGHT_BITS = 8


def dequantise(pictures: Any, num_bits: int, noise: Any) -> Any:
    """Pictures 0..255 in 2^num_bits levels, spread over [level, level + 1): floor(pictures / 2^(8 - num_bits)) + noise.

    Args:
        pictures: (N, H, W, C), real; values outside 0..255 end in levels outside.
        num_bits: 1 to 8.
        noise: uniform in [0, 1), of the same shape.

    Reference: SamiKhandker/ImprovingMRIQuality@9f53d9e cell 5; bayesiains/nsf@eaa9377 data/base.py.
    """
    return ops.floor(pictures / 2.0 ** (_EIGHT_BITS - num_bits)) + noise


def to_pictures(values: Any, num_bits: int) -> Any:
    """Values 0..2^num_bits of a flow as pictures in [0, 1]: their levels, clip(floor(values) 2^(8 - num_bits) / 255, 0, 1)."""
    return ops.clip(ops.floor(values) * 2.0 ** (_EIGHT_BITS - num_bits) / 255.0, 0.0, 1.0)


@keras.saving.register_keras_serializable(package="tfrecon")
class SplineFlowTrainer(Trainer):
    """A `SplineFlow` trained by maximum likelihood.

    Batches are pictures (N, H, W, C) in 0..255 (of tuples the first element): brought to the flow's levels, then uniform noise
    in [0, 1) is added, so that a density on numbers bounds the probability of the levels. `call` returns the log-density
    (N,), in nats, of values 0..2^num_bits, without noise.

    Args:
        flow: None: the seed's, `spline_flow_model()`.
        seed: of the noise; its state is saved. Validation adds the same noise in every epoch.

    Logs: loss, and in validation bits_per_dim: -log2 density / number of values, lower is better; 4 for four bits says
        that the flow has learned nothing.
    Reference: Durkan et al. (2019); SamiKhandker/ImprovingMRIQuality@9f53d9e cells 5 to 10.
    """

    _optimizer_names = ("optimizer",)
    _expected_range = (32.0, 255.0)
    _range_advice = "a flow's pictures are 0..255. Scale them so."

    def __init__(self, flow: SplineFlow | None = None, seed: int = 0, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.flow = spline_flow_model() if flow is None else flow
        self.seed = int(seed)
        self.noise = keras.random.SeedGenerator(self.seed)
        self.train_metrics = [keras.metrics.Mean(name="loss")]
        self.test_metrics = [keras.metrics.Mean(name="bits_per_dim")]
        self.built = True

    @property
    def generator(self) -> SplineFlow:
        """The flow, under the name all training classes have for the network worth keeping."""
        return self.flow

    def compile(self, optimizer: Any = None, learning_rate: Any = 1.5e-3, **kwargs: Any) -> None:
        """Take the optimizer; None: Adam in PyTorch's form at `learning_rate` (the seed's; number or Keras schedule).

        kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution` of Keras.
        """
        self.compile_optimizers({"optimizer": optimizer or TorchAdam(learning_rate)}, **kwargs)

    def variables_of(self, optimizer_name: str) -> list:
        return self.flow.trainable_variables

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        latents, log_determinant = self.flow(inputs, training=training)  # called: clears a mixed policy's casts
        return log_determinant + log_normal(latents)

    def served(self) -> ServedFlow:
        """Latents to pictures as other programs run it."""
        return ServedFlow(self.flow)

    def export(self, filepath: Any, format: str = "tf_saved_model", **kwargs: Any) -> None:
        """Keras' `export` of `served`."""
        self.served().export(filepath, format, **kwargs)

    def dequantised(self, pictures: Any, seed: Any) -> Any:
        """Pictures 0..255 as the flow's values, with noise from `seed`."""
        pictures = ops.cast(pictures, self.variable_dtype)
        noise = keras.random.uniform(ops.shape(pictures), dtype=self.variable_dtype, seed=seed)
        return dequantise(pictures, self.flow.num_bits, noise)

    def train_step(self, data: Any) -> dict[str, Any]:
        values = self.dequantised(_pictures(data), self.noise)
        with tf.GradientTape() as tape:
            loss = self._loss(values, True)
            scaled = self.scaled(self.optimizer, loss)
        self.minimize(self.optimizer, tape, scaled, self.variables_of("optimizer"))
        self.train_metrics[0].update_state(loss)
        return {m.name: m.result() for m in self.train_metrics}

    def test_step(self, data: Any) -> dict[str, Any]:
        pictures = _pictures(data)
        loss = self._loss(self.dequantised(pictures, self.seed), False)
        self.test_metrics[0].update_state(loss, sample_weight=ops.shape(pictures)[0])
        return {m.name: m.result() for m in self.test_metrics}

    def _loss(self, values: Any, training: bool) -> Any:
        return bits_per_dimension(ops.mean(self(values, training=training)), self.flow.latent_size)

    def check_channels(self, x: np.ndarray) -> None:
        if tuple(x.shape[1:]) != self.flow.image_shape:
            raise UsageError(f"This flow takes pictures (N, {', '.join(map(str, self.flow.image_shape))}), received "
                             f"{x.shape}. Crop or resize them, or build a flow of that size.")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "flow": keras.saving.serialize_keras_object(self.flow), "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SplineFlowTrainer:
        return cls(**{**config, "flow": keras.saving.deserialize_keras_object(config["flow"])})


def _pictures(data: Any) -> Any:
    return data[0] if isinstance(data, (tuple, list)) else data

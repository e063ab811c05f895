"""Training of the U-Net GAN (seed 001)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from .. import losses
from ..layers import Magnitude
from .base import Trainer
from .optimizers import torch_optimizer


@keras.saving.register_keras_serializable(package="tfrecon")
class UNetGAN(Trainer):
    """A U-Net whose output magnitude a discriminator judges, with an optional reconstruction term.

    `call` returns the reconstruction: the magnitude of the generator's two channels.

    One step, as seed 001: the fake is computed once in training mode; the discriminator takes one step on
    loss(D(target), 1) + loss(D(fake), 0); the generator takes one step on loss(D(fake), 1) through the SAME fake with the
    UPDATED discriminator.

    The seed's GAN has nothing that ties an output to its own target: any realistic image satisfies it. That is the
    faithful setting (`reconstruction_weight=0`, the default). Set `reconstruction_weight` (100 with `l1` is what
    `tfrecon train` recommends) to reconstruct the patient rather than some patient.

    Args:
        generator: (N, H, W, 1) -> (N, H, W, 2).
        discriminator: (N, H, W, 1) -> (N, 1) probability.
        loss: adversarial loss for both, a name in `tfrecon.losses.LOSSES`: kldiv (the seed's, gives D no gradient
            from fakes), bce, bce_logits (squashes twice, as the seed), mse, l1. With "ssim" both networks would be
            compared on images, where D has no part: the generator minimises 1 - SSIM(target, fake) and D rests
            (the seed computed this outside the graph and trained nothing).
        reconstruction_weight: factor of the reconstruction term.
        reconstruction_loss: its name, usually l1.

    Value range: inputs and targets about [0, 1] (both divided by the zero-filled maximum); targets may exceed 1.
    Reference: seed 001, cells 11-17; milesial/Pytorch-UNet@9fd386f.
    Departures: validation runs in inference mode (the seed's updated batch statistics there); a magnitude of exactly 0
        has gradient 0 instead of NaN.
    """

    _optimizer_names = ("g_optimizer", "d_optimizer")

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        loss: str = "bce",
        reconstruction_weight: float = 0.0,
        reconstruction_loss: str = "l1",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.generator = generator
        self.discriminator = discriminator
        self.adversarial_name, self.reconstruction_name = loss, reconstruction_loss
        self.adversarial_loss = losses.get(loss)
        self.reconstruction_loss = losses.get(reconstruction_loss)
        self.reconstruction_weight = float(reconstruction_weight)
        # In full precision also under mixed_float16, as everything the losses see.
        self.magnitude = Magnitude(name="magnitude", dtype=self.dtype_policy.variable_dtype)
        self.train_metrics = [keras.metrics.Mean(name=n) for n in ("g_loss", "d_loss", "reconstruction_loss")]
        self.test_metrics = [keras.metrics.Mean(name=n) for n in ("ssim", "psnr", "l1")]
        self(keras.Input(generator.input_shape[1:]))

    def compile(self, g_optimizer: Any = "adam", d_optimizer: Any = None, learning_rate: Any = 2e-4, **kwargs: Any):
        """Take the two optimizers: adam, adamw, adagrad in PyTorch's form, or Keras optimizers.

        Args:
            g_optimizer: the generator's.
            d_optimizer: the discriminator's; None takes the same name with its own state.
            learning_rate: for optimizers given by name.
            kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution` of Keras.
        """
        if d_optimizer is None:
            d_optimizer = g_optimizer if isinstance(g_optimizer, str) else g_optimizer.from_config(g_optimizer.get_config())
        pair = {"g_optimizer": g_optimizer, "d_optimizer": d_optimizer}
        named = {k: torch_optimizer(v, learning_rate) if isinstance(v, str) else v for k, v in pair.items()}
        self.compile_optimizers(named, **kwargs)

    def variables_of(self, optimizer_name: str) -> list:
        network = self.generator if optimizer_name == "g_optimizer" else self.discriminator
        return network.trainable_variables

    @property
    def g_optimizer(self) -> Any:
        return self.optimizer

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.magnitude(self.generator(inputs, training=training))

    def train_step(self, data: Any) -> dict[str, Any]:
        image, target = data[0], data[1]
        with tf.GradientTape() as tape:
            fake = self(image, training=True)
            with tape.stop_recording():
                d_loss = self._discriminator_step(target, fake)
            g_loss, reconstruction = self._generator_loss(target, fake)
            scaled = self.scaled(self.g_optimizer, g_loss)
        self.minimize(self.g_optimizer, tape, scaled, self.generator.trainable_variables)
        for metric, value in zip(self.train_metrics, (g_loss, d_loss, reconstruction)):
            metric.update_state(value)
        return {m.name: m.result() for m in self.train_metrics}

    def _score(self, image: Any) -> Any:
        return ops.cast(self.discriminator(image, training=True), self.variable_dtype)

    def _discriminator_step(self, target: Any, fake: Any) -> Any:
        if self.adversarial_name == "ssim":
            return ops.zeros(())
        with tf.GradientTape() as tape:
            real_score, fake_score = self._score(target), self._score(fake)
            loss = self.adversarial_loss(ops.ones_like(real_score), real_score)
            loss += self.adversarial_loss(ops.zeros_like(fake_score), fake_score)
            scaled = self.scaled(self.d_optimizer, loss)
        self.minimize(self.d_optimizer, tape, scaled, self.discriminator.trainable_variables)
        return loss

    def _generator_loss(self, target: Any, fake: Any) -> tuple[Any, Any]:
        if self.adversarial_name == "ssim":
            loss = self.adversarial_loss(target, fake)
        else:
            score = self._score(fake)
            loss = self.adversarial_loss(ops.ones_like(score), score)
        reconstruction = self.reconstruction_loss(target, fake)
        if self.reconstruction_weight:
            loss += self.reconstruction_weight * reconstruction
        return loss, reconstruction

    def test_step(self, data: Any) -> dict[str, Any]:
        """val_ssim, val_psnr, val_l1, means over slices, in inference mode.

        With `create_paired_dataset(..., metadata=True)` the data range is the volume's maximum, fastMRI's. Without
        it, each target slice's own maximum has to serve, which gives lower numbers; `tfrecon evaluate` is the judge.
        """
        image, target = data[0], data[1]
        facts = data[2] if len(data) > 2 and isinstance(data[2], dict) else {}
        data_range = facts["data_range"] if facts else ops.max(target, axis=(1, 2, 3))
        # A black volume scores nothing: it has no range, and is left out of the means.
        judged = ops.cast(data_range > 0, "float32")
        data_range = ops.where(data_range > 0, data_range, ops.ones_like(data_range))
        output = self(image, training=False)
        error = ops.mean(ops.square(output - target), axis=(1, 2, 3))
        psnr = 10.0 * ops.log10(ops.square(data_range) / ops.maximum(error, 1e-20))
        l1 = ops.mean(ops.abs(target - output), axis=(1, 2, 3))
        values = (losses.ssim_per_image(target, output, data_range), psnr, l1)
        for metric, value in zip(self.test_metrics, values):
            metric.update_state(value, sample_weight=judged)
        return {m.name: m.result() for m in self.test_metrics}

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "generator": serialize(self.generator),
            "discriminator": serialize(self.discriminator),
            "loss": self.adversarial_name,
            "reconstruction_weight": self.reconstruction_weight,
            "reconstruction_loss": self.reconstruction_name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> UNetGAN:
        networks = {k: keras.saving.deserialize_keras_object(config[k]) for k in ("generator", "discriminator")}
        return cls(**{**config, **networks})

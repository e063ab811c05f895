"""Training of the U-Net GAN (seed 001)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from .. import losses
from ..layers import Magnitude
from .gan import GAN
from .optimizers import torch_optimizer


@keras.saving.register_keras_serializable(package="tfrecon")
class UNetGAN(GAN):
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

    _log_names = ("g_loss", "d_loss", "reconstruction_loss")

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        loss: str = "bce",
        reconstruction_weight: float = 0.0,
        reconstruction_loss: str = "l1",
        **kwargs: Any,
    ):
        super().__init__(generator, discriminator, symmetric=False, **kwargs)
        self.adversarial_name, self.reconstruction_name = loss, reconstruction_loss
        self.adversarial_loss = losses.get(loss)
        self.reconstruction_loss = losses.get(reconstruction_loss)
        self.reconstruction_weight = float(reconstruction_weight)
        # In full precision also under mixed_float16, as everything the losses see.
        self.magnitude = Magnitude(name="magnitude", dtype=self.dtype_policy.variable_dtype)
        self(keras.Input(generator.input_shape[1:]))

    def compile(self, g_optimizer: Any = "adam", d_optimizer: Any = None, learning_rate: Any = 2e-4, **kwargs: Any):
        """Take the two optimizers: adam, adamw, adagrad in PyTorch's form, or Keras optimizers.

        Args:
            g_optimizer: the generator's.
            d_optimizer: the discriminator's; None takes the same name with its own state.
            learning_rate: for optimizers given by name.
            kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution` of Keras.
        """
        if isinstance(g_optimizer, str) and d_optimizer is None:
            d_optimizer = g_optimizer
        pair = (torch_optimizer(o, learning_rate) if isinstance(o, str) else o for o in (g_optimizer, d_optimizer))
        super().compile(*pair, **kwargs)

    def default_optimizer(self, learning_rate: Any) -> keras.optimizers.Optimizer:
        return torch_optimizer("adam", learning_rate)

    @property
    def finish(self) -> Any:
        """The magnitude of the generator's answer."""
        return self.magnitude

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
        return self.log(g_loss, d_loss, reconstruction)

    def _score(self, image: Any) -> Any:
        return self.full_precision(self.discriminator(image, training=True))

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

    def own_config(self) -> dict[str, Any]:
        return {
            "loss": self.adversarial_name,
            "reconstruction_weight": self.reconstruction_weight,
            "reconstruction_loss": self.reconstruction_name,
        }

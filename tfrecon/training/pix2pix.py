"""Training of Pix2Pix, the comparator of seed 003."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from .. import losses
from .gan import GAN
from .optimizers import TorchAdam


@keras.saving.register_keras_serializable(package="tfrecon")
class Pix2Pix(GAN):
    """A U-Net generator under an L1 loss and a critic that sees input and output together.

    One step: the fake is computed once, in training mode; the critic takes one step on half of
    BCE(D(x, fake), 0) + BCE(D(x, target), 1); the generator one on BCE(D(x, fake), 1) + l1_weight * L1 through the same
    fake with the updated critic.

    Args:
        generator: (N, H, W, C) -> (N, H, W, C).
        discriminator: (N, H, W, 2 C), the input first -> probabilities.
        l1_weight: 100.

    Value range: images in [-1, 1].
    Reference: Isola et al. (2017); KupynOrest/DeblurGAN@00f6ab1 models/pix2pix_model.py.
    Departures: none; the original's loss for unequal pairs (`xrange`, a missing argument) never ran there.
    """

    _log_names = ("g_loss", "d_loss", "content_loss")

    def __init__(self, generator: keras.Model, discriminator: keras.Model, l1_weight: float = 100.0, **kwargs: Any):
        super().__init__(generator, discriminator, **kwargs)
        self.l1_weight = float(l1_weight)
        self(keras.Input(generator.input_shape[1:]))

    def compile(self, g_optimizer: Any = None, d_optimizer: Any = None, learning_rate: Any = 2e-4, **kwargs: Any) -> None:
        """As `GAN.compile`, with the published rate of 2e-4."""
        super().compile(g_optimizer, d_optimizer, learning_rate, **kwargs)

    def default_optimizer(self, learning_rate: Any) -> keras.optimizers.Optimizer:
        return TorchAdam(learning_rate, beta_1=0.5, beta_2=0.999, epsilon=1e-8)

    def train_step(self, data: Any) -> dict[str, Any]:
        image, target = data[0], data[1]
        with tf.GradientTape() as tape:
            fake = self(image, training=True)
            with tape.stop_recording():
                d_loss = self._critic_step(image, target, fake)
            content, score = losses.l1(target, fake), self._score(image, fake)
            loss = losses.bce(ops.ones_like(score), score) + self.l1_weight * content
            scaled = self.scaled(self.g_optimizer, loss)
        self.minimize(self.g_optimizer, tape, scaled, self.generator.trainable_variables)
        return self.log(loss, d_loss, content)

    def _critic_step(self, image: Any, target: Any, fake: Any) -> Any:
        with tf.GradientTape() as tape:
            fake_score, real_score = self._score(image, fake), self._score(image, target)
            loss = losses.bce(ops.zeros_like(fake_score), fake_score) + losses.bce(ops.ones_like(real_score), real_score)
            scaled = self.scaled(self.d_optimizer, 0.5 * loss)
        self.minimize(self.d_optimizer, tape, scaled, self.discriminator.trainable_variables)
        return 0.5 * loss

    def _score(self, image: Any, output: Any) -> Any:
        pair = ops.concatenate([self.full_precision(image), output], axis=-1)
        return self.full_precision(self.discriminator(pair, training=True))

    def own_config(self) -> dict[str, Any]:
        return {"l1_weight": self.l1_weight}

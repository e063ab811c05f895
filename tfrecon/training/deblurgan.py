"""Training of DeblurGAN for MRI (seed 000, after RaphaelMeudec/deblur-gan)."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from .. import losses
from ..errors import UsageError
from ..layers import frozen_statistics
from ..models.sizes import check_counts
from .gan import GAN, content_function, serializable

_STATISTICS = ("batch", "moving")


@keras.saving.register_keras_serializable(package="tfrecon")
class DeblurGAN(GAN):
    """A ResNet generator under a perceptual loss and a sigmoid critic with Wasserstein labels.

    One step, as the original: the images are generated once, in INFERENCE mode; the critic takes `critic_updates` times
    one step on (target, +1) and one on (generated, -1); then the generator takes one step, in training mode, on
    content_weight * content(target, G(x)) + mean(D(G(x))) with the critic frozen.

    Args:
        generator: (N, H, W, C) -> (N, H, W, C).
        discriminator: (N, H, W, C) -> (N, 1), in (0, 1).
        critic_updates: 5.
        content: `losses.PerceptualLoss("vgg16", "block3_conv3")` when None; "l1" is what seed 000's text uses at 8x.
        content_weight: 100.
        critic_statistics: what the frozen critic's batch norms do in the generator's step. "batch" (the default): the
            batch's statistics, the moving ones untouched, as stand-alone Keras 2, which the authors used. "moving": the
            moving ones, as `trainable = False` means in TensorFlow 2 and Keras 3.
        gradient_penalty_weight: 0, as the original is coded; the text speaks of one. Otherwise a penalty with the norm of
            each whole image is added to every critic step on generated images.
        swapped: train the other way round, as seed 000's mixed-up arguments did: from the full image to the masked one.
        symmetric: images are in [-1, 1]; False: whatever they are (seed 000 fed raw magnitudes of 1e-4).
        seed: of the penalty's interpolation.

    Value range: inputs and targets in [-1, 1] (`scaling="symmetric"`).
    Reference: RaphaelMeudec/deblur-gan@8b4b15d scripts/train.py; seed 000.
    Departures: the perceptual network is built once (the original: at every call).
    """

    _log_names = ("g_loss", "d_loss", "content_loss", "adversarial_loss")

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        critic_updates: int = 5,
        content: Any = None,
        content_weight: float = 100.0,
        critic_statistics: str = "batch",
        gradient_penalty_weight: float = 0.0,
        swapped: bool = False,
        symmetric: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(generator, discriminator, symmetric, **kwargs)
        if critic_statistics not in _STATISTICS:
            raise UsageError(f"critic_statistics must be batch or moving, received {critic_statistics!r}.")
        check_counts(critic_updates=critic_updates)
        self.critic_updates = critic_updates
        self.critic_steps = 2 * self.critic_updates
        self.content = losses.PerceptualLoss("vgg16", "block3_conv3") if content is None else content
        self.content_loss = content_function(self.content)
        self.content_weight = float(content_weight)
        self.critic_statistics = critic_statistics
        self.gradient_penalty_weight, self.seed = float(gradient_penalty_weight), seed
        self.swapped = bool(swapped)
        self.random = keras.random.SeedGenerator(seed)
        self(keras.Input(generator.input_shape[1:]))

    def default_optimizer(self, learning_rate: Any) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8)

    def train_step(self, data: Any) -> dict[str, Any]:
        image, target = (data[1], data[0]) if self.swapped else (data[0], data[1])
        generated = ops.stop_gradient(self(image, training=False))
        d_losses = [self._critic_update(target, generated) for _ in range(self.critic_updates)]
        with tf.GradientTape() as tape:
            fake = self.generated(image)
            content = self.content_loss(target, fake)
            adversarial = losses.wasserstein(1.0, self._frozen_score(fake))
            loss = self.content_weight * content + adversarial
            scaled = self.scaled(self.g_optimizer, loss)
        self.minimize(self.g_optimizer, tape, scaled, self.generator.trainable_variables)
        return self.log(loss, sum(d_losses) / len(d_losses), content, adversarial)

    def _critic_update(self, target: Any, generated: Any) -> Any:
        """One step on real images, one on generated ones; the original logs half of their sum."""
        real = self._critic_step(target, 1.0, None)
        return 0.5 * (real + self._critic_step(generated, -1.0, target))

    def _critic_step(self, images: Any, label: float, real: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = losses.wasserstein(label, self.judged(images))
            penalised = loss
            if real is not None and self.gradient_penalty_weight:
                penalised = loss + self._penalty(real, images)
            scaled = self.scaled(self.d_optimizer, penalised)
        self.minimize(self.d_optimizer, tape, scaled, self.discriminator.trainable_variables)
        return loss

    def _penalty(self, real: Any, generated: Any) -> Any:
        alpha = keras.random.uniform((ops.shape(real)[0], 1, 1, 1), seed=self.random)
        with frozen_statistics():  # interpolated images are no images the critic will ever be asked about
            return losses.gradient_penalty(
                self.network("discriminator"), real, generated, alpha, self.gradient_penalty_weight, norm="sample"
            )

    def _frozen_score(self, images: Any) -> Any:
        batch = self.critic_statistics == "batch"
        with frozen_statistics() if batch else nullcontext():
            return self.judged(images, training=batch)

    def own_config(self) -> dict[str, Any]:
        names = ("critic_updates", "content_weight", "critic_statistics", "gradient_penalty_weight", "swapped", "symmetric",
                 "seed")
        return {"content": serializable(self.content), **{name: getattr(self, name) for name in names}}

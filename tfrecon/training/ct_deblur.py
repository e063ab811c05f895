"""Training of the CT DeblurGAN (seed 003, after KupynOrest/DeblurGAN): WGAN-GP with a perceptual loss."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from .. import losses
from ..errors import UsageError
from ..losses.wasserstein import PENALTY_NORMS
from ..models.sizes import check_counts
from .gan import GAN, content_function, serializable
from .optimizers import TorchAdam


@keras.saving.register_keras_serializable(package="tfrecon")
class CTDeblurGAN(GAN):
    """A ResNet generator under a perceptual loss and a Wasserstein critic with gradient penalty.

    One step, as the original: the fake is computed once, in training mode; the critic takes `critic_updates` steps on
    mean D(fake) - mean D(sharp) + penalty; then the generator takes one step on -mean D(fake) + content_weight * content
    through the SAME fake with the updated critic.

    Args:
        generator, discriminator: as `models.ct_deblur` builds them.
        critic_updates: 5.
        gradient_penalty_weight: 10.
        penalty_norm: "pixel", the original's norm over the channels of every pixel, with one interpolation for the whole
            batch; "sample", the paper's norm of each whole image, with one interpolation for each.
        content: `losses.PerceptualLoss("vgg19", "block3_conv3", pre_activation=True)` when None, the original's mean
            square; seed 003 takes distance="mae".
        content_weight: lambda, 100 in the original; seed 003 says "greater" without a number.
        adversarial: False trains the generator on the content loss alone and lets the critic rest: the first phase of seed
            003's other recipe (`callbacks.GeneratorFirst` switches it).
        seed: of the interpolations.

    Value range: images in [-1, 1].
    Reference: KupynOrest/DeblurGAN@00f6ab1 models/conditional_gan_model.py, models/losses.py; seed 003.
    Departures: none in a step; the image pool the original fills and never asks is left out.
    """

    _log_names = ("g_loss", "d_loss", "content_loss", "penalty")

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        critic_updates: int = 5,
        gradient_penalty_weight: float = 10.0,
        penalty_norm: str = "pixel",
        content: Any = None,
        content_weight: float = 100.0,
        adversarial: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(generator, discriminator, **kwargs)
        if penalty_norm not in PENALTY_NORMS:
            raise UsageError(f"penalty_norm must be one of {', '.join(PENALTY_NORMS)}, received {penalty_norm!r}.")
        check_counts(critic_updates=critic_updates)
        self.critic_updates = self.critic_steps = critic_updates
        self.gradient_penalty_weight, self.penalty_norm = float(gradient_penalty_weight), penalty_norm
        self.content = losses.PerceptualLoss(pre_activation=True) if content is None else content
        self.content_loss = content_function(self.content)
        self.content_weight, self.adversarial, self.seed = float(content_weight), bool(adversarial), seed
        self.random = keras.random.SeedGenerator(seed)
        self(keras.Input(generator.input_shape[1:]))

    def default_optimizer(self, learning_rate: Any) -> keras.optimizers.Optimizer:
        return TorchAdam(learning_rate, beta_1=0.5, beta_2=0.999, epsilon=1e-8)

    def train_step(self, data: Any) -> dict[str, Any]:
        image, target = data[0], data[1]
        d_loss = penalty = ops.zeros(())
        with tf.GradientTape() as tape:
            fake = self.generated(image)
            content = self.content_loss(target, fake)
            loss = self.content_weight * content
            if self.adversarial:
                with tape.stop_recording():
                    d_loss, penalty = self._critic_steps(target, fake)
                loss = loss - ops.mean(self.judged(fake))
            scaled = self.scaled(self.g_optimizer, loss)
        self.minimize(self.g_optimizer, tape, scaled, self.generator.trainable_variables)
        return self.log(loss, d_loss, content, penalty)

    def _critic_steps(self, target: Any, fake: Any) -> tuple[Any, Any]:
        """Mean loss and mean penalty over the critic's steps."""
        steps = [self._critic_step(target, fake) for _ in range(self.critic_updates)]
        return tuple(sum(values) / len(steps) for values in zip(*steps))

    def _critic_step(self, target: Any, fake: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            difference = ops.mean(self.judged(fake)) - ops.mean(self.judged(target))
            penalty = losses.gradient_penalty(
                self.network("discriminator"), target, fake, self.draw_alpha(target), self.gradient_penalty_weight,
                self.penalty_norm
            )
            loss = difference + penalty
            scaled = self.scaled(self.d_optimizer, loss)
        self.minimize(self.d_optimizer, tape, scaled, self.discriminator.trainable_variables)
        return loss, penalty

    def draw_alpha(self, images: Any) -> Any:
        """The shares of the sharp images in the interpolation: one for the batch, or one for each image."""
        shape = () if self.penalty_norm == "pixel" else (ops.shape(images)[0], 1, 1, 1)
        return keras.random.uniform(shape, seed=self.random)

    def own_config(self) -> dict[str, Any]:
        names = ("critic_updates", "gradient_penalty_weight", "penalty_norm", "content_weight", "adversarial", "seed")
        return {"content": serializable(self.content), **{name: getattr(self, name) for name in names}}

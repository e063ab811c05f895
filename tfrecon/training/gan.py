"""What the pairs of a generator and a critic share: two optimizers, the range of their images, saving."""

from __future__ import annotations

from typing import Any

import keras

from .. import losses
from .by_hand import Twins, few_filters_twin
from .image_trainer import ImageTrainer
from .schedules import per_update


class GAN(ImageTrainer):
    """Base of the training classes with one generator and one critic.

    Subclasses implement `train_step` and `default_optimizer`, name their logs in `_log_names` and their own constructor
    arguments in `own_config`.

    Args:
        generator: (N, H, W, C) -> (N, H, W, K).
        discriminator: what it takes and gives is the subclass's.
        symmetric: inputs, targets and outputs are in [-1, 1]; scores are taken after mapping them to [0, 1].
        content: of subclasses with one; a `losses.PerceptualLoss`, a name in `losses.LOSSES`, or a function.
    """

    _optimizer_names = ("g_optimizer", "d_optimizer")
    _log_names = ("g_loss", "d_loss")
    critic_steps = 1  # optimizer steps of the critic for one of the generator's

    def __init__(self, generator: keras.Model, discriminator: keras.Model, symmetric: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.generator, self.discriminator, self.symmetric = generator, discriminator, bool(symmetric)
        self.train_metrics = [keras.metrics.Mean(name=name) for name in self._log_names]
        self._twins = Twins({"generator": generator, "discriminator": discriminator}, few_filters_twin)

    def default_optimizer(self, learning_rate: Any) -> keras.optimizers.Optimizer:
        """The published optimizer, one new object for each network."""
        raise NotImplementedError

    def compile(self, g_optimizer: Any = None, d_optimizer: Any = None, learning_rate: Any = 1e-4, **kwargs: Any) -> None:
        """Take the two optimizers; None takes the published one at `learning_rate`.

        Args:
            g_optimizer: the generator's, a Keras optimizer.
            d_optimizer: the critic's; None: as the generator's with its own state.
            learning_rate: number or Keras schedule, for optimizers not given. A schedule counts the generator's steps;
                the critic, which takes several, follows the same one.
            kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution` of Keras.
        """
        if d_optimizer is None and g_optimizer is not None:
            d_optimizer = g_optimizer.from_config(g_optimizer.get_config())
        pair = {
            "g_optimizer": g_optimizer or self.default_optimizer(learning_rate),
            "d_optimizer": d_optimizer or self.default_optimizer(per_update(learning_rate, self.critic_steps)),
        }
        self.compile_optimizers(pair, **kwargs)

    def variables_of(self, optimizer_name: str) -> list:
        network = self.generator if optimizer_name == "g_optimizer" else self.discriminator
        return network.trainable_variables

    @property
    def g_optimizer(self) -> Any:
        return self.optimizer

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.full_precision(self.generator(inputs, training=training))

    def network(self, name: str) -> keras.Model:
        """The generator or the discriminator as a step runs it: by hand where that is cheaper, which it is not under XLA."""
        return getattr(self, name) if self.jit_compile else self._twins[name]

    def generated(self, image: Any) -> Any:
        """What `call` gives in training mode, for a step."""
        return self.full_precision(self.network("generator")(image, training=True))

    def judged(self, images: Any, training: bool = True) -> Any:
        """The discriminator's answer, for a step."""
        return self.full_precision(self.network("discriminator")(images, training=training))

    def check_channels(self, x: Any) -> None:
        wanted = self.generator.input_shape[-1]
        if x.shape[-1] != wanted:
            repeat = f"Repeat a grey image with np.repeat(x, {wanted}, -1), or build" if x.shape[-1] == 1 else "Build"
            raise ValueError(f"Expected images with {wanted} channel{'s' * (wanted > 1)}, received shape {x.shape}. {repeat} the "
                             f"model for {x.shape[-1]}.")

    def losses_in_use(self) -> tuple:
        return (getattr(self, "content", None),)

    def magnitude_of(self, images: Any) -> Any:
        """Images as scores are taken on: (N, H, W, 1), [0, 1] for symmetric systems, equal channels averaged."""
        images = self.full_precision(images)
        return super().magnitude_of((images + 1.0) / 2.0 if self.symmetric else images)

    def own_config(self) -> dict[str, Any]:
        """The subclass's constructor arguments besides the networks."""
        return {}

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        networks = {"generator": serialize(self.generator), "discriminator": serialize(self.discriminator)}
        return {**super().get_config(), **networks, **self.own_config()}


def content_function(content: Any) -> Any:
    """The function behind a `content` argument."""
    return losses.get(content) if isinstance(content, str) else content


def serializable(content: Any) -> Any:
    """A `content` argument for a config: names stay, objects become their own configs."""
    return content if isinstance(content, str) else keras.saving.serialize_keras_object(content)

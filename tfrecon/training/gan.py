"""What the pairs of a generator and a critic share: two optimizers, validation scores, saving."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from .. import losses
from ..errors import UsageError
from .base import Trainer
from .schedules import per_update


class GAN(Trainer):
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
        self.test_metrics = [keras.metrics.Mean(name=name) for name in ("ssim", "psnr", "l1")]

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

    def full_precision(self, x: Any) -> Any:
        """What losses see: float32 also under a mixed policy."""
        return ops.cast(x, self.variable_dtype)

    def check_channels(self, x: Any) -> None:
        wanted = self.generator.input_shape[-1]
        if x.shape[-1] != wanted:
            raise ValueError(f"Expected images with {wanted} channels, received shape {x.shape}. Repeat a grey image "
                             f"with np.repeat(x, {wanted}, -1), or build the model for {x.shape[-1]}.")

    def prepare_losses(self) -> None:
        """Build what a loss owns now, so that missing weights are told before the first step, and outside its graph."""
        content = getattr(self, "content", None)
        if isinstance(content, losses.PerceptualLoss):
            with self.distribute_strategy.scope():
                content.features  # noqa: B018 built at the first use

    def make_train_function(self, force: bool = False) -> Any:
        self.prepare_losses()
        return super().make_train_function(force)

    def log(self, *values: Any) -> dict[str, Any]:
        """Update the training metrics in their order and return all of them."""
        for metric, value in zip(self.train_metrics, values, strict=True):
            metric.update_state(value)
        return {m.name: m.result() for m in self.train_metrics}

    def magnitude_of(self, images: Any) -> Any:
        """Images as scores are taken on: (N, H, W, 1), [0, 1] for symmetric systems, equal channels averaged."""
        images = self.full_precision(images)
        images = (images + 1.0) / 2.0 if self.symmetric else images
        return ops.mean(images, axis=-1, keepdims=True)

    def test_step(self, data: Any) -> dict[str, Any]:
        """val_ssim, val_psnr, val_l1, means over slices, in inference mode.

        With the facts of `create_paired_dataset(..., metadata=True)` the data range is theirs: the volume's maximum for
        MRI (fastMRI's), the window for CT. Without them each target slice's own maximum has to serve, which gives lower
        numbers; `tfrecon evaluate` is the judge.
        """
        image, target = data[0], data[1]
        facts = data[2] if len(data) > 2 and isinstance(data[2], dict) else {}
        values, judged = self.scores(self(image, training=False), target, facts.get("data_range"))
        for metric, value in zip(self.test_metrics, values):
            metric.update_state(value, sample_weight=judged)
        return {m.name: m.result() for m in self.test_metrics}

    def scores(self, output: Any, target: Any, data_range: Any = None) -> tuple[tuple[Any, Any, Any], Any]:
        """`slice_scores` of what `magnitude_of` makes of the images."""
        return slice_scores(self.magnitude_of(output), self.magnitude_of(target), data_range)

    def own_config(self) -> dict[str, Any]:
        """The subclass's constructor arguments besides the networks."""
        return {}

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        networks = {"generator": serialize(self.generator), "discriminator": serialize(self.discriminator)}
        return {**super().get_config(), **networks, **self.own_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GAN:
        nested = {k: keras.saving.deserialize_keras_object(v) for k, v in config.items()
                  if isinstance(v, dict) and "class_name" in v}
        return cls(**{**config, **nested})


def slice_scores(output: Any, target: Any, data_range: Any = None) -> tuple[tuple[Any, Any, Any], Any]:
    """((SSIM, PSNR, L1), weight), each (N,), of grey images (N, H, W, 1).

    `data_range` (N,) is the volumes'; None takes each target's own maximum. The weight is 0 for black ones, which have none.
    """
    data_range = ops.max(target, axis=(1, 2, 3)) if data_range is None else data_range
    judged = ops.cast(data_range > 0, "float32")
    data_range = ops.where(data_range > 0, data_range, ops.ones_like(data_range))
    error = ops.mean(ops.square(output - target), axis=(1, 2, 3))
    psnr = 10.0 * ops.log10(ops.square(data_range) / ops.maximum(error, 1e-20))
    l1 = ops.mean(ops.abs(target - output), axis=(1, 2, 3))
    return (losses.ssim_per_image(target, output, data_range), psnr, l1), judged


def content_function(content: Any) -> Any:
    """The function behind a `content` argument."""
    return losses.get(content) if isinstance(content, str) else content


def serializable(content: Any) -> Any:
    """A `content` argument for a config: names stay, objects become their own configs."""
    return content if isinstance(content, str) else keras.saving.serialize_keras_object(content)


def check_positive_count(name: str, value: Any) -> int:
    """UsageError unless a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} must be a whole number of at least 1, received {value!r}.")
    return value


"""What a step of SRResCycGAN is made of: its losses and their weights, its optimizer, its tape, and checked pairs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from .. import losses
from ..errors import UsageError

FACTOR = 4
# The generators' losses in the order of the logs, and the attributes that hold their weights.
WEIGHTS = {
    "perceptual": "lambda_perceptual",
    "adversarial": "lambda_adversarial",
    "total_variation": "lambda_total_variation",
    "content": "lambda_content",
    "cyclic": "lambda_cyc",
    "identity": "lambda_identity",
}
REACH_G_LR = ("adversarial", "cyclic", "identity")
REACH_G_HR = tuple(name for name in WEIGHTS if name != "identity")


def adam_opt(
    lr: float = 1e-4, b1: float = 0.9, b2: float = 0.999, decay_steps: float = 1e4, decay_rate: float = 0.5
) -> keras.optimizers.Adam:
    """Keras' Adam (epsilon 1e-7) whose rate is multiplied by `decay_rate` after every `decay_steps` steps, all at once.

    Reference: JanPanjan/SRResCycGAN_MRI (seed 002) src; its `weight_decay=False`, which costs time and does nothing, is left
    out.
    """
    schedule = keras.optimizers.schedules.ExponentialDecay(lr, decay_steps, decay_rate, staircase=True)
    return keras.optimizers.Adam(schedule, beta_1=b1, beta_2=b2)


def default_losses() -> dict[str, Any]:
    """The published losses by name; nothing of the VGG is built or fetched yet."""
    return {
        "adversarial": losses.bce_logits,
        "cyclic": losses.l1,
        "content": losses.l1,
        "perceptual": losses.PerceptualLoss("vgg19", "block3_conv3", preprocess="imagenet"),
        "total_variation": losses.total_variation,
    }


def check_weights(weights: dict[str, float]) -> None:
    """UsageError unless the weights, by attribute, are finite, not negative, and some loss trains G_HR."""
    if any(not 0 <= weight < float("inf") for weight in weights.values()):
        raise UsageError(f"The weights of the losses must be finite and not negative, received {weights}.")
    if not any(weights[WEIGHTS[name]] for name in REACH_G_HR):
        names = ", ".join(WEIGHTS[name] for name in REACH_G_HR)
        raise UsageError(f"No loss is left to train G_HR by, received {weights}. Give one of {names} a weight above 0.")


def as_channels_of(network: keras.Model, images: Any) -> Any:
    """Grey images repeated for a network of more channels, on the device, so that the pipeline carries one."""
    wanted = network.input_shape[-1]
    return ops.repeat(images, wanted, axis=-1) if images.shape[-1] == 1 and wanted != 1 else images


def check_pair(small: Any, large: Any, critic: keras.Model) -> None:
    """UsageError, when the step is traced, for sizes that TensorFlow would refuse deep inside or broadcast."""
    inputs, targets, wanted = tuple(small.shape[1:3]), tuple(large.shape[1:3]), critic.input_shape[1:3]
    if None in inputs + targets:
        return
    if targets != tuple(FACTOR * n for n in inputs):
        raise UsageError(f"Expected targets {FACTOR} times the size of the inputs, received inputs {inputs} and targets "
                         f"{targets}. Cut the targets to a multiple of {FACTOR} before they are reduced.")
    if any(n not in (None, side) for n, side in zip(wanted, targets)):
        raise UsageError(f"Expected targets of {wanted}, for which D_HR was built, received {targets}. Cut patches of that "
                         f"size, or build models.srrescycgan.Discriminator_HR for {targets}.")


class TapeOf(tf.GradientTape):
    """A tape that follows the given Keras variables and nothing else."""

    def __init__(self, variables: Iterable[Any]):
        super().__init__(watch_accessed_variables=False)
        self._followed = [variable.value for variable in variables]

    def __enter__(self) -> TapeOf:
        super().__enter__()
        self.watch(self._followed)
        return self

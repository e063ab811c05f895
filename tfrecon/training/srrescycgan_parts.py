"""What a step of SRResCycGAN is made of: its losses and their weights, its optimizer, its tape, and checked pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from .. import losses
from ..errors import UsageError
from .by_hand import after

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


def check_pair(small: Any, large: Any, critic: keras.Model | None) -> None:
    """UsageError, when the step is traced, for sizes that TensorFlow would refuse deep inside or broadcast.

    A critic of large images fits one size; None where it rests.
    """
    inputs, targets = tuple(small.shape[1:3]), tuple(large.shape[1:3])
    wanted = critic.input_shape[1:3] if critic else (None, None)
    if None in inputs + targets:
        return
    if targets != tuple(FACTOR * n for n in inputs):
        raise UsageError(f"Expected targets {FACTOR} times the size of the inputs, received inputs {inputs} and targets "
                         f"{targets}. Cut the targets to a multiple of {FACTOR} before they are reduced.")
    if any(n not in (None, side) for n, side in zip(wanted, targets)):
        raise UsageError(f"Expected targets of {wanted}, for which D_HR was built, received {targets}. Cut patches of that "
                         f"size, or build models.srrescycgan.Discriminator_HR for {targets}.")


class Part(NamedTuple):
    """Some of a step's losses, and what their gradients are wanted for.

    Attributes:
        losses_of: images by name (small, large, fake_small, fake_large) -> (the critic's loss, the generators' by name).
        fakes: names of the fakes the generators' losses are computed from.
        generators: names of the optimizers whose networks those losses run through once more.
        critics: names of the optimizers of the critic's loss.
    """

    losses_of: Callable[..., tuple[Any, dict[str, Any]]]
    fakes: tuple[str, ...] = ()
    generators: tuple[str, ...] = ()
    critics: tuple[str, ...] = ()


def sum_up(parts: Iterable[tuple[Any, Mapping[str, Any]]]) -> tuple[Any, dict[str, Any]]:
    """What parts gave, summed by name: (the critics' loss, the generators' losses)."""
    d_loss, values = 0.0, {}
    for critic, generators in parts:
        d_loss = d_loss + critic
        for name, value in generators.items():
            values[name] = values[name] + value if name in values else value
    return d_loss, values


class TapeOf(tf.GradientTape):
    """A tape that follows the given Keras variables and tensors and nothing else."""

    def __init__(self, variables: Iterable[Any], tensors: Iterable[Any] = ()):
        super().__init__(watch_accessed_variables=False)
        self._followed = [*(variable.value for variable in variables), *tensors]

    def __enter__(self) -> TapeOf:
        super().__enter__()
        self.watch(self._followed)
        return self


class Gathered:
    """Gradients of a sum of losses, gathered from one part of it after the other.

    A part's tensors come from `waiting`, its gradients go to `add`; what it held in between is then free for the next one.
    """

    def __init__(self) -> None:
        self._sums: dict[str, list] = {}
        self._last: list = []

    def add(self, gradients: Mapping[str, Sequence[Any]]) -> None:
        """Add a part's gradients to the others of the same name."""
        for name, own in gradients.items():
            former = self._sums.get(name)
            self._sums[name] = list(own) if former is None else [a + b for a, b in zip(former, own, strict=True)]
        self._last = [gradient for own in gradients.values() for gradient in own]

    def __getitem__(self, name: str) -> list:
        return self._sums[name]

    def __contains__(self, name: str) -> bool:
        return name in self._sums

    def waiting(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors, not before the last part's gradients are there; see `by_hand.after`."""
        return {name: after(self._last, tensor) for name, tensor in tensors.items()}

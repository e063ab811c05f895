"""What every training class shares: optimizers that survive a restart, one loss scaling, checked inputs.

A training class names its optimizers and the variables each owns, writes its losses in `train_step`, and calls `minimize`
once for each optimizer. Everything else a `keras.Model` does stays as it is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..errors import UsageError
from .workers import average_statistics, fit_across_workers, is_across_workers, separate_random_states


class Trainer(keras.Model):
    """Base of the training classes.

    Subclasses set `_optimizer_names` (attribute name of each optimizer; the first is also Keras' `optimizer`) and
    implement `variables_of(name)`, the trainable variables that optimizer owns. Where their images are not about 1, they say
    between which bounds the largest of a batch is expected, and what to do about others.
    """

    _optimizer_names: Sequence[str] = ()
    _separated = False  # whether every replica draws random numbers of its own already
    _expected_range = (1e-2, 1e3)
    _range_advice = ('the networks here expect about 1. Use scaling="zero_filled_max", or divide the images yourself and '
                     "keep the factor.")

    def prepare_losses(self) -> None:
        """Build what a loss owns, so that missing weights are told before the first step; for subclasses."""

    def variables_of(self, optimizer_name: str) -> list:
        raise AttributeError(f"{type(self).__name__} does not say which variables {optimizer_name} owns.")

    def compile_optimizers(self, optimizers: dict[str, keras.optimizers.Optimizer], **kwargs: Any) -> None:
        """Take the optimizers, build their variables now, and compile.

        Built here, because a checkpoint restored before the first step would otherwise lose them without a word.
        """
        if list(optimizers) != list(self._optimizer_names):
            raise UsageError(f"Expected the optimizers {list(self._optimizer_names)}, received {list(optimizers)}.")
        for name, optimizer in optimizers.items():
            _check_rate(name, optimizer)
            optimizers[name] = optimizer = self._with_loss_scale(optimizer)
            optimizer.build(self.variables_of(name))
        first, *others = self._optimizer_names
        super().compile(optimizer=optimizers[first], **kwargs)
        for name in others:
            setattr(self, name, optimizers[name])
        self._compile_arguments = {**optimizers, **kwargs}

    @property
    def every_variable(self) -> list:
        """The variables of the networks, metrics, random generators and all optimizers."""
        return [*self.variables, *(v for name in self._optimizer_names for v in getattr(self, name).variables)]

    def _with_loss_scale(self, optimizer: Any) -> Any:
        """Keras wraps only optimizers given to its own compile; float16 gradients vanish without the scale."""
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if self.dtype_policy.name == "mixed_float16" and not scaled:
            return keras.optimizers.LossScaleOptimizer(optimizer)
        return optimizer

    def minimize(self, optimizer: Any, tape: tf.GradientTape, loss: Any, variables: list) -> None:
        """One step. `loss` must be scaled by `scaled` while the tape recorded."""
        optimizer.apply(tape.gradient(loss, variables), variables)

    def scaled(self, optimizer: Any, loss: Any) -> Any:
        """The loss as its gradient is to be taken.

        Optimizers SUM gradients over the replicas of a tf.distribute strategy, so a mean loss is divided by their
        number, here and nowhere else. Adam hides a missing division, SGD shows it.
        """
        return optimizer.scale_loss(loss / tf.distribute.get_strategy().num_replicas_in_sync)

    def save_own_variables(self, store: Any) -> None:
        """Keras' saving, and the states of the random generators (dropout, interpolation), which it leaves out."""
        for number, state in enumerate(self._random_states()):
            store[f"random_{number}"] = state.numpy()

    def load_own_variables(self, store: Any) -> None:
        self._separated = False
        for number, state in enumerate(self._random_states()):
            if f"random_{number}" in store.keys():
                state.assign(store[f"random_{number}"])

    def average_statistics(self) -> None:
        """Make the running statistics of all replicas their mean, as they are to be saved and validated with."""
        moving = [v for v in self.variables if v.name in ("moving_mean", "moving_variance")]
        average_statistics(moving, self.distribute_strategy)

    def _random_states(self) -> list:
        return [v for v in self.variables if v.path.endswith("seed_generator_state")]

    def get_compile_config(self) -> dict[str, Any] | None:
        arguments = getattr(self, "_compile_arguments", None)
        return arguments and {key: keras.saving.serialize_keras_object(value) for key, value in arguments.items()}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**{key: keras.saving.deserialize_keras_object(value) for key, value in config.items()})

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Keras' `fit`, after a look at the range of the first batch (see `warn_about_range`); on several workers
        `workers.fit_across_workers`.
        """
        first = first_images(x)
        if first is not None:
            self.check_channels(first)
            warn_about_range(first, self._expected_range, self._range_advice)
        if not self._separated:
            separate_random_states(self._random_states(), self.distribute_strategy)
            self._separated = True
        if is_across_workers(self.distribute_strategy):
            return fit_across_workers(self, x, *args, **kwargs)
        # Keras warns about its own default when the data are a Dataset, which has its order already.
        kwargs.setdefault("shuffle", not isinstance(x, tf.data.Dataset))
        return super().fit(x, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Keras' `predict`, with inputs it would mistake refused: complex values, a missing batch axis, odd sizes."""
        if isinstance(x, (np.ndarray, list, tf.Tensor)):
            x = np.asarray(x)
            self.check_images(x)
            if len(x) == 0:
                return np.zeros((0, *self(keras.Input(x.shape[1:])).shape[1:]), self.variable_dtype)
        try:
            return super().predict(x, *args, **kwargs)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            if isinstance(x, np.ndarray) and (advice := self._size_advice(x.shape[1:])):
                raise ValueError(f"The network cannot take images of {x.shape[1]} x {x.shape[2]}: {advice}") from error
            raise

    def check_images(self, x: np.ndarray) -> None:
        """TypeError or ValueError for an array that is no batch of images for this model."""
        if np.iscomplexobj(x):
            raise TypeError("predict takes real images, received complex values. Take the magnitude, or give real "
                            "and imaginary part as two channels.")
        if x.ndim != 4:
            raise ValueError(f"predict takes (N, H, W, channels), received shape {x.shape}. Add the missing axes.")
        self.check_channels(x)

    def check_channels(self, x: np.ndarray) -> None:
        """For subclasses that know how many channels their images have: ValueError for another number."""

    def _size_advice(self, shape: tuple[int, ...]) -> str:
        """What to do where the network does not take images (H, W, C); empty where it does."""
        if self._takes(shape):
            return ""
        for multiple in (2**n for n in range(1, 10)):
            height, width = (-(-n // multiple) * multiple for n in shape[:2])
            if self._takes((height, width, shape[2])):
                return (f"pad them to multiples of {multiple} ({height} x {width}) and crop the answer; `reconstruct` does both.")
        return "give larger ones."

    def _takes(self, shape: tuple[int, ...]) -> bool:
        try:
            self(keras.Input(shape))
        except ValueError:
            return False
        return True


def _check_rate(name: str, optimizer: keras.optimizers.Optimizer) -> None:
    """UsageError for a learning rate no training survives."""
    rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    if not 0 <= rate < math.inf:
        raise UsageError(f"The learning rate of {name} must be a finite number of at least 0, received {rate}.")


def first_images(x: Any) -> np.ndarray | None:
    """The first batch of inputs, or all of them where they are an array; None for other kinds of data."""
    if isinstance(x, tf.data.Dataset):
        first = next(iter(x.take(1)), None)
        x = first[0] if isinstance(first, (tuple, list)) else first
    return np.asarray(x) if isinstance(x, (np.ndarray, tf.Tensor)) else None


def warn_about_range(x: np.ndarray, expected: tuple[float, float], advice: str) -> None:
    """Warn when the largest magnitude is outside `expected`: such data train to nothing."""
    largest, (low, high) = float(np.max(np.abs(x))) if x.size else 0.0, expected
    if largest and not low <= largest <= high:
        warnings.warn(f"The inputs' largest magnitude is {largest:.3g}, outside {low:g}..{high:g}: {advice}", stacklevel=3)

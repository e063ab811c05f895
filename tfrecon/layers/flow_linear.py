"""The linear layers of a flow: scaling, squeezing, activation norm, 1x1 convolution by an LU decomposition.

Every flow layer has `forward` and `inverse`, images (N, H, W, C) in and (images, log|det| (N,)) out; called, it is `forward`,
with inverse=True `inverse`.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

_MINIMUM_DIAGONAL = 1e-3


class FlowLayer(keras.layers.Layer):
    """An invertible layer; computes in the precision of its variables, for log-determinants are large sums."""

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        if self.compute_dtype != self.variable_dtype:
            self.dtype_policy = keras.DTypePolicy(self.variable_dtype)

    def call(self, inputs: Any, inverse: bool = False, training: bool | None = None) -> tuple[Any, Any]:
        return self.inverse(inputs) if inverse else self.forward(inputs, training)

    def forward(self, x: Any, training: bool | None = None) -> tuple[Any, Any]:
        raise NotImplementedError

    def inverse(self, y: Any) -> tuple[Any, Any]:
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="tfrecon")
class Squeeze(FlowLayer):
    """(N, H, W, C) to (N, H/2, W/2, 4C): channel 4c + 2 dy + dx holds the pixels (2i + dy, 2j + dx) of channel c.

    Reference: bayesiains/nsf@eaa9377 nde/transforms/reshape.py `SqueezeTransform`.
    """

    def forward(self, x: Any, training: bool | None = None) -> tuple[Any, Any]:
        n, h, w, c = ops.shape(x)
        if any(isinstance(size, int) and size % 2 for size in (h, w)):
            raise ValueError(f"{self.name} takes images of even height and width, received {tuple(x.shape)}. Crop or pad them.")
        x = ops.reshape(x, (n, h // 2, 2, w // 2, 2, c))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 5, 2, 4)), (n, h // 2, w // 2, 4 * c)), ops.zeros((n,), x.dtype)

    def inverse(self, y: Any) -> tuple[Any, Any]:
        n, h, w, c = ops.shape(y)
        if c % 4:
            raise ValueError(f"{self.name} takes back a number of channels that is a multiple of 4, received {tuple(y.shape)}.")
        y = ops.reshape(y, (n, h, w, c // 4, 2, 2))
        return ops.reshape(ops.transpose(y, (0, 1, 4, 2, 5, 3)), (n, 2 * h, 2 * w, c // 4)), ops.zeros((n,), y.dtype)


@keras.saving.register_keras_serializable(package="tfrecon")
class CentreLevels(FlowLayer):
    """Values 0..2^num_bits to -0.5..0.5.

    Reference: bayesiains/nsf@eaa9377 experiments/images.py, preprocessing "glow".
    """

    def __init__(self, num_bits: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_bits = int(num_bits)

    @property
    def constants(self) -> dict[str, Any]:
        """What the original's state dict holds of it."""
        return {"_shift": -0.5, "_scale": 2.0**-self.num_bits}

    def forward(self, x: Any, training: bool | None = None) -> tuple[Any, Any]:
        return x / 2.0**self.num_bits - 0.5, self._log_determinant(x)

    def inverse(self, y: Any) -> tuple[Any, Any]:
        return (y + 0.5) * 2.0**self.num_bits, -self._log_determinant(y)

    def _log_determinant(self, x: Any) -> Any:
        n, *size = ops.shape(x)
        return ops.broadcast_to(-self.num_bits * math.log(2.0) * ops.cast(math.prod(size), x.dtype), (n,))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bits": self.num_bits}


class ChannelMap(FlowLayer):
    """An invertible map of the channels, the same at every pixel: y = A x + b."""

    def matrix_and_offset(self) -> tuple[Any, Any, Any]:
        """(A (C, C), b (C,), log|det A|) of the variables as they are."""
        raise NotImplementedError

    def inverse_and_offset(self) -> tuple[Any, Any, Any]:
        """(A^-1, b, log|det A|)."""
        raise NotImplementedError

    def forward(self, x: Any, training: bool | None = None) -> tuple[Any, Any]:
        return apply_map(x, *self.matrix_and_offset())

    def inverse(self, y: Any) -> tuple[Any, Any]:
        return undo_map(y, *self.inverse_and_offset())


@keras.saving.register_keras_serializable(package="tfrecon")
class ActNorm(ChannelMap):
    """y = exp(log_scale) x + shift for each channel, started so that the first training batch comes out normalised.

    That batch's statistics are those of all replicas together. Whether it has been is a weight (`initialized`), so that a
    loaded layer is not started again; the original forgets it. Loading a PyTorch state dict sets it.

    Reference: Kingma and Dhariwal, "Glow" (2018); bayesiains/nsf@eaa9377 nde/transforms/normalization.py `ActNorm`.
    """

    implied = {"initialized": 1.0}  # what a PyTorch state dict does not say, and means

    def build(self, input_shape: tuple) -> None:
        # The first batch's values are the same on all replicas.
        own = {"shape": (input_shape[-1],), "initializer": "zeros", "aggregation": "only_first_replica"}
        self.log_scale = self.add_weight(name="log_scale", **own)
        self.shift = self.add_weight(name="shift", **own)
        self.initialized = self.add_weight((), "zeros", name="initialized", trainable=False, aggregation="only_first_replica")

    def start(self, x: Any) -> None:
        """Set scale and shift from a batch (N, H, W, C) unless that has happened."""
        mean, std = _moments(ops.stop_gradient(x))
        std = ops.where(std > 0, std, ops.ones_like(std))  # a channel without spread; the original becomes infinite there
        for variable, value in ((self.log_scale, -ops.log(std)), (self.shift, -mean / std)):
            variable.assign(ops.where(self.initialized > 0, variable, value))
        self.initialized.assign(1.0)

    def forward(self, x: Any, training: bool | None = None) -> tuple[Any, Any]:
        if training and self.trainable:
            self.start(x)
        return super().forward(x, training)

    def matrix_and_offset(self) -> tuple[Any, Any, Any]:
        return ops.diag(ops.exp(self.log_scale)), ops.convert_to_tensor(self.shift), ops.sum(self.log_scale)

    def inverse_and_offset(self) -> tuple[Any, Any, Any]:
        return ops.diag(ops.exp(-self.log_scale)), ops.convert_to_tensor(self.shift), ops.sum(self.log_scale)


@keras.saving.register_keras_serializable(package="tfrecon")
class Conv1x1LU(ChannelMap):
    """y = L U P x + bias at every pixel: L unit lower and U upper triangular, P a fixed random permutation.

    Starts as the permutation. The diagonal of U is softplus + 1e-3.

    Args:
        seed: of the permutation.

    Reference: bayesiains/nsf@eaa9377 nde/transforms/lu.py `LULinear`, permutations.py; Glow.
    """

    def __init__(self, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = int(seed)

    def build(self, input_shape: tuple) -> None:
        channels = self.channels = input_shape[-1]
        count = channels * (channels - 1) // 2
        start = keras.initializers.Constant(math.log(math.expm1(1.0 - _MINIMUM_DIAGONAL)))
        self.bias = self.add_weight((channels,), "zeros", name="bias")
        self.lower = self.add_weight((count,), "zeros", name="lower_entries")
        self.upper = self.add_weight((count,), "zeros", name="upper_entries")
        self.diagonal = self.add_weight((channels,), start, name="unconstrained_upper_diag")
        order = np.random.default_rng(self.seed).permutation(channels)
        self.permutation = self.add_weight((channels,), lambda shape, dtype: ops.convert_to_tensor(order, dtype), dtype="int32",
                                           name="permutation", trainable=False)

    def factors(self) -> tuple[Any, Any, Any]:
        """(L, U, log|det|)."""
        diagonal = ops.softplus(self.diagonal) + _MINIMUM_DIAGONAL
        lower = _triangle(self.lower, self.channels, -1) + ops.eye(self.channels, dtype=self.variable_dtype)
        return lower, _triangle(self.upper, self.channels, 1) + ops.diag(diagonal), ops.sum(ops.log(diagonal))

    def _order(self) -> Any:
        """P: row i is 1 at permutation[i]."""
        return ops.one_hot(self.permutation, self.channels, dtype=self.variable_dtype)

    def matrix_and_offset(self) -> tuple[Any, Any, Any]:
        lower, upper, log_determinant = self.factors()
        return ops.matmul(ops.matmul(lower, upper), self._order()), ops.convert_to_tensor(self.bias), log_determinant

    def inverse_and_offset(self) -> tuple[Any, Any, Any]:
        lower, upper, log_determinant = self.factors()
        half = ops.solve_triangular(lower, ops.eye(self.channels, dtype=self.variable_dtype), lower=True)
        inverse = ops.solve_triangular(upper, half, lower=False)
        return ops.matmul(ops.transpose(self._order()), inverse), ops.convert_to_tensor(self.bias), log_determinant

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


def apply_map(x: Any, matrix: Any, offset: Any, log_determinant: Any) -> tuple[Any, Any]:
    """(A x + b, log|det| of all pixels), x (N, H, W, C)."""
    return ops.matmul(x, ops.transpose(matrix)) + offset, _of_all_pixels(x, log_determinant)


def undo_map(y: Any, inverse: Any, offset: Any, log_determinant: Any) -> tuple[Any, Any]:
    """(A^-1 (y - b), -log|det A| of all pixels), y (N, H, W, C)."""
    return ops.matmul(y - offset, ops.transpose(inverse)), -_of_all_pixels(y, log_determinant)


def _of_all_pixels(x: Any, log_determinant: Any) -> Any:
    n, h, w, _ = ops.shape(x)
    return ops.broadcast_to(log_determinant * ops.cast(h * w, x.dtype), (n,))


def _triangle(entries: Any, size: int, side: int) -> Any:
    """Entries in the order of rows as a strict lower (-1) or upper (1) triangle."""
    rows, columns = np.tril_indices(size, -1) if side < 0 else np.triu_indices(size, 1)
    source = np.full((size, size), len(rows))  # one past the end: the zero appended below
    source[rows, columns] = np.arange(len(rows))
    padded = ops.concatenate([entries, ops.zeros((1,), entries.dtype)], axis=0)
    return ops.reshape(ops.take(padded, source.ravel()), (size, size))


def _moments(x: Any) -> tuple[Any, Any]:
    """Mean and unbiased standard deviation of every channel over the batches of all replicas."""
    import tensorflow as tf  # training alone needs it

    context = tf.distribute.get_replica_context()
    together = context is not None and context.num_replicas_in_sync > 1

    def total(values: Any) -> Any:
        return context.all_reduce("sum", values) if together else values

    count = total(tf.cast(tf.size(x[..., 0]), x.dtype))
    mean = total(tf.reduce_sum(x, (0, 1, 2))) / count
    return mean, tf.sqrt(total(tf.reduce_sum(tf.square(x - mean), (0, 1, 2))) / tf.maximum(count - 1.0, 1.0))

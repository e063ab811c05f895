"""What PyTorch's weight-normalised residual networks are made of: the convolution and the rectifier with slopes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfrecon")
class WeightNormConv2D(keras.layers.Layer):
    """A convolution without stride whose kernel is held as direction and length: weight_g * weight_v / ||weight_v||.

    The norm is taken over everything but the first axis. The weights have PyTorch's names and layout, so its state dicts
    load as they are: `weight_v` (filters, in, k, k), or (in, filters, k, k) where transposed, `weight_g` (first axis, 1, 1,
    1) and `bias`. They start as PyTorch's: uniform up to 1 / sqrt(fan in), with `weight_g` the norm of `weight_v`.

    Args:
        filters: output channels.
        kernel_size: k, odd where transposed.
        padding: "valid" or "same" (zeros).
        transposed: the kernel is that of a `ConvTranspose2d` of stride 1, which is a convolution with the kernel turned
            round; "same" is its padding k // 2.

    Input shape: (N, H, W, C), floating.
    Output shape: (N, H, W, filters), with "valid" (N, H - k + 1, W - k + 1, filters).
    Reference: torch.nn.utils.weight_norm; Salimans and Kingma, "Weight Normalization" (2016).
    """

    def __init__(self, filters: int, kernel_size: int, padding: str = "valid", transposed: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        if padding not in ("valid", "same"):
            raise ValueError(f"Expected padding to be valid or same, received {padding!r}.")
        self.filters, self.kernel_size = int(filters), int(kernel_size)
        self.padding, self.transposed = padding, bool(transposed)

    def build(self, input_shape: tuple) -> None:
        first, second = (input_shape[-1], self.filters) if self.transposed else (self.filters, input_shape[-1])
        shape = (first, second, self.kernel_size, self.kernel_size)
        bound = (second * self.kernel_size**2) ** -0.5
        uniform = keras.initializers.RandomUniform
        # Read in full precision: the kernel is rounded once, after its norm was taken.
        self.weight_v = self.add_weight(shape=shape, initializer=uniform(-bound, bound), name="weight_v", autocast=False)
        self.weight_g = self.add_weight(shape=(first, 1, 1, 1), initializer=lambda *_, **__: self._norm(), name="weight_g",
                                        autocast=False)
        self.bias = self.add_weight(shape=(self.filters,), initializer=uniform(-bound, bound), name="bias")

    def call(self, inputs: Any) -> Any:
        y = ops.conv(inputs, ops.cast(self.effective_kernel(), inputs.dtype), strides=1, padding=self.padding)
        return y + ops.cast(self.bias, y.dtype)

    def effective_kernel(self) -> Any:
        """The kernel convolved with, (k, k, in, filters)."""
        weight = self.weight_v * (self.weight_g / self._norm())
        if self.transposed:
            return ops.transpose(weight[:, :, ::-1, ::-1], (2, 3, 0, 1))
        return ops.transpose(weight, (2, 3, 1, 0))

    def _norm(self) -> Any:
        return ops.sqrt(ops.sum(ops.square(self.weight_v), axis=(1, 2, 3), keepdims=True))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        n, h, w, _ = input_shape
        lost = 0 if self.padding == "same" else self.kernel_size - 1
        return n, *(None if size is None else size - lost for size in (h, w)), self.filters

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("filters", "kernel_size", "padding", "transposed")}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="tfrecon")
class ChannelPReLU(keras.layers.Layer):
    """max(x, 0) + weight * min(x, 0) with a trainable slope for each channel, named and shaped as PyTorch's.

    Args:
        initial_slope: what the slopes start with; 0.25 is PyTorch's default.

    Input shape, output shape: (..., C), floating; `weight` has the shape (C,).
    Reference: torch.nn.PReLU(C). Keras' own holds (1, 1, C) under another name.
    """

    def __init__(self, initial_slope: float = 0.25, **kwargs: Any):
        super().__init__(**kwargs)
        self.initial_slope = float(initial_slope)

    def build(self, input_shape: tuple) -> None:
        constant = keras.initializers.Constant(self.initial_slope)
        self.weight = self.add_weight(shape=(input_shape[-1],), initializer=constant, name="weight")

    def call(self, inputs: Any) -> Any:
        return ops.relu(inputs) - ops.cast(self.weight, inputs.dtype) * ops.relu(-inputs)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial_slope": self.initial_slope}

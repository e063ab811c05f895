"""The networks that shape a flow's couplings: plain convolutions, or residual blocks."""

from __future__ import annotations

from typing import Any

import keras

from ..layers import BatchNormalization
from .naming import layer_name
from .torch_start import torch_conv, uniform

_SMALL = 1e-3  # start of a block's second convolution: the block is nearly the identity


def convnet_conditioner(channels: int, hidden_channels: int, outputs: int, name: str) -> keras.Model:
    """Build convolution 3x3, ReLU, 1x1, ReLU, 3x3.

    Args:
        channels, hidden_channels, outputs: of the input, in between, of the output.
        name: of the model; begins the names of its layers.

    Input shape: (N, H, W, channels). Output shape: (N, H, W, outputs).
    Reference: SamiKhandker/ImprovingMRIQuality@9f53d9e cell 5 and bayesiains/nsf@eaa9377 experiments/images.py `ConvNet`.
    """
    inputs = x = _input(channels, name)
    for index, filters, size in ((0, hidden_channels, 3), (2, hidden_channels, 1), (4, outputs, 3)):
        x = torch_conv(x, filters, size, f"{name}.net.{index}", use_bias=True, padding="same")
        x = x if index == 4 else keras.layers.ReLU(name=layer_name(f"{name}.net.{index + 1}"))(x)
    return keras.Model(inputs, x, name=name)


def residual_conditioner(
    channels: int,
    hidden_channels: int,
    outputs: int,
    name: str,
    num_blocks: int = 3,
    batch_norm: bool = True,
    dropout: float = 0.0,
) -> keras.Model:
    """Build convolution 1x1, `num_blocks` of [BN, ReLU, 3x3, BN, ReLU, dropout, 3x3, add], 1x1.

    Args:
        channels, hidden_channels, outputs, name: as `convnet_conditioner`.
        num_blocks, batch_norm, dropout: of the blocks; the original's settings are 3, True and 0.1 to 0.2.

    Input shape: (N, H, W, channels). Output shape: (N, H, W, outputs).
    Reference: bayesiains/nsf@eaa9377 nn/resnet.py `ConvResidualNet`.
    """
    inputs = _input(channels, name)
    x = torch_conv(inputs, hidden_channels, 1, f"{name}.initial_layer", use_bias=True)
    for index in range(num_blocks):
        skip, prefix = x, f"{name}.blocks.{index}"
        for half in (0, 1):
            x = _normalized(x, f"{prefix}.batch_norm_layers.{half}") if batch_norm else x
            x = keras.layers.ReLU(name=layer_name(f"{prefix}.relu_{half}"))(x)
            if half and dropout:
                x = keras.layers.Dropout(dropout, name=layer_name(f"{prefix}.dropout"))(x)
            x = _conv(x, hidden_channels, f"{prefix}.conv_layers.{half}", small=bool(half))
        x = keras.layers.Add(name=layer_name(f"{prefix}.add"))([x, skip])
    return keras.Model(inputs, torch_conv(x, outputs, 1, f"{name}.final_layer", use_bias=True), name=name)


def _input(channels: int, name: str) -> Any:
    # Of the policy's precision, which need not be Keras' default one.
    return keras.Input((None, None, channels), dtype=keras.config.dtype_policy().compute_dtype, name=f"{name}_input")


def _conv(x: Any, filters: int, torch_name: str, small: bool) -> Any:
    if not small:
        return torch_conv(x, filters, 3, torch_name, use_bias=True, padding="same")
    start = {"kernel_initializer": uniform(_SMALL), "bias_initializer": uniform(_SMALL)}
    return keras.layers.Conv2D(filters, 3, padding="same", name=layer_name(torch_name), **start)(x)


def _normalized(x: Any, torch_name: str) -> Any:
    return BatchNormalization(momentum=0.9, epsilon=1e-3, name=layer_name(torch_name))(x)

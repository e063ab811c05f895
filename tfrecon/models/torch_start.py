"""Convolutions with PyTorch's default start, under PyTorch's names."""

from __future__ import annotations

import math
from typing import Any

import keras

from .naming import layer_name


def torch_conv(
    x: Any, filters: int, size: int, torch_name: str, use_bias: bool, strides: int = 1, padding: str = "valid"
) -> Any:
    """A convolution whose kernel and bias start uniform in +-1/sqrt(fan-in), named after its state-dict prefix."""
    bound = 1.0 / math.sqrt(size * size * x.shape[-1])
    return keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=use_bias,
        kernel_initializer=uniform(bound),
        bias_initializer=uniform(bound),
        name=layer_name(torch_name),
    )(x)


def uniform(bound: float) -> keras.initializers.Initializer:
    """A new initializer, with a seed of its own: one object used twice would warn and repeat its numbers."""
    return keras.initializers.RandomUniform(-bound, bound)

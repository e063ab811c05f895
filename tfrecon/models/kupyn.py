"""The pieces KupynOrest/DeblurGAN builds its networks from: layers named after their state dict, N(0, 0.02) kernels."""

from __future__ import annotations

from typing import Any

import keras

from ..layers import BatchNormalization, InstanceNormalization
from .naming import layer_name

NORMS = ("instance", "batch")


def check_norm(norm: str) -> None:
    """ValueError unless the norm is instance or batch."""
    if norm not in NORMS:
        raise ValueError(f"Expected norm to be one of {', '.join(NORMS)}, received {norm!r}.")


def conv(x: Any, torch_name: str, filters: int, size: int, use_bias: bool = True, **options: Any) -> Any:
    """A convolution with the original's start: kernel N(0, 0.02), bias 0."""
    return keras.layers.Conv2D(filters, size, use_bias=use_bias, kernel_initializer=_normal(0.0), **options,
                               name=layer_name(torch_name))(x)


def conv_transpose(x: Any, torch_name: str, filters: int, size: int, use_bias: bool = True, **options: Any) -> Any:
    """A transposed convolution that enlarges by two, with the original's start."""
    return keras.layers.Conv2DTranspose(filters, size, strides=2, use_bias=use_bias, kernel_initializer=_normal(0.0),
                                        **options, name=layer_name(torch_name))(x)


def normalise(x: Any, torch_name: str, norm: str, second_order: bool = False) -> Any:
    """Instance norm without weights, or batch norm with gamma from N(1, 0.02); epsilon 1e-5, momentum 0.1 as PyTorch.

    `second_order`: for a critic under a gradient penalty, see `layers.BatchNormalization`.
    """
    name = layer_name(torch_name)
    if norm == "instance":
        return InstanceNormalization(1e-5, center=False, scale=False, name=name)(x)
    options = {"momentum": 0.9, "epsilon": 1e-5, "gamma_initializer": _normal(1.0), "second_order": second_order}
    return BatchNormalization(**options, name=name)(x)


def leaky(x: Any, torch_name: str) -> Any:
    """LeakyReLU with slope 0.2."""
    return keras.layers.LeakyReLU(negative_slope=0.2, name=layer_name(torch_name))(x)


def relu(x: Any, torch_name: str) -> Any:
    return keras.layers.ReLU(name=layer_name(torch_name))(x)


def _normal(mean: float) -> Any:
    return keras.initializers.RandomNormal(mean, 0.02)

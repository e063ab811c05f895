"""The PatchGAN critic of KupynOrest/DeblurGAN, used by the CT DeblurGAN and by Pix2Pix."""

from __future__ import annotations

import keras

from .kupyn import check_norm, conv, leaky, normalise

_KERNEL, _PAD = 4, 2  # upstream pads ceil((4 - 1) / 2), one more than Pix2Pix' authors


def patchgan(image_shape: tuple, ndf: int, n_layers: int, norm: str, use_sigmoid: bool, name: str) -> keras.Model:
    """`n_layers` strided 4x4 convolutions, one more without stride, and one to a single channel.

    (N, H, W, channels) -> (N, h, w, 1): one score for every patch, 35x35 of them for 256x256 and three layers.

    Raises:
        ValueError: the images are so small that a normalised map is a single pixel, which instance norm makes constant:
            the critic would train with a gradient of exactly zero.
    """
    check_norm(norm)
    _check_size(image_shape, n_layers)
    x = inputs = keras.Input(image_shape, name="image")
    x = _patch_conv(x, 0, ndf, strides=2)
    x = leaky(x, "model.1")
    for i in range(1, n_layers + 1):
        index, strides = 3 * i - 1, 2 if i < n_layers else 1
        x = _patch_conv(x, index, ndf * min(2**i, 8), strides, use_bias=norm == "instance")
        x = leaky(normalise(x, f"model.{index + 1}", norm, second_order=True), f"model.{index + 2}")
    x = _patch_conv(x, 3 * n_layers + 2, 1, strides=1)
    if use_sigmoid:
        x = keras.layers.Activation("sigmoid", name=f"model_{3 * n_layers + 3}")(x)
    return keras.Model(inputs, x, name=name)


def _patch_conv(x, index: int, filters: int, strides: int, use_bias: bool = True):
    x = keras.layers.ZeroPadding2D(_PAD, name=f"model_{index}_pad")(x)
    return conv(x, f"model.{index}", filters, _KERNEL, use_bias, strides=strides)


def smallest_size(n_layers: int) -> int:
    """The side below which a normalised map has a single pixel."""
    size = 1
    while _smallest_normalised(size, n_layers) < 2:
        size += 1
    return size


def _smallest_normalised(size: int, n_layers: int) -> int:
    sides = []
    for i in range(n_layers + 1):
        size = (size + 2 * _PAD - _KERNEL) // (2 if i < n_layers else 1) + 1
        sides.append(size)
    return min(sides[1:])


def _check_size(image_shape: tuple, n_layers: int) -> None:
    smallest = smallest_size(n_layers)
    if any(n is not None and n < smallest for n in image_shape[:2]):
        raise ValueError(f"Expected a height and width of at least {smallest} for {n_layers} layers, or None, received "
                         f"image_shape={image_shape}. Train on larger patches.")

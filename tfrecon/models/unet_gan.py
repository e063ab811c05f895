"""The U-Net GAN for undersampled MRI (seed 001): generator and discriminator builders.

Layer names are the original's state-dict prefixes with dots turned into underscores (`down1.maxpool_conv.1.double_conv.0`
is `down1_maxpool_conv_1_double_conv_0`), so PyTorch weights load by name.
"""

from __future__ import annotations

import math
from typing import Any

import keras

from ..layers import AlignCornersUpSampling2D, BatchNormalization, PadToMatch
from .naming import layer_name
from .torch_start import torch_conv, uniform

_DEPTH = 4
_SMALLEST = 16


def generator_model(
    image_shape: tuple = (320, 320, 1),
    out_channels: int = 2,
    bilinear: bool = True,
    width: int = 64,
    revision: str = "2019",
    name: str = "unet_generator",
) -> keras.Model:
    """Build milesial's U-Net, the generator of seed 001.

    Ronneberger et al., "U-Net" (2015), in the PyTorch form of milesial/Pytorch-UNet@9fd386f (2019-11-06).

    Args:
        image_shape: (H, W, channels), H and W at least 16 or None, divisible by nothing in particular.
        out_channels: 2, read as real and imaginary part by `training.UNetGAN`.
        bilinear: enlarge bilinearly with aligned corners; False: transposed 2x2 convolutions.
        width: filters of the first stage, 64 in the original; smaller for small machines.
        revision: "2019", or "2024" for milesial/Pytorch-UNet@21d7850 (no bias before batch norm, narrower middles
            on the bilinear way up, full depth with transposed convolutions).
        name: name of the model.

    Input shape: (N, H, W, channels) float32.
    Output shape: (N, H, W, out_channels) float32, linear.
    Value range: trained on magnitudes of about [0, 1] (divided by the zero-filled maximum); output unbounded.
    Departures: none in the arithmetic; batch norm has epsilon 1e-5 and momentum 0.9, PyTorch's 0.1 in Keras' sense.
    Raises: ValueError for a size below 16 or an unknown revision.
    Reference: milesial/Pytorch-UNet@9fd386f unet/unet_model.py; seed 001.
    """
    _check(image_shape, revision)
    build = _Stages(revision, bilinear, width)
    inputs = x = keras.Input(image_shape, name="image")
    skips = [build.double_conv(x, "inc.double_conv", width)]
    for level in range(1, _DEPTH + 1):
        x = keras.layers.MaxPooling2D(2, name=f"down{level}_maxpool_conv_0")(skips[-1])
        skips.append(build.double_conv(x, f"down{level}.maxpool_conv.1.double_conv", build.down_filters(level)))
    x = skips.pop()
    for level in range(1, _DEPTH + 1):
        x = build.up(x, skips.pop(), level)
    outputs = torch_conv(x, out_channels, 1, "outc.conv", use_bias=True)
    return keras.Model(inputs, outputs, name=name)


def discriminator_model(image_shape: tuple = (320, 320, 1), width: int = 16, name: str = "unet_discriminator"):
    """Build the discriminator of seed 001: four convolutions without bias or norm, global maximum, sigmoid.

    Args:
        image_shape: (H, W, channels), H and W at least 32 or None.
        width: filters of the first convolution, 16 in the original.
        name: name of the model.

    Input shape: (N, H, W, channels) float32 magnitudes.
    Output shape: (N, 1), a probability in (0, 1). The map before the maximum is layer `l6_0`.
    Value range: as the generator's target, about [0, 1].
    Departures: the original's (N, 1, 1, 1) output is squeezed.
    Reference: seed 001, cell 11.
    """
    if any(n is not None and n < 32 for n in image_shape[:2]):
        raise ValueError(f"Expected a height and width of at least 32 or None, received image_shape={image_shape}.")
    inputs = x = keras.Input(image_shape, name="image")
    for index, filters in ((1, width), (3, 2 * width), (5, 4 * width)):
        x = keras.layers.ZeroPadding2D(1, name=f"l{index}_pad")(x)
        x = torch_conv(x, filters, 4, f"l{index}.0", use_bias=False, strides=2)
        if index != 5:  # the seed's third convolution has no activation
            x = keras.layers.LeakyReLU(negative_slope=0.2, name=f"l{index}_1")(x)
    x = torch_conv(x, 1, 4, "l6.0", use_bias=False)
    x = keras.layers.GlobalMaxPooling2D(name="max")(x)
    return keras.Model(inputs, keras.layers.Activation("sigmoid", name="probability")(x), name=name)


class _Stages:
    """The repeated pieces of the U-Net and the widths in which the two revisions differ."""

    def __init__(self, revision: str, bilinear: bool, width: int):
        self.modern = revision == "2024"
        self.bilinear = bilinear
        self.width = width
        # In 2019 the deepest stage is as wide as the one above it, whatever the way up.
        self.bottom = width * 16 if self.modern and not bilinear else width * 8

    def down_filters(self, level: int) -> int:
        return self.bottom if level == _DEPTH else self.width * 2**level

    def up_filters(self, level: int) -> int:
        filters = self.width * 2 ** (_DEPTH - level)
        halved = max(filters // 2, self.width)
        return filters if self.modern and not self.bilinear else halved

    def double_conv(self, x: Any, prefix: str, filters: int, middle: int | None = None) -> Any:
        for index, width in ((0, middle or filters), (3, filters)):
            x = torch_conv(x, width, 3, f"{prefix}.{index}", use_bias=not self.modern, padding="same")
            x = BatchNormalization(momentum=0.9, epsilon=1e-5, name=layer_name(f"{prefix}.{index + 1}"))(x)
            x = keras.layers.ReLU(name=layer_name(f"{prefix}.{index + 2}"))(x)
        return x

    def up(self, x: Any, skip: Any, level: int) -> Any:
        channels = x.shape[-1]
        if self.bilinear:
            x = AlignCornersUpSampling2D(name=f"up{level}_up")(x)
        else:
            x = self._transposed(x, channels // 2 if self.modern else channels, level)
        x = PadToMatch(name=f"up{level}_pad")([x, skip])
        x = keras.layers.Concatenate(name=f"up{level}_concat")([skip, x])
        middle = x.shape[-1] // 2 if self.modern and self.bilinear else None
        return self.double_conv(x, f"up{level}.conv.double_conv", self.up_filters(level), middle)

    def _transposed(self, x: Any, filters: int, level: int) -> Any:
        # PyTorch counts the fan-in of a transposed convolution over its OUTPUT channels.
        bound = 1.0 / math.sqrt(4 * filters)
        return keras.layers.Conv2DTranspose(
            filters, 2, strides=2, kernel_initializer=uniform(bound), bias_initializer=uniform(bound), name=f"up{level}_up"
        )(x)


def _check(image_shape: tuple, revision: str) -> None:
    if any(n is not None and n < _SMALLEST for n in image_shape[:2]):
        raise ValueError(f"Expected a height and width of at least 16 or None, received image_shape={image_shape}.")
    if revision not in ("2019", "2024"):
        raise ValueError(f'Expected revision "2019" or "2024", received {revision!r}.')

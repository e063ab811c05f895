"""SRResCycGAN for MRI (seed 002): generators to and from four times the size, a critic for each, after the Keras original.

`model.weights` lists the arrays in the original's order, so its weight files load by position. `SRResDNet`, the generator of
the PyTorch system it was made after, is found here too.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras

from ..layers import L2BallProjection, WaveletNoise
from .sizes import check_counts
from .srresdnet import SRResDNet

__all__ = ["Discriminator_HR", "Discriminator_LR", "Generator_HR", "Generator_LR", "SRResDNet", "smallest_critic"]

_LARGEST_VALUE = 255.0
_CRITIC_SLOPE, _GENERATOR_SLOPE = 0.3, 0.2
# (filters as a multiple of the first, kernel, stride) of the nine normalised convolutions of Discriminator_HR.
_CRITIC = ((1, 4, 2), (2, 3, 1), (2, 4, 2), (4, 3, 1), (4, 4, 2), (8, 3, 1), (8, 4, 2), (8, 3, 1), (8, 4, 2))


def Generator_HR(
    input_shape: tuple = (80, 80, 3),
    filters: int = 64,
    n_blocks: int = 5,
    projection: bool = False,
    name: str = "Generator_HR",
) -> keras.Model:
    """Build the generator that enlarges by four: a ResNet that estimates, in features, what has to be taken away.

    Args:
        input_shape: (H, W, channels); any H and W, or None. As many channels come out.
        filters: of every convolution, 64 in the original.
        n_blocks: residual blocks, 5.
        projection: put the upstream's trainable projection (`layers.L2BallProjection`) behind the decoder, which stands
            where that was. The noise is estimated on the INPUT, not on the enlarged image, where hardly any is left; so
            alpha can start at log 2 as published.
        name: name of the model.

    Input shape: (N, H, W, channels) float32.
    Output shape: (N, 4 H, 4 W, channels) float32.
    Value range: input about [0, 255], output clipped to [0, 255]: the volume's maximum is to be 255.
    Departures: none in the arithmetic; with `projection` H and W must be above 7.
    Reference: JanPanjan/SRResCycGAN_MRI (seed 002) src; after Umer and Micheloni, "Deep Cyclic Generative Adversarial
        Residual Convolutional Networks for Real Image Super-Resolution" (2020).
    """
    _check_options(input_shape, filters, n_blocks)
    conv = _convolution(filters, 5)
    inputs = keras.Input(input_shape, name="image")
    x = enlarged = keras.layers.Conv2DTranspose(filters, 5, strides=4, padding="same", name="encoder")(inputs)
    x = conv("stem_conv")(x)
    for i in range(1, n_blocks + 1):
        x = _slope_block(x, f"block{i}")
    x = conv("decoder_conv2")(conv("decoder_conv1")(x))
    if projection:
        exact = {"dtype": keras.config.floatx()}  # also under a mixed policy, whose rounding would pass for noise
        x = L2BallProjection(name="projection", **exact)([x, WaveletNoise(name="noise", **exact)(inputs)])
    x = keras.layers.Subtract(name="global_skip")([enlarged, x])
    x = keras.layers.Conv2D(input_shape[-1], 3, padding="same", use_bias=False, name="head_conv")(x)
    return keras.Model(inputs, _clipped(x), name=name)


def Generator_LR(
    input_shape: tuple = (320, 320, 3), filters: int = 64, n_blocks: int = 6, name: str = "Generator_LR"
) -> keras.Model:
    """Build the generator that reduces by four.

    Args:
        input_shape: (H, W, channels); any H and W, or None. As many channels come out.
        filters: of every convolution, 64 in the original.
        n_blocks: residual blocks, 6.
        name: name of the model.

    Input shape: (N, H, W, channels) float32.
    Output shape: (N, H / 4, W / 4, channels) float32, sizes rounded up twice: ceil(ceil(H / 2) / 2).
    Value range: input about [0, 255], output clipped to [0, 255].
    Departures: none.
    Reference: JanPanjan/SRResCycGAN_MRI (seed 002) src.
    """
    _check_options(input_shape, filters, n_blocks)
    inputs = keras.Input(input_shape, name="image")
    x = _conv_norm_leaky(inputs, "stem", filters, 7)
    for i in (1, 2):
        x = _conv_norm_leaky(x, f"down{i}", filters, 3, strides=2)
    for i in range(1, n_blocks + 1):
        x = _leaky_block(x, f"block{i}")
    for i in (1, 2):
        x = _conv_norm_leaky(x, f"tail{i}", filters, 3)
    x = keras.layers.Conv2D(input_shape[-1], 7, padding="same", name="head_conv")(x)
    return keras.Model(inputs, _clipped(x), name=name)


def Discriminator_HR(
    input_shape: tuple = (320, 320, 3),
    filters: int = 64,
    spectral_norm: bool = False,
    name: str = "Discriminator_HR",
) -> keras.Model:
    """Build the critic of large images: ten convolutions without padding and two dense layers.

    Args:
        input_shape: (H, W, channels), fixed and at least 156; useful from 188 on.
        filters: of the first convolution, 64 in the original; the last has eight times as many.
        spectral_norm: wrap every convolution and dense layer in `keras.layers.SpectralNormalization`, which the original
            notes as an open question.
        name: name of the model.

    Input shape: (N, H, W, channels) float32.
    Output shape: (N, 1), one logit for each image.
    Value range: input about [0, 255].
    Departures: none.
    Raises: ValueError for an unknown size or one below 156, where no pixel is left before the end.
    Warns: UserWarning where a single pixel is left (156 to 187): the last norm makes it a constant, so the critic hardly
        sees the image and gives no gradient.
    Reference: JanPanjan/SRResCycGAN_MRI (seed 002) src.
    """
    _check_critic_size(input_shape)
    inputs = keras.Input(input_shape, name="image")
    x = _wrapped(keras.layers.Conv2D(filters, 3, name="conv1"), spectral_norm)(inputs)
    x = _leaky(x, "conv1", _CRITIC_SLOPE)
    for i, (multiple, kernel, strides) in enumerate(_CRITIC, start=2):
        x = _critic_conv(x, f"conv{i}", multiple * filters, kernel, strides, "valid", spectral_norm)
    x = keras.layers.Flatten(name="flatten")(x)
    x = _leaky(_wrapped(keras.layers.Dense(100, name="dense"), spectral_norm)(x), "dense", _CRITIC_SLOPE)
    return keras.Model(inputs, _wrapped(keras.layers.Dense(1, name="logit"), spectral_norm)(x), name=name)


def Discriminator_LR(
    input_shape: tuple = (80, 80, 3), filters: int = 64, spectral_norm: bool = False, name: str = "Discriminator_LR"
) -> keras.Model:
    """Build the critic of small images: four convolutions, one logit for every patch.

    Args:
        input_shape: (H, W, channels); any H and W, or None.
        filters: of the first convolution, 64 in the original.
        spectral_norm: as in `Discriminator_HR`.
        name: name of the model.

    Input shape: (N, H, W, channels) float32.
    Output shape: (N, H / 4, W / 4, 1) logits, sizes rounded up twice; 20x20 for 80x80.
    Value range: input about [0, 255].
    Departures: none.
    Reference: JanPanjan/SRResCycGAN_MRI (seed 002) src.
    """
    x = inputs = keras.Input(input_shape, name="image")
    for i, (multiple, strides) in enumerate(((1, 2), (2, 2), (4, 1)), start=1):
        x = _critic_conv(x, f"conv{i}", multiple * filters, 5, strides, "same", spectral_norm)
    x = _wrapped(keras.layers.Conv2D(1, 5, padding="same", name="logits"), spectral_norm)(x)
    return keras.Model(inputs, x, name=name)


def smallest_critic(last_map: int = 1) -> int:
    """The smallest side for which `Discriminator_HR` ends in that many pixels: 156 for 1, 188 for 2."""
    side = last_map
    for _, kernel, strides in reversed(_CRITIC):
        side = (side - 1) * strides + kernel
    return side + 2


def _check_critic_size(input_shape: tuple) -> None:
    smallest, useful = smallest_critic(1), smallest_critic(2)
    sides = input_shape[:2]
    if any(n is None or n < smallest for n in sides):
        raise ValueError(
            f"The critic ends in a dense layer and needs a fixed height and width of at least {smallest} ({useful} to learn "
            f"anything), received input_shape={input_shape}. Give the size of the large training images."
        )
    if max(sides) < useful:
        warnings.warn(
            f"A critic for {sides[0]}x{sides[1]} ends in a single pixel, which its last norm makes a constant: it cannot "
            f"learn and gives the generator no gradient. Train on images of at least {useful}.",
            stacklevel=3,
        )


def _check_options(input_shape: tuple, filters: int, n_blocks: int) -> None:
    known = {name: n for name, n in zip(("height", "width"), input_shape) if n is not None}
    check_counts(filters=filters, **known)
    check_counts(0, n_blocks=n_blocks)


def _convolution(filters: int, size: int, **options: Any) -> Any:
    return lambda name: keras.layers.Conv2D(filters, size, padding="same", name=name, **options)


def _clipped(x: Any) -> Any:
    return keras.layers.ReLU(max_value=_LARGEST_VALUE, name="clip")(x)


def _norm(name: str) -> keras.layers.Layer:
    """Keras' own instance norm, epsilon 1e-3, which rounds exactly as the original.

    `layers.InstanceNormalization` is for critics under a gradient penalty, of which there is none here.
    """
    return keras.layers.GroupNormalization(groups=-1, name=name)


def _leaky(x: Any, name: str, slope: float) -> Any:
    return keras.layers.LeakyReLU(negative_slope=slope, name=f"{name}_leaky")(x)


def _wrapped(layer: keras.layers.Layer, spectral_norm: bool) -> keras.layers.Layer:
    return keras.layers.SpectralNormalization(layer, name=f"{layer.name}_spectral") if spectral_norm else layer


def _critic_conv(x: Any, name: str, filters: int, size: int, strides: int, padding: str, spectral_norm: bool) -> Any:
    conv = keras.layers.Conv2D(filters, size, strides=strides, padding=padding, name=name)
    x = _norm(f"{name}_norm")(_wrapped(conv, spectral_norm)(x))
    return _leaky(x, name, _CRITIC_SLOPE)


def _conv_norm_leaky(x: Any, name: str, filters: int, size: int, strides: int = 1) -> Any:
    x = keras.layers.Conv2D(filters, size, strides=strides, padding="same", name=f"{name}_conv")(x)
    return _leaky(_norm(f"{name}_norm")(x), name, _GENERATOR_SLOPE)


def _slope_block(block_input: Any, name: str) -> Any:
    """Generator_HR's: twice PReLU (slopes shared by all pixels), convolution, norm; then the input is added."""
    x, filters = block_input, block_input.shape[-1]
    for i in (1, 2):
        x = keras.layers.PReLU(shared_axes=[1, 2], name=f"{name}_prelu{i}")(x)
        x = _convolution(filters, 3, use_bias=False)(f"{name}_conv{i}")(x)
        x = _norm(f"{name}_norm{i}")(x)
    return keras.layers.Add(name=f"{name}_add")([x, block_input])


def _leaky_block(block_input: Any, name: str) -> Any:
    """Generator_LR's: the rectifier comes after the sum as well."""
    filters = block_input.shape[-1]
    x = _conv_norm_leaky(block_input, f"{name}_1", filters, 3)
    x = _convolution(filters, 3)(f"{name}_2_conv")(x)
    x = _norm(f"{name}_2_norm")(x)
    return _leaky(keras.layers.Add(name=f"{name}_add")([x, block_input]), name, _GENERATOR_SLOPE)

"""SRResDNet, the upstream's super-resolution generator: what has to be taken away is projected onto the noise's ball."""

from __future__ import annotations

from typing import Any

import keras

from ..layers import (
    BilinearUpSampling2D,
    ChannelPReLU,
    Clip,
    L2BallProjection,
    ReflectionPadding2D,
    WaveletNoise,
    WeightNormConv2D,
)
from .sizes import check_counts

_FILTERS, _SLOPE = 64, 0.1
_SMALLEST_ENLARGED = 8  # the noise estimate mirrors seven pixels


def SRResDNet(
    input_shape: tuple = (80, 80, 3), scale: int = 4, depth: int = 5, initial_alpha: float = 9.0, name: str = "SRResDNet"
) -> keras.Model:
    """Build the generator of SRResCGAN and SRResCycGAN as their authors published it.

    The image is enlarged bilinearly; a ResNet with weight normalisation estimates what is wrong with it; that is projected
    onto the ball whose radius is the estimated noise times exp(alpha) (`layers.L2BallProjection`), and taken away. Layers
    are named after the original's state dict, so PyTorch weights load by name.

    Args:
        input_shape: (H, W, channels) or None for H and W; scale * H and scale * W at least 8. As many channels come out.
        scale: of the enlargement, 4.
        depth: residual blocks, 5.
        initial_alpha: what the projection's weight starts with before training. The published networks have learned 9.06
            and 9.01; the original starts at log 2 = 0.69. The noise is estimated AFTER the enlargement, where hardly any is
            left, so with that start the ball is ten thousand times too small and the output is the bilinear one.
        name: name of the model.

    Input shape: (N, H, W, channels) float32.
    Output shape: (N, scale H, scale W, channels) float32.
    Value range: input [0, 255], output clipped to [0, 255]. The published weights are for RGB photographs: of a grey image
        repeated three times the channels come out different, by up to 50 grey levels.
    Departures: alpha starts at 9; the noise estimate does not depend on the other images of the batch.
    Raises: ValueError for a size too small.
    Reference: RaoUmer/SRResCGAN@cfb4217 models/SRResDNet.py, models/ResDNet.py; Umer et al., "Deep Generative Adversarial
        Residual Convolutional Networks for Real-World Super-Resolution" (2020).
    """
    check_counts(scale=scale, depth=depth)
    _check_size(input_shape, scale)
    # In full precision also under a mixed policy: the noise of an enlarged image is about 1e-5 of its range.
    exact = {"dtype": keras.config.floatx()}
    inputs = keras.Input(input_shape, name="image")
    enlarged = BilinearUpSampling2D(scale, name="enlarge", **exact)(inputs)
    x = ReflectionPadding2D(2, name="model_conv1_pad")(enlarged)
    x = WeightNormConv2D(_FILTERS, 5, name="model_conv1")(x)
    for i in range(depth):
        y = _residual(x, f"model_layer1_{i}")
        # The original's first block has no shortcut.
        x = keras.layers.Add(name=f"model_layer1_{i}_add")([y, x]) if i else y
    x = WeightNormConv2D(input_shape[-1], 5, padding="same", transposed=True, name="model_conv_out")(x)
    noise = WaveletNoise(name="noise", **exact)(enlarged)
    x = L2BallProjection(initial_alpha, name="projection", **exact)([x, noise])
    x = keras.layers.Subtract(name="global_skip", **exact)([enlarged, x])
    return keras.Model(inputs, Clip(0.0, 255.0, name="clip", **exact)(x), name=name)


def _residual(x: Any, name: str) -> Any:
    for i in (1, 2):
        x = ChannelPReLU(_SLOPE, name=f"{name}_relu{i}")(x)
        x = ReflectionPadding2D(1, name=f"{name}_pad{i}")(x)
        x = WeightNormConv2D(_FILTERS, 3, name=f"{name}_conv{i}")(x)
    return x


def _check_size(input_shape: tuple, scale: int) -> None:
    smallest = -(-_SMALLEST_ENLARGED // scale)
    if any(n is not None and n < smallest for n in input_shape[:2]):
        raise ValueError(f"Expected a height and width of at least {smallest} at scale {scale}, or None, received "
                         f"input_shape={input_shape}. Give a larger image.")

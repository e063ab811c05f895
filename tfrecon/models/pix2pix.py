"""Pix2Pix, the comparator of seed 003: a U-Net that halves down to one pixel, and a critic that sees input and output.

Layers are named after the original's state dict, so PyTorch weights load by name.
"""

from __future__ import annotations

from typing import Any

import keras

from ..layers import Clip
from .kupyn import check_norm, conv, conv_transpose, layer_name, leaky, normalise, relu
from .patchgan import patchgan


def generator_model(
    image_shape: tuple = (256, 256, 3),
    ngf: int = 64,
    num_downs: int = 8,
    norm: str = "instance",
    dropout: float = 0.5,
    learn_residual: bool = False,
    name: str = "pix2pix_generator",
) -> keras.Model:
    """Build `unet_256` of KupynOrest/DeblurGAN (`num_downs=7`: its `unet_128`).

    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (2017), in the form of
    KupynOrest/DeblurGAN@00f6ab1; that repository's present state cannot build it.

    Args:
        image_shape: (H, W, channels); H and W multiples of 2 ** num_downs, or None. As many channels come out.
        ngf: filters of the first convolution, 64 in the original.
        num_downs: halvings, at least 5.
        norm: "instance" (upstream's default) or "batch" (Isola's).
        dropout: rate in the middle stages on the way up while training; 0 leaves the layers out.
        learn_residual: add the input to the network's tanh and clip.
        name: name of the model.

    Input shape, output shape: (N, H, W, channels) float32, [-1, 1].
    Departures: dropout is off in inference.
    Raises: ValueError for a size that is no multiple of 2 ** num_downs, fewer than 5 halvings or an unknown norm.
    Reference: KupynOrest/DeblurGAN@00f6ab1 models/networks.py, `UnetGenerator`.
    """
    check_norm(norm)
    _check(image_shape, num_downs)
    widths = [ngf * min(2**i, 8) for i in range(num_downs)]
    inputs = keras.Input(image_shape, name="image")
    # With batch norm the original has no bias here either, though no norm follows.
    x = conv(inputs, "model.model.0", ngf, 4, norm == "instance", strides=2, padding="same")
    inside = _block(x, "model.model.1", widths, 1, norm, dropout)
    x = relu(inside, "model.model.2")
    x = conv_transpose(x, "model.model.3", image_shape[-1], 4, padding="same")
    x = keras.layers.Activation("tanh", name="model_model_4")(x)
    if learn_residual:
        x = Clip(-1.0, 1.0, name="clip")(keras.layers.Add(name="global_skip")([inputs, x]))
    return keras.Model(inputs, x, name=name)


def discriminator_model(
    image_shape: tuple = (256, 256, 3),
    ndf: int = 64,
    n_layers: int = 3,
    norm: str = "instance",
    use_sigmoid: bool = True,
    name: str = "pix2pix_critic",
) -> keras.Model:
    """Build the conditional PatchGAN: it judges input and output together, joined along the channels.

    Args:
        image_shape: (H, W, channels) of ONE image; the model takes twice as many channels.
        ndf, n_layers, norm: as `ct_deblur.discriminator_model`.
        use_sigmoid: end in a probability, for binary cross entropy.
        name: name of the model.

    Input shape: (N, H, W, 2 channels) float32, [-1, 1]: the input image first.
    Output shape: (N, h, w, 1), in (0, 1) with the sigmoid.
    Departures: none.
    Raises: ValueError for images too small or an unknown norm.
    Reference: KupynOrest/DeblurGAN@00f6ab1 models/pix2pix_model.py.
    """
    return patchgan((*image_shape[:2], 2 * image_shape[-1]), ndf, n_layers, norm, use_sigmoid, name)


def _block(x: Any, prefix: str, widths: list[int], level: int, norm: str, dropout: float) -> Any:
    """One level of the U and everything inside it, joined with its input: the original's nesting, and so its names."""
    innermost, use_bias = level == len(widths) - 1, norm == "instance"
    # The original's activation works in place, so the skip carries its result.
    skip = leaky(x, f"{prefix}.model.0")
    x = conv(skip, f"{prefix}.model.1", widths[level], 4, use_bias, strides=2, padding="same")
    if innermost:
        up = 2
    else:
        x = normalise(x, f"{prefix}.model.2", norm)
        x = _block(x, f"{prefix}.model.3", widths, level + 1, norm, dropout)
        up = 4
    x = relu(x, f"{prefix}.model.{up}")
    x = conv_transpose(x, f"{prefix}.model.{up + 1}", widths[level - 1], 4, use_bias, padding="same")
    x = normalise(x, f"{prefix}.model.{up + 2}", norm)
    if dropout and not innermost and widths[level - 1] == widths[level]:
        x = keras.layers.Dropout(dropout, name=layer_name(f"{prefix}.model.{up + 3}"))(x)
    return keras.layers.Concatenate(name=layer_name(f"{prefix}.concat"))([x, skip])


def _check(image_shape: tuple, num_downs: int) -> None:
    if num_downs < 5:
        raise ValueError(f"Expected at least 5 halvings, received num_downs={num_downs}.")
    if any(n is not None and (n % 2**num_downs or n == 0) for n in image_shape[:2]):
        raise ValueError(f"Expected a height and width that are multiples of {2**num_downs}, or None, received "
                         f"image_shape={image_shape}. Pad the images, or take fewer halvings (num_downs).")

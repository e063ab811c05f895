"""DeblurGAN for motion-blurred CT (seed 003): the PyTorch original's generator and PatchGAN critic.

Layers are named after the original's state dict, so PyTorch weights load by name.
"""

from __future__ import annotations

from typing import Any

import keras

from ..layers import Clip, ReflectionPadding2D
from .kupyn import check_norm, conv, conv_transpose, layer_name, normalise, relu
from .patchgan import patchgan
from .sizes import check_sizes

_SMALLEST = 8


def generator_model(
    image_shape: tuple = (256, 256, 3),
    ngf: int = 64,
    n_blocks: int = 9,
    norm: str = "instance",
    learn_residual: bool = True,
    dropout: float = 0.5,
    name: str = "ct_generator",
) -> keras.Model:
    """Build the ResNet generator of KupynOrest/DeblurGAN.

    Kupyn et al., "DeblurGAN" (2018), as in KupynOrest/DeblurGAN@00f6ab1 (July 2018), the last state whose residual blocks
    have two convolutions.

    Args:
        image_shape: (H, W, channels); H and W multiples of 4, at least 8, or None. As many channels come out.
        ngf: filters of the first convolution, 64 in the original.
        n_blocks: residual blocks, 9 (the original's `resnet_9blocks`; 6 is its `resnet_6blocks`).
        norm: "instance" (no weights, statistics of each sample) or "batch".
        learn_residual: add the input to the network's tanh and clip; False: the tanh alone.
        dropout: rate inside the blocks while training, 0.5; 0 leaves the layers out.
        name: name of the model.

    Input shape: (N, H, W, channels) float32.
    Output shape: (N, H, W, channels) float32.
    Value range: input and output in [-1, 1]: windowed Hounsfield units or grey levels.
    Departures: dropout is off in inference (the original never leaves training mode).
    Raises: ValueError for a size that is not a multiple of 4 or below 8, or an unknown norm.
    Reference: KupynOrest/DeblurGAN@00f6ab1 models/networks.py; seed 003.
    """
    check_norm(norm)
    check_sizes(image_shape, 4, _SMALLEST)
    with_bias = norm == "instance"  # a batch norm's beta makes it superfluous
    inputs = keras.Input(image_shape, name="image")
    x = ReflectionPadding2D(3, name="model_0")(inputs)
    x = _norm_relu(conv(x, "model.1", ngf, 7, with_bias), 2, norm)
    for index, filters in ((4, 2 * ngf), (7, 4 * ngf)):
        x = keras.layers.ZeroPadding2D(1, name=f"model_{index}_pad")(x)
        x = _norm_relu(conv(x, f"model.{index}", filters, 3, with_bias, strides=2), index + 1, norm)
    for i in range(n_blocks):
        x = _residual_block(x, f"model.{10 + i}", norm, dropout)
    for index, filters in ((10 + n_blocks, 2 * ngf), (13 + n_blocks, ngf)):
        x = conv_transpose(x, f"model.{index}", filters, 3, with_bias)
        # PyTorch's padding=1, output_padding=1 is the full result without its first row and column.
        x = keras.layers.Cropping2D(((1, 0), (1, 0)), name=f"model_{index}_crop")(x)
        x = _norm_relu(x, index + 1, norm)
    x = ReflectionPadding2D(3, name=f"model_{16 + n_blocks}")(x)
    x = conv(x, f"model.{17 + n_blocks}", image_shape[-1], 7)
    x = keras.layers.Activation("tanh", name=f"model_{18 + n_blocks}")(x)
    if learn_residual:
        x = Clip(-1.0, 1.0, name="clip")(keras.layers.Add(name="global_skip")([inputs, x]))
    return keras.Model(inputs, x, name=name)


def discriminator_model(
    image_shape: tuple = (256, 256, 3),
    ndf: int = 64,
    n_layers: int = 3,
    norm: str = "instance",
    use_sigmoid: bool = False,
    name: str = "ct_critic",
) -> keras.Model:
    """Build the PatchGAN critic of KupynOrest/DeblurGAN; it sees the image alone, not the pair.

    Args:
        image_shape: (H, W, channels), fixed or None.
        ndf: filters of the first convolution, 64 in the original.
        n_layers: strided convolutions, 3 (the original's `basic`).
        norm: "instance" or "batch"; a gradient penalty wants instance.
        use_sigmoid: end in a probability; False for the Wasserstein losses.
        name: name of the model.

    Input shape: (N, H, W, channels) float32, [-1, 1].
    Output shape: (N, h, w, 1) scores, unbounded (or in (0, 1)); 35x35 for 256x256.
    Departures: none.
    Raises: ValueError for images so small that a normalised map is a single pixel, or an unknown norm.
    Reference: KupynOrest/DeblurGAN@00f6ab1 models/networks.py; seed 003.
    """
    return patchgan(image_shape, ndf, n_layers, norm, use_sigmoid, name)


def _norm_relu(x: Any, index: int, norm: str) -> Any:
    return relu(normalise(x, f"model.{index}", norm), f"model.{index + 1}")


def _residual_block(block_input: Any, prefix: str, norm: str, dropout: float) -> Any:
    filters, block = block_input.shape[-1], f"{prefix}.conv_block"
    second = 6 if dropout else 5  # a dropout layer shifts the original's numbering
    x = ReflectionPadding2D(1, name=layer_name(f"{block}.0"))(block_input)
    x = conv(x, f"{block}.1", filters, 3, norm == "instance")
    x = relu(normalise(x, f"{block}.2", norm), f"{block}.3")
    if dropout:
        x = keras.layers.Dropout(dropout, name=layer_name(f"{block}.4"))(x)
    x = ReflectionPadding2D(1, name=layer_name(f"{block}.{second - 1}"))(x)
    x = conv(x, f"{block}.{second}", filters, 3, norm == "instance")
    x = normalise(x, f"{block}.{second + 1}", norm)
    return keras.layers.Add(name=layer_name(f"{prefix}.add"))([block_input, x])

"""DeblurGAN for undersampled MRI (seed 000): generator, critic and the two composite models, after the Keras original.

`model.weights` lists the arrays in the original's order (dropout seeds aside), so its weight files load by position.
"""

from __future__ import annotations

from typing import Any

import keras

from ..layers import BatchNormalization, ReflectionPadding2D
from .sizes import check_sizes

_SMALLEST_GENERATOR, _SMALLEST_CRITIC = 8, 16


def generator_model(
    image_shape: tuple = (256, 256, 3),
    ngf: int = 64,
    n_blocks: int = 9,
    dropout: float = 0.5,
    name: str = "Generator",
) -> keras.Model:
    """Build the ResNet generator of RaphaelMeudec/deblur-gan.

    Kupyn et al., "DeblurGAN" (2018), as written in Keras by RaphaelMeudec/deblur-gan@8b4b15d and copied by seed 000.

    Args:
        image_shape: (H, W, channels); H and W multiples of 4, at least 8, or None. As many channels come out.
        ngf: filters of the first convolution, 64 in the original.
        n_blocks: residual blocks, 9.
        dropout: rate inside the blocks while training, 0.5.
        name: name of the model.

    Input shape: (N, H, W, channels) float32.
    Output shape: (N, H, W, channels) float32, (tanh(network) + input) / 2.
    Value range: input in [-1, 1], output in (-1, 1); the output can reach values near 1 only where the input does.
    Departures: the halving is a named `Rescaling` instead of a Lambda; nothing in the arithmetic. The moving variance is
        fed with the unbiased batch variance, as the original's framework did.
    Raises: ValueError for a size that is not a multiple of 4 or below 8.
    Reference: RaphaelMeudec/deblur-gan@8b4b15d deblurgan/model.py; seed 000.
    """
    check_sizes(image_shape, 4, _SMALLEST_GENERATOR)
    inputs = keras.Input(image_shape, name="image")
    x = ReflectionPadding2D(3, name="stem_pad")(inputs)
    x = _conv_norm_relu(x, "stem", ngf, 7, padding="valid")
    for i in (1, 2):
        x = _conv_norm_relu(x, f"down{i}", ngf * 2**i, 3, strides=2)
    for i in range(1, n_blocks + 1):
        x = _residual_block(x, f"block{i}", dropout)
    for i in (1, 2):
        x = keras.layers.UpSampling2D(2, interpolation="nearest", name=f"up{i}_nearest")(x)
        x = _conv_norm_relu(x, f"up{i}", ngf * 2 ** (2 - i), 3)
    x = ReflectionPadding2D(3, name="head_pad")(x)
    x = keras.layers.Conv2D(image_shape[-1], 7, name="head_conv")(x)
    x = keras.layers.Activation("tanh", name="head_tanh")(x)
    x = keras.layers.Add(name="global_skip")([x, inputs])
    return keras.Model(inputs, keras.layers.Rescaling(0.5, name="half")(x), name=name)


def discriminator_model(
    image_shape: tuple = (256, 256, 3), ndf: int = 64, name: str = "Discriminator"
) -> keras.Model:
    """Build the critic of RaphaelMeudec/deblur-gan: six 4x4 convolutions, a dense layer, a sigmoid.

    Args:
        image_shape: (H, W, channels), fixed and at least 16: the dense layer has one input for every 16x16 pixels.
        ndf: filters of the first two convolutions, 64 in the original.
        name: name of the model.

    Input shape: (N, H, W, channels) float32.
    Output shape: (N, 1), in (0, 1). Trained with labels +1 for real and -1 for generated images, it is driven towards 0
        for real ones and 1 for generated ones.
    Value range: input in [-1, 1].
    Departures: none.
    Raises: ValueError for a size below 16 or unknown.
    Reference: RaphaelMeudec/deblur-gan@8b4b15d deblurgan/model.py; seed 000.
    """
    if any(n is None or n < _SMALLEST_CRITIC for n in image_shape[:2]):
        raise ValueError(
            f"The critic ends in a dense layer and needs a fixed height and width of at least {_SMALLEST_CRITIC}, "
            f"received image_shape={image_shape}. Give the size of the training images."
        )
    inputs = keras.Input(image_shape, name="image")
    x = keras.layers.Conv2D(ndf, 4, strides=2, padding="same", name="conv1")(inputs)
    x = keras.layers.LeakyReLU(negative_slope=0.2, name="conv1_leaky")(x)
    for i, (filters, strides) in enumerate([(ndf, 2), (2 * ndf, 2), (4 * ndf, 2), (8 * ndf, 1)], start=2):
        x = keras.layers.Conv2D(filters, 4, strides=strides, padding="same", name=f"conv{i}")(x)
        x = BatchNormalization(second_order=True, name=f"conv{i}_norm")(x)
        x = keras.layers.LeakyReLU(negative_slope=0.2, name=f"conv{i}_leaky")(x)
    x = keras.layers.Conv2D(1, 4, padding="same", name="conv6")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(1024, activation="tanh", name="dense")(x)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="score")(x), name=name)


def generator_containing_discriminator(generator: keras.Model, discriminator: keras.Model) -> keras.Model:
    """The critic's score of the generator's output, as one model: (N, H, W, channels) -> (N, 1)."""
    inputs = keras.Input(discriminator.input_shape[1:], name="image")
    return keras.Model(inputs, discriminator(generator(inputs)), name="generator_containing_discriminator")


def generator_containing_discriminator_multiple_outputs(
    generator: keras.Model, discriminator: keras.Model
) -> keras.Model:
    """The generator's output and the critic's score of it: (N, H, W, channels) -> [(N, H, W, channels), (N, 1)]."""
    inputs = keras.Input(discriminator.input_shape[1:], name="image")
    generated = generator(inputs)
    outputs = [generated, discriminator(generated)]
    return keras.Model(inputs, outputs, name="generator_containing_discriminator_multiple_outputs")


def _conv_norm_relu(x: Any, name: str, filters: int, size: int, strides: int = 1, padding: str = "same") -> Any:
    x = keras.layers.Conv2D(filters, size, strides=strides, padding=padding, name=f"{name}_conv")(x)
    x = BatchNormalization(name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _residual_block(block_input: Any, name: str, dropout: float) -> Any:
    filters = block_input.shape[-1]
    x = ReflectionPadding2D(1, name=f"{name}_pad1")(block_input)
    x = _conv_norm_relu(x, f"{name}_1", filters, 3, padding="valid")
    x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    x = ReflectionPadding2D(1, name=f"{name}_pad2")(x)
    x = keras.layers.Conv2D(filters, 3, name=f"{name}_2_conv")(x)
    x = BatchNormalization(name=f"{name}_2_norm")(x)
    return keras.layers.Add(name=f"{name}_add")([block_input, x])

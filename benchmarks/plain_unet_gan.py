"""The U-Net GAN's training step in plain TensorFlow, from the description of seed 001 (milesial/Pytorch-UNet@9fd386f)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from plain_parts import TorchAdam
from step_start import Case

layers = keras.layers


def build(case: Case) -> tuple[list[keras.Model], Callable[..., Any]]:
    """(the networks, the step on an image and its target: the losses of generator and discriminator)."""
    generator, discriminator = networks = [_generator(case.side), _discriminator(case.side)]
    g_adam, d_adam = (TorchAdam(network.trainable_variables, 2e-4) for network in networks)
    bce = keras.losses.BinaryCrossentropy()

    def score(image: Any, label: float) -> Any:
        answer = discriminator(image, training=True)
        return bce(tf.fill(tf.shape(answer), label), answer)

    @tf.function(jit_compile=case.jit)
    def step(image: Any, target: Any) -> Any:
        with tf.GradientTape() as g_tape:
            fake = tf.sqrt(tf.reduce_sum(generator(image, training=True) ** 2, -1, keepdims=True))
            with tf.GradientTape() as d_tape:
                d_loss = score(target, 1.0) + score(fake, 0.0)
            d_adam.apply(d_tape.gradient(d_loss, discriminator.trainable_variables))
            g_loss = score(fake, 1.0)
        g_adam.apply(g_tape.gradient(g_loss, generator.trainable_variables))
        return g_loss, d_loss

    return networks, step


def _generator(side: int, width: int = 64) -> keras.Model:
    inputs = keras.Input((side, side, 1))
    skips = [_double_conv(inputs, width)]
    for filters in (2 * width, 4 * width, 8 * width, 8 * width):
        skips.append(_double_conv(layers.MaxPooling2D(2)(skips[-1]), filters))
    x = skips.pop()
    for filters in (4 * width, 2 * width, width, width):
        skip = skips.pop()
        enlarge = layers.Lambda(lambda x, size: tf.raw_ops.ResizeBilinear(images=x, size=size, align_corners=True),
                                arguments={"size": skip.shape[1:3]})
        x = _double_conv(layers.Concatenate()([skip, enlarge(x)]), filters)
    return keras.Model(inputs, layers.Conv2D(2, 1)(x))


def _double_conv(x: Any, filters: int) -> Any:
    for _ in range(2):
        x = layers.Conv2D(filters, 3, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))
    return x


def _discriminator(side: int) -> keras.Model:
    x = inputs = keras.Input((side, side, 1))
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 4, strides=2, use_bias=False)(layers.ZeroPadding2D(1)(x))
        x = x if filters == 64 else layers.LeakyReLU(negative_slope=0.2)(x)
    x = layers.GlobalMaxPooling2D()(layers.Conv2D(1, 4, use_bias=False)(x))
    return keras.Model(inputs, layers.Activation("sigmoid")(x))

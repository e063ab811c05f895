"""The training step of DeblurGAN for MRI in plain TensorFlow, from the description of RaphaelMeudec/deblur-gan@8b4b15d."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from plain_parts import reflected, vgg
from step_start import Case

layers = keras.layers


def build(case: Case) -> tuple[list[keras.Model], Callable[..., Any]]:
    """(the networks and the VGG, the step on an image and its target: the losses of generator and critic)."""
    generator, critic = networks = [_generator(case), _critic(case.side)]
    features = vgg((2, 2, 3))
    g_adam, d_adam = adams = [keras.optimizers.Adam(1e-4, epsilon=1e-8) for _ in networks]
    for adam, network in zip(adams, networks):
        adam.build(network.trainable_variables)

    def critic_step(images: Any, label: float) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(label * critic(images, training=True))
        d_adam.apply(tape.gradient(loss, critic.trainable_variables), critic.trainable_variables)
        return loss

    @tf.function(jit_compile=case.jit)
    def step(image: Any, target: Any) -> Any:
        generated = generator(image, training=False)
        d_loss = sum(0.5 * (critic_step(target, 1.0) + critic_step(generated, -1.0)) for _ in range(5)) / 5.0
        with tf.GradientTape() as tape:
            fake = generator(image, training=True)
            content = tf.reduce_mean(tf.square(features(target) - features(fake)))
            g_loss = 100.0 * content + tf.reduce_mean(critic(fake, training=True))
        g_adam.apply(tape.gradient(g_loss, generator.trainable_variables), generator.trainable_variables)
        return g_loss, d_loss

    return [*networks, features], step


def _generator(case: Case) -> keras.Model:
    inputs = keras.Input((case.side, case.side, 3))
    x = _part(reflected(3)(inputs), 64, 7, padding="valid")
    for filters in (128, 256):
        x = _part(x, filters, 3, strides=2)
    for _ in range(9):
        skip, x = x, _part(reflected(1)(x), 256, 3, padding="valid")
        x = layers.Dropout(case.dropout)(x) if case.dropout else x
        x = layers.BatchNormalization()(layers.Conv2D(256, 3)(reflected(1)(x)))
        x = layers.Add()([skip, x])
    for filters in (128, 64):
        x = _part(layers.UpSampling2D(2)(x), filters, 3)
    x = layers.Conv2D(3, 7, activation="tanh")(reflected(3)(x))
    return keras.Model(inputs, layers.Rescaling(0.5)(layers.Add()([x, inputs])))


def _part(x: Any, filters: int, size: int, strides: int = 1, padding: str = "same") -> Any:
    x = layers.Conv2D(filters, size, strides=strides, padding=padding)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _critic(side: int) -> keras.Model:
    inputs = keras.Input((side, side, 3))
    x = layers.LeakyReLU(negative_slope=0.2)(layers.Conv2D(64, 4, strides=2, padding="same")(inputs))
    for filters, strides in ((64, 2), (128, 2), (256, 2), (512, 1)):
        x = layers.BatchNormalization()(layers.Conv2D(filters, 4, strides=strides, padding="same")(x))
        x = layers.LeakyReLU(negative_slope=0.2)(x)
    x = layers.Flatten()(layers.Conv2D(1, 4, padding="same")(x))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.Dense(1024, activation="tanh")(x)))

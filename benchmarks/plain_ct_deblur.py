"""The training step of the CT DeblurGAN in plain TensorFlow, from the description of KupynOrest/DeblurGAN@00f6ab1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from plain_parts import TorchAdam, reflected, vgg, without_norms
from step_start import Case

layers = keras.layers


def build(case: Case) -> tuple[list[keras.Model], Callable[..., Any]]:
    """(the networks and the VGG, the step on an image and its target: the losses of generator and critic)."""
    networks = [_generator(case), _critic()]
    generator, critic = networks if case.norms else map(without_norms, networks)
    features, random = vgg((2, 2, 3), None), keras.random.SeedGenerator(0)
    g_adam, d_adam = (TorchAdam(network.trainable_variables, 1e-4, beta_1=0.5) for network in (generator, critic))

    def score(images: Any) -> Any:
        return tf.reduce_mean(critic(images, training=True))

    def penalty(real: Any, fake: Any) -> Any:
        share = keras.random.uniform((), seed=random)
        between = share * real + (1.0 - share) * fake
        with tf.GradientTape() as tape:
            tape.watch(between)
            total = tf.reduce_sum(critic(between, training=True))
        norms = tf.sqrt(tf.reduce_sum(tf.square(tape.gradient(total, between)), -1))
        return 10.0 * tf.reduce_mean(tf.square(norms - 1.0))

    def critic_step(real: Any, fake: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = score(fake) - score(real) + penalty(real, fake)
        d_adam.apply(tape.gradient(loss, critic.trainable_variables))
        return loss

    @tf.function(jit_compile=case.jit)
    def step(image: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            fake = generator(image, training=True)
            with tape.stop_recording():
                d_loss = sum(critic_step(target, fake) for _ in range(5)) / 5.0
            content = tf.reduce_mean(tf.square(features(target) - features(fake)))
            g_loss = 100.0 * content - score(fake)
        g_adam.apply(tape.gradient(g_loss, generator.trainable_variables))
        return g_loss, d_loss

    return [generator, critic, features], step


def _generator(case: Case) -> keras.Model:
    inputs = keras.Input((case.side, case.side, 3))
    x = _part(layers.Conv2D(64, 7)(reflected(3)(inputs)))
    for filters in (128, 256):
        x = _part(layers.Conv2D(filters, 3, strides=2)(layers.ZeroPadding2D(1)(x)))
    for _ in range(9):
        skip, x = x, _part(layers.Conv2D(256, 3)(reflected(1)(x)))
        x = layers.Dropout(case.dropout)(x) if case.dropout else x
        x = layers.Add()([skip, _norm()(layers.Conv2D(256, 3)(reflected(1)(x)))])
    for filters in (128, 64):
        x = layers.Conv2DTranspose(filters, 3, strides=2)(x)
        x = _part(layers.Cropping2D(((1, 0), (1, 0)))(x))
    x = layers.Conv2D(3, 7, activation="tanh")(reflected(3)(x))
    x = layers.Lambda(lambda x: tf.clip_by_value(x, -1.0, 1.0))(layers.Add()([inputs, x]))
    return keras.Model(inputs, x)


def _norm() -> keras.layers.Layer:
    return layers.GroupNormalization(groups=-1, epsilon=1e-5, center=False, scale=False)


def _part(x: Any) -> Any:
    return layers.ReLU()(_norm()(x))


def _critic() -> keras.Model:
    x = inputs = keras.Input((None, None, 3))
    for index, (filters, strides) in enumerate(((64, 2), (128, 2), (256, 2), (512, 1))):
        x = layers.Conv2D(filters, 4, strides=strides)(layers.ZeroPadding2D(2)(x))
        x = layers.Lambda(_normalised, name=f"plain_norm_{index}")(x) if index else x
        x = layers.LeakyReLU(negative_slope=0.2)(x)
    return keras.Model(inputs, layers.Conv2D(1, 4)(layers.ZeroPadding2D(2)(x)))


def _normalised(x: Any) -> Any:
    """Instance norm; the second derivatives of Keras' own are wrong, and the penalty needs them."""
    mean = tf.reduce_mean(x, (1, 2), keepdims=True)
    return (x - mean) / tf.sqrt(tf.math.reduce_variance(x, (1, 2), keepdims=True) + 1e-5)

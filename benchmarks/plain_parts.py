"""What the plain TensorFlow forms of the training steps share, written from the descriptions with Keras' own layers."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class TorchAdam:
    """PyTorch's Adam: rate * m_hat / (sqrt(v_hat) + epsilon)."""

    def __init__(self, variables: list, rate: float, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8):
        self.variables, self.rate, self.betas, self.epsilon = [v.value for v in variables], rate, (beta_1, beta_2), epsilon
        self.first, self.second = ([tf.Variable(tf.zeros_like(v)) for v in self.variables] for _ in range(2))
        self.count = tf.Variable(0.0)

    def apply(self, gradients: list) -> None:
        self.count.assign_add(1.0)
        beta_1, beta_2 = self.betas
        for variable, first, second, gradient in zip(self.variables, self.first, self.second, gradients, strict=True):
            first.assign(beta_1 * first + (1.0 - beta_1) * gradient)
            second.assign(beta_2 * second + (1.0 - beta_2) * gradient**2)
            m, v = first / (1.0 - beta_1**self.count), second / (1.0 - beta_2**self.count)
            variable.assign_sub(self.rate * m / (tf.sqrt(v) + self.epsilon))


def reflected(size: int) -> keras.layers.Layer:
    """Padding by reflection."""
    return keras.layers.Lambda(lambda x: tf.pad(x, [[0, 0], [size, size], [size, size], [0, 0]], "REFLECT"))


def vgg(counts: tuple[int, ...], last_activation: str | None = "relu") -> keras.Model:
    """The VGG's blocks of so many convolutions, frozen."""
    x = inputs = keras.Input((None, None, 3))
    for block, count in enumerate(counts):
        x = keras.layers.MaxPooling2D(2)(x) if block else x
        for number in range(count):
            last = (block, number) == (len(counts) - 1, count - 1)
            x = keras.layers.Conv2D(64 * 2**block, 3, padding="same", activation=last_activation if last else "relu")(x)
    return keras.Model(inputs, x, trainable=False)


def without_norms(model: keras.Model) -> keras.Model:
    """The same network with its norms left out."""

    def copied(layer: Any) -> Any:
        if "Normalization" in type(layer).__name__ or layer.name.startswith("plain_norm"):
            return keras.layers.Identity(name=layer.name)
        return type(layer).from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=copied)

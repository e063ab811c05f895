"""RaphaelMeudec's DeblurGAN networks in Keras 2, as their specification states them, to rewrite the golden files with."""

from tensorflow import keras

L = keras.layers


def pad(width):
    """The original's ReflectionPadding2D."""
    import tensorflow as tf

    class ReflectionPadding2D(L.Layer):
        def call(self, inputs):
            return tf.pad(inputs, [[0, 0], [width, width], [width, width], [0, 0]], "REFLECT")

    return ReflectionPadding2D()


def norm_relu(x):
    return L.Activation("relu")(L.BatchNormalization()(x))


def residual(inputs, filters):
    x = norm_relu(L.Conv2D(filters, 3)(pad(1)(inputs)))
    x = L.BatchNormalization()(L.Conv2D(filters, 3)(pad(1)(L.Dropout(0.5)(x))))
    return L.Add()([x, inputs])


def generator(shape, n):
    inputs = keras.Input(shape)
    x = norm_relu(L.Conv2D(n, 7)(pad(3)(inputs)))
    for factor in (2, 4):
        x = norm_relu(L.Conv2D(factor * n, 3, strides=2, padding="same")(x))
    for _ in range(9):
        x = residual(x, 4 * n)
    for factor in (2, 1):
        x = norm_relu(L.Conv2D(factor * n, 3, padding="same")(L.UpSampling2D()(x)))
    x = L.Activation("tanh")(L.Conv2D(shape[-1], 7)(pad(3)(x)))
    return keras.Model(inputs, L.Lambda(lambda z: z / 2)(L.Add()([x, inputs])), name="Generator")


def critic(shape, n):
    inputs = keras.Input(shape)
    x = L.LeakyReLU(0.2)(L.Conv2D(n, 4, strides=2, padding="same")(inputs))
    for factor, strides in ((1, 2), (2, 2), (4, 2), (8, 1)):
        x = L.Conv2D(factor * n, 4, strides=strides, padding="same")(x)
        x = L.LeakyReLU(0.2)(L.BatchNormalization()(x))
    x = L.Flatten()(L.Conv2D(1, 4, padding="same")(x))
    return keras.Model(inputs, L.Dense(1, activation="sigmoid")(L.Dense(1024, activation="tanh")(x)), name="Discriminator")

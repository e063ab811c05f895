"""Networks of a few layers, for tests of what surrounds a network: the real ones take seconds to build and trace."""

import keras

from tfrecon.layers import BatchNormalization, InstanceNormalization


def image_to_image(shape, outputs=None, name="Generator", dropout=0.0, reduce=1, enlarge=1, activation=None):
    """Batch norm, a halving and dropout, as the generators have them, in six layers; instance norm and PReLU if resized."""
    inputs = x = keras.Input(shape, name="image")
    if reduce > 1:
        x = keras.layers.AveragePooling2D(reduce, name="reduce")(x)
    x = keras.layers.Conv2D(3, 3, padding="same", name="conv1")(x)
    if reduce == enlarge == 1:
        x = keras.layers.ReLU(name="relu")(BatchNormalization(momentum=0.9, name="norm")(x))
        x = keras.layers.Dropout(dropout, name="dropout")(x) if dropout else x
    else:
        x = keras.layers.GroupNormalization(-1, name="norm")(x)
        x = keras.layers.PReLU(shared_axes=[1, 2], name="prelu")(x)
    if enlarge > 1:
        x = keras.layers.UpSampling2D(enlarge, name="enlarge")(x)
    x = keras.layers.Conv2D(outputs or shape[-1], 3, padding="same", activation=activation, name="conv2")(x)
    return keras.Model(inputs, x, name=name)


def critic(shape, name="Discriminator", norm="batch", probability=False):
    """Scores of patches (N, h, w, 1), or one probability (N, 1)."""
    inputs = x = keras.Input(shape, name="image")
    x = keras.layers.LeakyReLU(0.2, name="act1")(keras.layers.Conv2D(2, 4, 2, padding="same", name="conv1")(x))
    x = keras.layers.Conv2D(4, 4, 2, padding="same", name="conv2")(x)
    if norm == "batch":
        x = BatchNormalization(momentum=0.9, second_order=True, name="conv2_norm")(x)
    else:
        x = InstanceNormalization(name="conv2_norm")(x)
    x = keras.layers.Conv2D(1, 3, padding="same", name="scores")(keras.layers.LeakyReLU(0.2, name="act2")(x))
    if probability:
        x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
        x = keras.layers.Dense(1, activation="sigmoid", name="probability")(x)
    return keras.Model(inputs, x, name=name)

"""Small networks that Keras 2 and Keras 3 build from the same lines, with numbers that do not depend on either.

Every function takes the `keras` module to build with. Several layers have equal shapes on purpose: a reader that mixes them
up must show in the outputs, not in an error.
"""

import numpy as np

SHAPE = (12, 10, 2)


def pad_layer(keras):
    """DeblurGAN's reflection padding by one, as a custom layer without weights."""
    import tensorflow as tf

    class ReflectionPadding2D(keras.layers.Layer):
        def call(self, inputs):
            return tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")

        def compute_output_shape(self, shape):
            return (shape[0], shape[1] and shape[1] + 2, shape[2] and shape[2] + 2, shape[3])

    return ReflectionPadding2D


def generator(keras, prefix=""):
    """Two equal residual blocks, dropout and a Lambda: 6 layers with weights. `prefix` names those layers."""
    layers, pad = keras.layers, pad_layer(keras)

    def named(name):
        return {"name": f"{prefix}{name}"} if prefix else {}

    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(3, 3, padding="same", **named("stem"))(inputs)
    for block in range(2):
        y = layers.Conv2D(3, 3, **named(f"conv{block}"))(pad()(x))
        y = layers.BatchNormalization(**named(f"norm{block}"))(y)
        x = layers.Add()([x, layers.Dropout(0.5)(y)])
    x = layers.Conv2D(2, 1, activation="tanh", **named("head"))(x)
    return keras.Model(inputs, layers.Lambda(lambda z: z / 2)(layers.Add()([x, inputs])))


def critic(keras, prefix=""):
    """Two equal convolutions and a dense layer."""
    layers = keras.layers

    def named(name):
        return {"name": f"{prefix}{name}"} if prefix else {}

    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(2, 3, strides=2, padding="same", activation="relu", **named("conv0"))(inputs)
    x = layers.Conv2D(2, 3, strides=2, padding="same", **named("conv1"))(x)
    x = layers.BatchNormalization(**named("norm"))(x)
    return keras.Model(inputs, layers.Dense(1, **named("score"))(layers.Flatten()(x)))


def combined(keras, generator_model, critic_model):
    """Image to [reconstruction, score]: two networks nested in one."""
    inputs = keras.Input(SHAPE)
    outputs = generator_model(inputs)
    return keras.Model(inputs, [outputs, critic_model(outputs)])


def branches(keras):
    """Parallel branches of the less common layers."""
    layers = keras.layers
    inputs = keras.Input(SHAPE)
    one = layers.PReLU(shared_axes=[1, 2])(layers.DepthwiseConv2D(3, padding="same")(inputs))
    two = layers.SeparableConv2D(2, 3, padding="same")(inputs)
    three = layers.Conv2DTranspose(2, 3, padding="same")(inputs)
    x = layers.LayerNormalization()(layers.Concatenate()([one, two, three]))
    return keras.Model(inputs, layers.Conv2D(1, 3)(x))


def block_layer(keras):
    """A custom layer with two equal layers inside."""

    class Block(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.first = keras.layers.Conv2D(2, 3, padding="same", activation="relu")
            self.second = keras.layers.Conv2D(2, 3, padding="same")

        def call(self, inputs):
            return inputs + self.second(self.first(inputs))

    return Block


def blocks(keras):
    """Two custom layers with layers inside."""
    inputs, block = keras.Input(SHAPE), block_layer(keras)
    return keras.Model(inputs, block()(block()(inputs)))


def addons(keras, instance_norm, spectral_norm):
    """Instance and spectral normalisation, tensorflow-addons' or Keras 3's."""
    layers = keras.layers
    inputs = keras.Input(SHAPE)
    x = spectral_norm(layers.Conv2D(3, 3, padding="same"))(inputs)
    x = layers.ReLU()(instance_norm()(x))
    x = spectral_norm(layers.Conv2D(3, 3, padding="same", use_bias=False))(x)
    return keras.Model(inputs, layers.Conv2D(1, 3)(instance_norm()(x)))


def fill(model, seed):
    """Give every weight numbers of its own, none of them the layer's initial ones."""
    for index, variable in enumerate(model.weights):
        if "seed" in variable.name:
            continue
        rng = np.random.default_rng([seed, index])
        shape = tuple(variable.shape)
        last = variable.name.rsplit("/", 1)[-1]
        values = rng.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[:-1])))
        if "variance" in last:
            values = rng.uniform(0.5, 1.5, shape)
        variable.assign(values.astype("float32"))


def image(seed):
    """A fixed input, (2, *SHAPE) float32."""
    return np.random.default_rng(seed).standard_normal((2, *SHAPE)).astype("float32")

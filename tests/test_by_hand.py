"""Derivatives written by hand against TensorFlow's own, of the layers and of networks made of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_tools import precision

from tfrecon.models.srrescycgan import Discriminator_HR, Discriminator_LR, Generator_HR, Generator_LR
from tfrecon.training.by_hand import Twins, few_filters_twin, twin_of

ANY = (None, None, 3)


def chain():
    """Kernels that are not square, with and without padding; two bands of rows (70 of them)."""
    x = inputs = keras.Input(ANY)
    x = keras.layers.Conv2D(4, (3, 5), padding="same", activation="tanh")(x)
    x = keras.layers.PReLU(shared_axes=[1, 2])(x)
    x = keras.layers.Conv2D(5, (5, 3), use_bias=False)(x)
    x = keras.layers.GroupNormalization(groups=-1)(x)
    return keras.Model(inputs, x)


def left_alone():
    """What is not differentiated by hand."""
    x = inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 4, padding="same")(x)
    x = keras.layers.Conv2D(4, 3, strides=2)(x)
    x = keras.layers.PReLU()(x)
    x = keras.layers.GroupNormalization(groups=2)(x)
    x = keras.layers.GroupNormalization(groups=-1, center=False)(x)
    return keras.Model(inputs, keras.layers.SpectralNormalization(keras.layers.Conv2D(2, 3))(x))


def few_filters():
    """What goes by rows, with and without padding, and a kernel that is too small to."""
    x = inputs = keras.Input(ANY)
    x = keras.layers.Conv2D(4, (5, 3), padding="same", activation="tanh")(x)
    x = keras.layers.Conv2D(4, 3)(x)
    return keras.Model(inputs, keras.layers.Conv2D(2, 7)(x))


NETWORKS = [
    (chain, (2, 70, 9, 3), 4),
    (left_alone, (2, 16, 16, 3), 0),
    (few_filters, (2, 13, 12, 3), 3),
    (lambda: Generator_HR(ANY, filters=2, n_blocks=1), (2, 11, 13, 3), 10),
    (lambda: Generator_LR(ANY, filters=2, n_blocks=1), (2, 33, 30, 3), 13),
    (lambda: Discriminator_HR((188, 192, 3), filters=2), (1, 188, 192, 3), 14),
    (lambda: Discriminator_LR(ANY, filters=2), (2, 21, 12, 3), 5),
]


def gradients(network, variables):
    """Output, derivative by the input, derivatives by the variables of some loss with no symmetry."""

    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = network(x)
            weights = tf.sin(tf.reshape(tf.range(tf.size(output), dtype=output.dtype), tf.shape(output)))
            loss = tf.reduce_sum(output * weights)
        return [output, *tape.gradient(loss, [x, *(v.value for v in variables)])]

    return run


@pytest.mark.parametrize("mode", ["eager", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("graph", "XLA"))])
@pytest.mark.parametrize("build, shape, count", NETWORKS, ids=lambda v: "x".join(map(str, v)) if isinstance(v, tuple) else "")
def test_twin_has_the_same_outputs_and_derivatives(build, shape, count, mode):
    rng = np.random.default_rng(0)
    with precision("float64"):
        model = build()
        for variable in model.trainable_variables:
            variable.assign_add(rng.normal(0, 0.1, variable.shape))
        twin, x = twin_of(model), tf.constant(rng.normal(size=shape))
        assert sum(type(layer).__name__ == "_ByHand" for layer in twin.layers) == count
        assert [id(v) for v in twin.trainable_variables] == [id(v) for v in model.trainable_variables]
        run = gradients(twin, model.trainable_variables)
        run = run if mode == "eager" else tf.function(run, jit_compile=mode == "XLA")
        expected = [np.asarray(v) for v in gradients(model, model.trainable_variables)(x)]
        largest = max(np.abs(v).max() for v in expected[2:])  # biases before a norm have no derivative but rounding
        for i, (a, b) in enumerate(zip(expected, run(x), strict=True)):
            np.testing.assert_allclose(a, b, atol=1e-12 * (largest if i > 1 else np.abs(a).max()))


def test_forward_pass_rounds_as_keras_does_where_no_sum_is_rearranged():
    for build, shape, _ in NETWORKS:
        model = build()
        x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        expected = np.asarray(model(x))
        tolerance = 2e-6 * np.abs(expected).max() if few_filters_twin(model) is not model else 0
        np.testing.assert_allclose(twin_of(model)(x), expected, rtol=0, atol=tolerance)


def test_prelu_at_zero_has_keras_derivative():
    x = inputs = keras.Input((2, 2, 1))
    model = keras.Model(inputs, keras.layers.PReLU(shared_axes=[1, 2], alpha_initializer="ones")(x))
    zeros = tf.zeros((1, 2, 2, 1))
    found, expected = (gradients(network, model.trainable_variables)(zeros)[1] for network in (twin_of(model), model))
    np.testing.assert_array_equal(found, expected)


def test_half_precision_twin():
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = chain()
        x = np.random.default_rng(1).normal(size=(1, 9, 9, 3)).astype(np.float32)
        found, expected = (gradients(network, model.trainable_variables)(tf.constant(x)) for network in (twin_of(model), model))
    finally:
        keras.config.set_dtype_policy(former)
    assert found[0].dtype == tf.bfloat16
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(tf.cast(a, "float32"), tf.cast(b, "float32"), atol=0.1 * np.abs(b).max())


def test_making_a_twin_leaves_the_model_as_it_was():
    model = chain()
    before = model.get_config()
    twin_of(model)
    assert model.get_config() == before
    copy = keras.Model.from_config(before)
    copy.set_weights(model.get_weights())
    x = np.ones((1, 9, 9, 3), np.float32)
    np.testing.assert_array_equal(copy(x), model(x))


def test_models_that_are_no_graph_of_layers_are_their_own_twin():
    model = keras.Sequential([keras.layers.Dense(2)])
    assert twin_of(model) is model and Twins({"a": model})["a"] is model

"""G_HR with the linear layers at its ends taken together, against the network layer by layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_by_hand import gradients
from training_tools import precision

from tfrecon.models.ct_deblur import generator_model
from tfrecon.models.srrescycgan import Generator_HR, Generator_LR
from tfrecon.training.by_hand import few_filters_twin
from tfrecon.training.linear_ends import EnlargingTwin, enlarging_twin


def shaken(model, rng):
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(0, 0.1, variable.shape))
    return model


@pytest.mark.parametrize("mode", ["eager", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("graph", "XLA"))])
@pytest.mark.parametrize("shape", [(2, 11, 13, 3), (1, 4, 9, 1), (1, 1, 5, 3), (2, 3, 3, 3)], ids=str)
def test_output_and_derivatives_are_those_of_the_layers(shape, mode):
    """Wide, with less than two strips in one direction or both, and of a single row; the output reaches both clips."""
    rng = np.random.default_rng(0)
    with precision("float64"):
        model = shaken(Generator_HR((None, None, shape[-1]), filters=3, n_blocks=1), rng)
        model.get_layer("head_conv").kernel.assign(3 * model.get_layer("head_conv").kernel)
        twin, x = enlarging_twin(model), tf.constant(rng.normal(0, 100, shape))
        assert isinstance(twin, EnlargingTwin)
        run = gradients(twin, model.trainable_variables)
        run = run if mode == "eager" else tf.function(run, jit_compile=mode == "XLA")
        expected = [np.asarray(v) for v in gradients(model, model.trainable_variables)(x)]
        assert 0.2 < np.mean(expected[0] == 0) < 0.8
        largest = max(np.abs(v).max() for v in expected[2:])
        for i, (a, b) in enumerate(zip(expected, run(x), strict=True)):
            np.testing.assert_allclose(a, b, atol=1e-12 * (largest if i > 1 else np.abs(a).max()))


def test_single_precision_differs_in_rounding_alone():
    rng = np.random.default_rng(0)
    model = shaken(Generator_HR((None, None, 3), filters=16, n_blocks=2), rng)
    x = tf.constant(rng.uniform(0, 255, (1, 20, 24, 3)), tf.float32)
    expected, found = model(x), enlarging_twin(model)(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_images_whose_size_is_known_only_when_they_come():
    model = shaken(Generator_HR((None, None, 3), filters=2, n_blocks=1), np.random.default_rng(0))
    twin = enlarging_twin(model)
    run = tf.function(gradients(twin, model.trainable_variables), input_signature=[tf.TensorSpec((None, None, None, 3))])
    x = tf.random.uniform((1, 9, 12, 3), maxval=255.0, seed=1)
    for a, b in zip(run(x), gradients(model, model.trainable_variables)(x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max())


def other_order():
    """The names of Generator_HR's layers, but what is taken away from what is the other way round."""
    made = Generator_HR((None, None, 3), filters=2, n_blocks=1)
    inputs, found = made.input, {layer.name: layer for layer in made.layers}
    turned = keras.layers.Subtract(name="global_skip")([found["decoder_conv2"].output, found["encoder"].output])
    head = keras.layers.Conv2D(3, 3, padding="same", name="head_conv")(turned)
    return keras.Model(inputs, keras.layers.ReLU(name="clip")(head))


OTHERS = [
    lambda: Generator_HR((None, None, 3), filters=2, n_blocks=1, projection=True),
    lambda: Generator_LR((None, None, 3), filters=2, n_blocks=1),
    lambda: keras.Sequential([keras.layers.Dense(2)]),
    other_order,
]


@pytest.mark.parametrize("build", OTHERS, ids=["projection", "another network", "no graph", "same names, other order"])
def test_networks_built_otherwise_keep_their_layers(build):
    assert not isinstance(enlarging_twin(build()), EnlargingTwin)


def test_a_layer_used_elsewhere_too_keeps_its_layers():
    model = Generator_HR((None, None, 3), filters=2, n_blocks=1)
    model.get_layer("head_conv")(keras.Input((None, None, 2)))
    assert not isinstance(enlarging_twin(model), EnlargingTwin)


def test_making_the_twin_leaves_the_model_as_it_was():
    model = Generator_HR((None, None, 3), filters=2, n_blocks=1)
    before, x = model.get_config(), np.ones((1, 4, 4, 3), np.float32)
    assert all(isinstance(enlarging_twin(model), EnlargingTwin) for _ in range(2))
    assert model.get_config() == before
    copy = keras.Model.from_config(before)
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy(x), model(x))


def test_half_precision_keeps_its_layers():
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert not isinstance(enlarging_twin(Generator_HR((None, None, 3), filters=2, n_blocks=1)), EnlargingTwin)
    finally:
        keras.config.set_dtype_policy(former)


def test_only_convolutions_to_few_filters_are_by_hand_in_a_few_filters_twin():
    model = generator_model((None, None, 3), ngf=8, n_blocks=1, dropout=0.0)
    twin = few_filters_twin(model)
    assert [layer.name for layer in twin.layers if type(layer).__name__ == "_ByHand"] == ["model_18"]
    without = keras.Model(model.input, model.get_layer("model_1").output)
    assert few_filters_twin(without) is without


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [(4, 4), (3, 2)], ids=str)
def test_a_single_filter_by_taps_has_the_second_derivatives_of_the_convolution(padding, size):
    rng = np.random.default_rng(0)
    with precision("float64"):
        inputs = keras.Input((9, 8, 64))
        model = keras.Model(inputs, keras.layers.Conv2D(1, size, padding=padding, activation="tanh", name="last")(inputs))
        x, found = tf.constant(rng.normal(size=(2, 9, 8, 64))), []
        for network in (model, few_filters_twin(model)):
            with tf.GradientTape() as outer:
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    output = network(x)
                    total = tf.reduce_sum(output)
                penalty = tf.reduce_mean(tf.square(tape.gradient(total, x)))
            found.append([output, penalty, outer.gradient(penalty, model.trainable_variables[0].value)])
        assert type(few_filters_twin(model).layers[-1]).__name__ == "_ByHand"
        for expected, got in zip(*found):
            np.testing.assert_allclose(got, expected, atol=1e-13 * np.abs(expected).max())

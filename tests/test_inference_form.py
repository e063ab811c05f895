"""The inference form: the same outputs with less work, from every kind of network, in every way it may be run."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_tools import arrays_of, assign_in_order, precision

from tfrecon.layers import AddShiftedRows, InterleavePhases, WinogradConv2D
from tfrecon.layers.phases import phase_kernel, row_kernel
from tfrecon.layers.winograd import winograd_kernel
from tfrecon.models import ct_deblur, deblurgan_mri, pix2pix, unet_gan
from tfrecon.models.inference_form import inference_form
from tfrecon.training import Pix2Pix

OF_RANGE = 1e-4  # what the form promises in float32, of the output's range


def images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(keras.config.floatx())


def randomised(model, seed=0):
    """The model as training may leave it: no moving mean is 0, no variance 1."""
    rng = np.random.default_rng(seed)
    for variable in arrays_of(model):
        around = 0.0 if variable.name in ("bias", "beta", "moving_mean") else 1.0
        if variable.name == "kernel":
            value = rng.normal(size=variable.shape) / np.sqrt(np.prod(variable.shape[:-1]))
        else:
            value = around + rng.uniform(-0.5, 0.5, variable.shape)
        variable.assign(value)
    return model


def small(**options):
    """128 channels in the middle: as many as it takes for Winograd's form."""
    return randomised(deblurgan_mri.generator_model(**{"image_shape": (None, None, 3), "ngf": 32, "n_blocks": 2, **options}))


def check_equal(form, model, x):
    expected = np.asarray(model(x, training=False))
    np.testing.assert_allclose(form(x), expected, rtol=0, atol=OF_RANGE * np.ptp(expected))


def test_form_of_the_golden_generator_equals_the_original(golden):
    case = golden("keras_generator")
    generator = deblurgan_mri.generator_model(case["x"].shape[1:])
    assign_in_order(generator, case.weights())
    form = inference_form(generator)
    np.testing.assert_allclose(form(case["x"]), case["y"], rtol=0, atol=OF_RANGE * np.ptp(case["y"]))
    np.testing.assert_array_equal(form(case["x"], training=True), form(case["x"]))


def test_nothing_is_left_that_could_be_merged():
    generator = small(image_shape=(32, 32, 3))
    form = inference_form(generator)
    kinds = [type(layer) for layer in form.layers]
    gone = {keras.layers.BatchNormalization, keras.layers.UpSampling2D, keras.layers.Dropout, keras.layers.ReLU}
    assert not [kind for kind in kinds if issubclass(kind, tuple(gone))]
    assert kinds.count(WinogradConv2D) == 4 and kinds.count(InterleavePhases) == 2 and kinds.count(AddShiftedRows) == 1
    assert form.input_shape == generator.input_shape and form.output_shape == generator.output_shape
    assert not form.trainable_variables


@pytest.mark.parametrize("shape", [(3, 36, 52, 3), (1, 8, 8, 3)])
def test_sizes_that_no_tile_divides_and_several_images(shape):
    generator = small()
    check_equal(inference_form(generator), generator, images(*shape))


def test_form_in_float64_is_the_same_sum():
    """To 1e-11: whatever float32 loses is rounding, not a neglected term, also at the borders."""
    with precision("float64"):
        generator, x = small(image_shape=(20, 28, 3)), images(2, 20, 28, 3)
    np.testing.assert_allclose(inference_form(generator)(x), generator(x, training=False), atol=1e-11)


@pytest.mark.parametrize("build", [
    lambda: ct_deblur.generator_model((32, 40, 1), ngf=32, n_blocks=1),
    lambda: ct_deblur.generator_model((32, 40, 1), ngf=32, n_blocks=1, norm="batch"),
    lambda: pix2pix.generator_model((32, 32, 3), ngf=4, num_downs=5, norm="batch"),
    lambda: unet_gan.generator_model((37, 50, 1), width=16),
    lambda: unet_gan.generator_model((37, 50, 1), width=16, revision="2024", bilinear=False),
    lambda: deblurgan_mri.discriminator_model((32, 32, 3), ndf=8),
], ids=["ct", "ct batch norm", "pix2pix", "unet", "unet 2024", "critic"])
def test_every_network_has_a_form(build):
    model = randomised(build())
    check_equal(inference_form(model), model, images(2, *model.input_shape[1:]))


def test_compiled_and_exported_with_unknown_sizes(tmp_path):
    generator = small(n_blocks=1)
    form, x = inference_form(generator), images(2, 20, 28, 3)
    compiled = tf.function(form, jit_compile=True)
    check_equal(compiled, generator, x)
    form.export(tmp_path / "form", verbose=False)
    served = tf.saved_model.load(tmp_path / "form")
    for shape in ((1, 16, 24, 3), (2, 20, 28, 3)):
        check_equal(served.serve, generator, images(*shape))


def test_form_is_rebuilt_from_its_config():
    form, x = inference_form(small(n_blocks=1)), images(1, 16, 20, 3)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(form))
    copy.set_weights(form.get_weights())
    np.testing.assert_array_equal(copy(x), form(x))


def test_generator_is_left_alone():
    generator, x = small(n_blocks=1), images(1, 16, 20, 3)
    before, expected = [v.numpy() for v in generator.weights], np.asarray(generator(x))
    form = inference_form(generator)
    form.set_weights([np.zeros_like(w) for w in form.get_weights()])
    for variable, value in zip(generator.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    np.testing.assert_array_equal(generator(x), expected)
    assert not {id(layer) for layer in generator.layers} & {id(layer) for layer in form.layers}
    assert generator.trainable_variables and generator.get_layer("half").output is generator.output


def test_tensors_read_twice_are_merged_only_where_that_is_right():
    """The sum of a convolution, of its normalised form and of that form's ReLU needs all three."""
    inputs = keras.Input((8, 8, 2))
    enlarged = keras.layers.UpSampling2D(2)(inputs)
    conv = keras.layers.Conv2D(2, 3, padding="same")(enlarged)
    norm = keras.layers.BatchNormalization()(conv)
    model = randomised(keras.Model(inputs, keras.layers.Add()([enlarged, conv, norm, keras.layers.ReLU()(norm)])))
    check_equal(inference_form(model), model, images(2, 8, 8, 2))


def chain(*layers):
    x = inputs = keras.Input((8, 8, 2))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


UP, CONV, NORM, RELU = (getattr(keras.layers, n) for n in ("UpSampling2D", "Conv2D", "BatchNormalization", "ReLU"))


@pytest.mark.parametrize("build", [
    lambda: chain(CONV(4, 3), RELU(), NORM(), RELU()), lambda: chain(CONV(4, 3), RELU(max_value=0.1)),
    lambda: chain(CONV(4, 3, activation="tanh"), NORM()), lambda: chain(CONV(4, 3, groups=2), NORM()),
    lambda: chain(CONV(4, 3, dilation_rate=2), NORM()), lambda: chain(NORM(), CONV(4, 3, use_bias=False)),
    lambda: chain(CONV(4, 3), NORM(center=False, scale=False)), lambda: chain(CONV(2, 7, padding="same")),
    lambda: chain(CONV(2, 7), RELU()), lambda: chain(UP(2, interpolation="bilinear"), CONV(4, 3, padding="same")),
    lambda: chain(UP(3), CONV(4, 3, padding="same")), lambda: chain(UP(2), CONV(4, 3)), lambda: chain(UP(2), CONV(4, 5)),
    lambda: chain(UP(2), CONV(4, 3, padding="same", strides=2)), lambda: chain(CONV(128, 3), CONV(128, 3, strides=2)),
])
def test_what_only_looks_alike_is_not_merged_or_rearranged(build):
    model = randomised(build())
    check_equal(inference_form(model), model, images(2, 8, 8, 2))


def shared_layer():
    inputs, conv = keras.Input((8, 8, 2)), keras.layers.Conv2D(2, 3, padding="same")
    return keras.Model(inputs, conv(conv(inputs)))


def half_precision():
    with precision("float32"):
        keras.config.set_dtype_policy("mixed_bfloat16")
        return deblurgan_mri.generator_model((16, 16, 3), ngf=2, n_blocks=1)


def composite():
    generator = deblurgan_mri.generator_model((16, 16, 3), ngf=2, n_blocks=1)
    return deblurgan_mri.generator_containing_discriminator(generator, deblurgan_mri.discriminator_model((16, 16, 3), ndf=2))


def trainer():
    return Pix2Pix(pix2pix.generator_model((32, 32, 3), ngf=2, num_downs=5),
                   pix2pix.discriminator_model((32, 32, 3), ndf=2, n_layers=2))


def bare_operation():
    inputs = keras.Input((8, 8, 2))
    return keras.Model(inputs, keras.layers.ReLU()(keras.ops.abs(inputs)))


@pytest.mark.parametrize("build, message", [
    (trainer, "functional Keras model, received a Pix2Pix"), (dict, "received a dict"), (composite, "holds Generator"),
    (half_precision, "received bfloat16"), (shared_layer, "shared layer"), (bare_operation, "bare"),
])
def test_refusals(build, message):
    with pytest.raises(ValueError, match=message):
        inference_form(build())


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [(3, 3), (6, 6), (7, 12)])
def test_winograd_equals_the_plain_convolution(padding, size):
    rng = np.random.default_rng(0)
    kernel, bias, x = rng.normal(size=(3, 3, 2, 5)), rng.normal(size=5), rng.normal(size=(2, *size, 2))
    layer = WinogradConv2D(5, padding, "relu", dtype="float64")
    layer.build(x.shape)
    layer.set_weights([winograd_kernel(kernel), bias])
    expected = np.maximum(keras.ops.conv(x, kernel, padding=padding) + bias, 0)
    np.testing.assert_allclose(layer(x), expected, atol=1e-12)
    with pytest.raises(ValueError, match="valid or same"):
        WinogradConv2D(5, "reflect")


def test_phases_equal_enlarging_first():
    rng = np.random.default_rng(0)
    kernel, x = rng.normal(size=(3, 3, 2, 5)), rng.normal(size=(2, 4, 7, 2))
    expected = keras.ops.conv(x.repeat(2, axis=1).repeat(2, axis=2), kernel, padding="same")
    phases = keras.ops.conv(np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]), phase_kernel(kernel))
    np.testing.assert_allclose(InterleavePhases(dtype="float64")(phases), expected, atol=1e-12)


def test_rows_add_up_to_the_convolution():
    rng = np.random.default_rng(0)
    kernel, x = rng.normal(size=(5, 3, 2, 4)), rng.normal(size=(2, 9, 7, 2))
    rows = AddShiftedRows(5, dtype="float64")(keras.ops.conv(x, row_kernel(kernel)))
    np.testing.assert_allclose(rows, keras.ops.conv(x, kernel), atol=1e-12)

"""The inference form: the same outputs with less work, from every kind of network, in every way it may be run."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_tools import arrays_of, assign_in_order, precision

from tfrecon.layers import (
    AddShiftedRows,
    DepthToSpace,
    ExactBorder,
    InterleavePhases,
    MaximumPReLU,
    OverhangChannels,
    RowwiseInstanceNormalization,
    WinogradConv2D,
    WinogradRowsConv2D,
)
from tfrecon.layers.overhang import overhang_kernel, overhangs
from tfrecon.layers.phases import phase_kernel, row_kernel
from tfrecon.layers.winograd import winograd_kernel
from tfrecon.layers.winograd_rows import winograd_rows_kernel
from tfrecon.models import ct_deblur, deblurgan_mri, pix2pix, srrescycgan, unet_gan, unrolled
from tfrecon.models.inference_form import inference_form
from tfrecon.training import Pix2Pix

OF_RANGE = 1e-4  # what the form promises in float32, of the output's range


def images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(keras.config.floatx())


def randomised(model, seed=0):
    """The model as training may leave it: no moving mean is 0, no variance 1."""
    rng = np.random.default_rng(seed)
    for variable in arrays_of(model):
        around = 0.0 if variable.name in ("alpha", "bias", "beta", "moving_mean") else 1.0
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
    lambda: srrescycgan.Generator_LR((22, 17, 3), filters=8, n_blocks=1),
    lambda: srrescycgan.Discriminator_LR((22, 17, 3), filters=4),
    lambda: unrolled.resnet_denoiser(32, 2, batch_norm=True, image_shape=(22, 17, 2)),
    lambda: unrolled.unet_denoiser(2, 4, image_shape=(22, 18, 2)),
    lambda: unrolled.cnn_denoiser(3, 8, image_shape=(22, 17, 2)),
], ids=["ct", "ct batch norm", "pix2pix", "unet", "unet 2024", "critic", "sr reducing", "sr critic",
        "resnet", "unet denoiser", "cnn"])
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


@pytest.mark.parametrize("height", [7, 10, 14, 21])
def test_convolution_filtered_by_rows(height):
    """Equal to the convolution itself, whatever the last tile holds; rectangular kernels too."""
    with precision("float64"):
        plain = keras.layers.Conv2D(5, (7, 3), activation="relu", bias_initializer="random_normal")
        x = images(2, height, 9, 4)
        expected = plain(x)
        form = WinogradRowsConv2D(5, 3, "relu")
        form.build(x.shape)
        form.set_weights([winograd_rows_kernel(plain.kernel), plain.bias])
    assert form.compute_output_shape((2, None, 9, 4)) == (2, None, 7, 5)
    np.testing.assert_allclose(form(x), expected, atol=1e-12)


@pytest.mark.parametrize("cls", [unrolled.MoDL, unrolled.DeepBasisPursuit])
def test_form_of_an_unrolled_network(cls):
    """Lambda comes along, and the denoiser's 7x7 convolutions are filtered by rows."""
    model = cls(randomised(unrolled.resnet_denoiser(32, 2)), num_unrolls=2, l2lam=0.1)
    model.consistency.l2lam.assign(0.7)
    rng = np.random.default_rng(0)
    kspace, maps = rng.normal(size=(2, 1, 3, 24, 20, 2)).astype("float32").view("complex64")[..., 0]
    inputs = {"kspace": kspace, "sens_maps": maps, "mask": np.ones((1, 24, 20), "float32")}
    form, expected = model.inference_form(), np.asarray(model(inputs))
    assert sum(isinstance(layer, WinogradRowsConv2D) for layer in form.denoiser.layers) == 2
    assert not form.trainable_variables
    np.testing.assert_allclose(form(inputs), expected, rtol=0, atol=OF_RANGE * np.abs(expected).max())


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


def chain(*layers, size=(8, 8)):
    x = inputs = keras.Input((*size, 2))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


UP, CONV, NORM, RELU = (getattr(keras.layers, n) for n in ("UpSampling2D", "Conv2D", "BatchNormalization", "ReLU"))
PRELU, GROUPS, SPREAD = (getattr(keras.layers, n) for n in ("PReLU", "GroupNormalization", "Conv2DTranspose"))


def wide(size=3):
    return CONV(16, size, padding="same")


def narrow(size=3):
    return CONV(2, size, padding="same")


def spread(size, strides):
    return SPREAD(16, size, strides=strides, padding="same")


@pytest.mark.parametrize("build", [
    lambda: chain(CONV(4, 3), RELU(), NORM(), RELU()), lambda: chain(CONV(4, 3), RELU(max_value=0.1)),
    lambda: chain(CONV(4, 3, activation="tanh"), NORM()), lambda: chain(CONV(4, 3, groups=2), NORM()),
    lambda: chain(CONV(4, 3, dilation_rate=2), NORM()), lambda: chain(NORM(), CONV(4, 3, use_bias=False)),
    lambda: chain(CONV(4, 3), NORM(center=False, scale=False)), lambda: chain(CONV(2, 7, padding="same")),
    lambda: chain(CONV(2, 7), RELU()), lambda: chain(PRELU(shared_axes=[1]), PRELU()),
    lambda: chain(GROUPS(groups=1)), lambda: chain(GROUPS(groups=-1, axis=1)),
    lambda: chain(GROUPS(groups=-1, center=False, scale=False)), lambda: chain(wide(), CONV(2, 3)),
    lambda: chain(wide(), CONV(2, 3, padding="same", strides=2)), lambda: chain(wide(), RELU(), narrow()),
    lambda: chain(wide(), CONV(2, (1, 3), padding="same")), lambda: chain(CONV(16, 2, padding="same"), narrow()),
    lambda: chain(SPREAD(16, 5, strides=2), narrow()), lambda: chain(spread(5, 2), NORM()),
    lambda: chain(spread(5, (2, 4)), narrow()), lambda: chain(spread(3, 1), narrow()),
    lambda: chain(SPREAD(16, 3, strides=2, padding="same", output_padding=0), narrow()),
    lambda: chain(UP(2, interpolation="bilinear"), CONV(4, 3, padding="same")),
    lambda: chain(UP(3), CONV(4, 3, padding="same")), lambda: chain(UP(2), CONV(4, 3)), lambda: chain(UP(2), CONV(4, 5)),
    lambda: chain(UP(2), CONV(4, 3, padding="same", strides=2)), lambda: chain(CONV(128, 3), CONV(128, 3, strides=2)),
])
def test_what_only_looks_alike_is_not_merged_or_rearranged(build):
    model = randomised(build())
    check_equal(inference_form(model), model, images(2, 8, 8, 2))


def kinds_in(model):
    return [type(layer) for layer in model.layers]


@pytest.mark.parametrize("stages, border", [
    (lambda: [wide(3), narrow(3)], 1), (lambda: [wide(5), CONV(16, 3, padding="same", use_bias=False), narrow(1)], 1),
    (lambda: [wide(1), narrow(5)], 1), (lambda: [wide(5), narrow(1)], 0), (lambda: [wide(), NORM(), narrow(), NORM()], 1),
    (lambda: [spread(5, 4), narrow(5)], 0), (lambda: [spread(3, 2), narrow(3)], 0), (lambda: [spread(4, 2), narrow(3)], 0),
    (lambda: [spread(2, 3), narrow(3)], 0), (lambda: [spread(5, 4), wide(3), wide(3), narrow(3)], 1),
])
def test_chains_become_one_convolution_at_every_size(stages, border):
    with precision("float64"):
        model = randomised(chain(*stages(), size=(None, None)))
        form = inference_form(model)
        for height, width in ((1, 1), (1, 4), (3, 2), (6, 7), (5, 13), (12, 11)):
            x = images(2, height, width, 2)
            np.testing.assert_allclose(form(x), model(x), atol=1e-12)
    kinds = kinds_in(form)
    assert kinds.count(ExactBorder) == border and keras.layers.Conv2DTranspose not in kinds
    assert keras.layers.BatchNormalization not in kinds


@pytest.mark.parametrize("combine, used, joined", [
    (lambda a, b: keras.layers.Subtract()([wide()(a), wide(5)(a)]), 1, True),
    (lambda a, b: keras.layers.Add()([wide()(a), spread(3, 2)(b), wide()(wide()(a))]), 2, True),
    (lambda a, b: keras.layers.Add()([wide()(a), keras.layers.ReLU()(wide()(a))]), 1, False),
    (lambda a, b: keras.layers.Add()([wide()(a), CONV(1, 3, padding="same")(a)]), 1, False),
    (lambda a, b: keras.layers.Multiply()([wide()(a), wide()(a)]), 1, False),
])
def test_convolution_of_a_sum_is_the_sum_of_convolutions(combine, used, joined):
    """Where each of them then is one with the chain before it; the bias is added once."""
    with precision("float64"):
        inputs = keras.Input((12, 10, 2)), keras.Input((6, 5, 2))
        x = [images(2, 12, 10, 2), images(2, 6, 5, 2)]
        combined = combine(*inputs)
        inputs, x = (inputs, x) if used == 2 else (inputs[0], x[0])  # Keras 3.13 refuses an input nothing is made of
        model = randomised(keras.Model(inputs, [narrow()(combined), RELU()(narrow(5)(narrow()(combined)))]))
        form = inference_form(model)
        for got, expected in zip(form(x), model(x), strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-12)
    assert (ExactBorder in kinds_in(form)) == joined


def super_resolution(filters=16, clipped=True, **options):
    """With 16 filters every rearrangement is worth it, without the clip every pixel counts."""
    model = srrescycgan.Generator_HR(**{"input_shape": (None, None, 3), "n_blocks": 1, **options}, filters=filters)
    return randomised(model if clipped else keras.Model(model.input, model.get_layer("head_conv").output))


@pytest.fixture(scope="module")
def exact():
    with precision("float64"):
        generator = super_resolution(clipped=False)
        return generator, inference_form(generator)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 1, 5, 3), (2, 2, 3, 3), (1, 3, 2, 3), (1, 7, 9, 3), (2, 16, 16, 3)])
def test_super_resolution_in_float64_is_the_same_sum_at_every_size(exact, shape):
    generator, form = exact
    x = 100 * np.random.default_rng(0).normal(size=shape)
    np.testing.assert_allclose(form(x), generator(x), atol=1e-10)


def test_super_resolution_has_no_wide_convolution_left_but_the_blocks():
    kinds = kinds_in(inference_form(super_resolution()))
    gone = {keras.layers.Conv2DTranspose, keras.layers.GroupNormalization, keras.layers.PReLU}
    assert not gone & set(kinds)
    assert [kinds.count(kind) for kind in (OverhangChannels, DepthToSpace, ExactBorder)] == [1, 2, 1]
    form = inference_form(super_resolution(64))
    convolutions = [layer for layer in form.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [c.name for c in convolutions if c.kernel.shape[2:] == (64, 64)] == ["block1_conv1", "block1_conv2"]
    assert form.get_layer("head_conv_part1_inside_rows").kernel_size == (1, 11)


def test_super_resolution_in_float32_is_right_inside_and_along_every_border():
    generator = super_resolution(64, clipped=False, input_shape=(16, 12, 3))
    x = 255 * np.random.default_rng(0).random((2, 16, 12, 3), np.float32)
    expected, got = np.asarray(generator(x)), np.asarray(inference_form(generator)(x))
    for part in np.s_[:, :3], np.s_[:, -3:], np.s_[:, :, :3], np.s_[:, :, -3:], np.s_[:, 3:-3, 3:-3]:
        np.testing.assert_allclose(got[part], expected[part], rtol=0, atol=OF_RANGE * np.ptp(expected[part]))


@pytest.mark.parametrize("options", [
    {"filters": 1}, {"filters": 2, "n_blocks": 2}, {"filters": 5}, {"filters": 16, "projection": True},
    {"filters": 16, "n_blocks": 0}, {"filters": 16, "input_shape": (None, None, 1)},
], ids=str)
def test_every_super_resolution_has_a_form(options):
    generator = super_resolution(**options)
    x = 255 * np.random.default_rng(0).random((2, 8, 9, generator.input_shape[-1]), np.float32)
    check_equal(inference_form(generator), generator, x)


def test_slopes_above_one_stay_as_they_are():
    model = randomised(chain(PRELU(shared_axes=[1, 2]), PRELU(shared_axes=[1, 2])))
    model.layers[1].set_weights([np.array([[[1.0, -2.0]]])])
    model.layers[2].set_weights([np.array([[[1.0, 1.5]]])])
    form, x = inference_form(model), images(2, 8, 8, 2)
    assert kinds_in(form)[1:] == [MaximumPReLU, keras.layers.PReLU]
    np.testing.assert_array_equal(form(x), model(x))


def test_norm_of_an_image_far_from_zero():
    x = 1000 + images(2, 30, 40, 3)
    model = randomised(keras.Sequential([keras.Input(x.shape[1:]), GROUPS(groups=-1)]))
    layer = RowwiseInstanceNormalization()
    layer.build(x.shape)
    layer.set_weights(model.get_weights())
    with precision("float64"):
        expected = GROUPS(groups=-1)
        expected.build(x.shape)
        expected.set_weights(model.get_weights())
        expected = expected(x.astype(np.float64))
    np.testing.assert_allclose(layer(x), expected, atol=1e-3)


def test_super_resolution_compiled_exported_and_saved(tmp_path):
    generator = super_resolution()
    form = inference_form(generator)
    form.export(tmp_path / "form", verbose=False)
    form.save(tmp_path / "form.keras")
    served = tf.saved_model.load(tmp_path / "form")
    loaded = keras.saving.load_model(tmp_path / "form.keras")
    for shape in ((1, 1, 2, 3), (2, 5, 3, 3)):  # with rows too few for the border's kernels, and with enough
        x = 255 * np.random.default_rng(0).random(shape, np.float32)
        for run in (served.serve, loaded):
            check_equal(run, generator, x)
    check_equal(tf.function(form, jit_compile=True), generator, x)


def test_form_keeps_the_type_of_its_model_under_another_policy():
    generator = super_resolution()
    with precision("float32"):
        keras.config.set_dtype_policy("mixed_bfloat16")
        form = inference_form(generator)
    assert {layer.compute_dtype for layer in form.layers[1:]} == {v.dtype for v in form.weights} == {"float32"}
    check_equal(form, generator, 255 * np.random.default_rng(0).random((1, 4, 5, 3), np.float32))


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


@pytest.mark.parametrize("size, stride", [((5, 5), 4), ((3, 3), 2), ((4, 2), 2), ((2, 3), 3), ((7, 6), 2)])
@pytest.mark.parametrize("shape", [(1, 1), (2, 5)])
def test_overhang_kernel_does_the_work_of_both_layers(size, stride, shape):
    with precision("float64"):
        model = randomised(chain(spread(size, stride), narrow(5), size=shape))
        x = images(2, *shape, 2)
        kernel, bias = overhang_kernel(*model.layers[1].get_weights(), stride, *model.layers[2].get_weights())
        channels = OverhangChannels(*(overhangs(k, stride) for k in size))(x)
        phases = keras.ops.conv(channels, kernel, padding="same") + bias
        np.testing.assert_allclose(DepthToSpace(stride)(phases), model(x), atol=1e-12)

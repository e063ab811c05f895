"""Layers and losses: closed forms, gradients where they are delicate, config round trips, XLA and unknown sizes."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import check_config_round_trip

from tfrecon import layers, losses, metrics
from tfrecon.errors import UsageError


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


LAYERS = [
    (layers.AlignCornersUpSampling2D, {}, [(2, 5, 4, 3)]),
    (layers.PadToMatch, {}, [(2, 5, 4, 3), (2, 7, 5, 1)]),
    (layers.Magnitude, {}, [(2, 5, 4, 2)]),
    (layers.ReflectionPadding2D, {"padding": 2}, [(2, 5, 4, 3)]),
    (layers.Clip, {"minimum": -0.5, "maximum": 0.25}, [(2, 5, 4, 3)]),
    (layers.InstanceNormalization, {"epsilon": 1e-4, "center": False}, [(2, 5, 4, 3)]),
    (layers.BatchNormalization, {"momentum": 0.7, "epsilon": 1e-4, "center": False}, [(2, 5, 4, 3)]),
    (layers.InterleavePhases, {}, [(2, 5, 4, 8)]),
    (layers.AddShiftedRows, {"rows": 3}, [(2, 5, 4, 6)]),
    (layers.DepthToSpace, {"size": 2}, [(2, 5, 4, 8)]),
    (layers.OverhangChannels, {"rows": [-1, 0, 1], "columns": [0, 2]}, [(2, 5, 4, 3)]),
    (layers.ExactBorder, {"sizes": [3, 3], "filters": [4, 2]}, [(2, 5, 4, 2), (2, 5, 4, 3)]),
    (layers.RowwiseInstanceNormalization, {"epsilon": 1e-4}, [(2, 5, 4, 3)]),
    (layers.MaximumPReLU, {}, [(2, 5, 4, 3)]),
    (layers.WinogradConv2D, {"filters": 3, "padding": "same", "activation": "relu"}, [(2, 5, 7, 2)]),
    (layers.WinogradRowsConv2D, {"filters": 3, "kernel_width": 3, "activation": "relu"}, [(2, 11, 7, 2)]),
    (layers.BilinearUpSampling2D, {"scale": 3}, [(2, 5, 4, 3)]),
    (layers.WeightNormConv2D, {"filters": 3, "kernel_size": 3, "padding": "same", "transposed": True}, [(2, 5, 4, 2)]),
    (layers.ChannelPReLU, {"initial_slope": 0.1}, [(2, 5, 4, 3)]),
    (layers.WaveletNoise, {}, [(2, 9, 10, 3)]),
    (layers.L2BallProjection, {"initial_alpha": -1.0}, [(2, 5, 4, 3), (2,)]),
    (layers.SoftThreshold, {"threshold": 0.3}, [(2, 5, 4, 3)]),
    (layers.KeepLargest, {"count": 7}, [(2, 5, 4, 3)]),
    (layers.UnusedScalar, {"weight_name": "l2lam"}, [(2, 5, 4, 3)]),
]
# Complex inputs by name: tests/test_data_consistency.py; two outputs and an inverse: tests/test_flow_layers.py.
ELSEWHERE = {"DataConsistency", "ActNorm", "CentreLevels", "Conv1x1LU", "FlowStep", "RationalQuadraticCoupling", "Squeeze"}


@pytest.mark.parametrize("cls, config, shapes", LAYERS, ids=lambda x: getattr(x, "__name__", None))
def test_layer_laws(cls, config, shapes):
    layer = cls(name="law", **config)
    values = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    inputs = values if len(values) > 1 else values[0]
    check_config_round_trip(layer, inputs)
    output = layer(inputs)
    computed = layer.compute_output_shape(shapes if len(shapes) > 1 else shapes[0])
    assert tuple(computed) == tuple(output.shape)
    unknown = [tf.TensorSpec([None] * (len(s) - 1) + [s[-1]], tf.float32) for s in shapes]
    for jit in (False, True):  # sizes unknown when the graph is made, as in an exported model
        function = tf.function(lambda *x: layer(list(x) if len(x) > 1 else x[0]), unknown, jit_compile=jit)
        np.testing.assert_allclose(function(*values), output, atol=1e-5)


def test_every_layer_is_under_the_laws():
    assert {cls.__name__ for cls, _, _ in LAYERS} | ELSEWHERE == {
        name for name in layers.__all__ if inspect.isclass(getattr(layers, name))}


def test_upsampling_reads_at_i_times_n_minus_1_over_2n_minus_1():
    x = normal(1, 6, 5, 2)
    up = np.asarray(layers.AlignCornersUpSampling2D()(x))
    rows, columns = (np.arange(2 * n) * (n - 1) / (2 * n - 1) for n in (6, 5))
    for c in range(2):
        by_row = np.stack([np.interp(rows, np.arange(6), x[0, :, j, c]) for j in range(5)], axis=1)
        expected = np.stack([np.interp(columns, np.arange(5), row) for row in by_row])
        np.testing.assert_allclose(up[0, ..., c], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (1, 1, 6, 1)])
def test_upsampling_and_its_written_out_gradient_equal_tensorflows_kernel(shape):
    x, upstream = tf.constant(normal(*shape)), normal(shape[0], 2 * shape[1], 2 * shape[2], shape[3], seed=1)
    size = [2 * shape[1], 2 * shape[2]]
    results = []
    for function in (layers.AlignCornersUpSampling2D(),
                     lambda x: tf.raw_ops.ResizeBilinear(images=x, size=size, align_corners=True)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        results.append((y, tape.gradient(y, x, upstream)))
    for ours, theirs in zip(*results):
        np.testing.assert_allclose(ours, theirs, atol=3e-6)


def test_upsampling_of_one_pixel_repeats_it():
    np.testing.assert_array_equal(layers.AlignCornersUpSampling2D()(np.full((1, 1, 1, 1), 3.0)), np.full((1, 2, 2, 1), 3.0))


def test_shrinkage():
    x = np.array([[[[-2.0, -0.5, 0.0, 0.4, 3.0]]]])
    np.testing.assert_allclose(layers.SoftThreshold(0.5)(x)[0, 0, 0], [-1.5, 0, 0, 0, 2.5])
    np.testing.assert_array_equal(layers.KeepLargest(2)(x)[0, 0, 0], [-2, 0, 0, 0, 3])
    np.testing.assert_array_equal(layers.KeepLargest(9)(x), x.astype(np.float32))
    for wrong in (lambda: layers.SoftThreshold(-1), lambda: layers.KeepLargest(0)):
        with pytest.raises(ValueError, match="at least"):
            wrong()


def test_padding_puts_the_odd_row_behind():
    padded = np.asarray(layers.PadToMatch()([np.ones((1, 2, 2, 1)), np.zeros((1, 5, 3, 1))]))[0, ..., 0]
    np.testing.assert_array_equal(padded, np.pad(np.ones((2, 2)), ((1, 2), (0, 1))))


def test_magnitude_has_gradient_zero_at_zero():
    x = tf.constant([[[[0.0, 0.0], [3.0, 4.0]]]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layers.Magnitude()(x)
    np.testing.assert_array_equal(y[0, 0, :, 0], [0.0, 5.0])
    np.testing.assert_allclose(tape.gradient(y, x)[0, 0], [[0, 0], [0.6, 0.8]], atol=1e-7)


def test_batch_norm_keeps_the_unbiased_variance():
    x = normal(2, 3, 3, 4) * 3 + 1
    layer = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    y = np.asarray(layer(x, training=True))
    np.testing.assert_allclose(y.reshape(-1, 4).mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(y.reshape(-1, 4).std(0), 1, atol=1e-4)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * x.reshape(-1, 4).mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.9 + 0.1 * x.reshape(-1, 4).var(0, ddof=1), rtol=1e-5)
    before = layer.moving_variance.numpy()
    layer(x, training=False)
    layer.trainable = False
    layer(x, training=True)  # a frozen norm neither updates nor uses the batch, as in Keras
    np.testing.assert_array_equal(layer.moving_variance.numpy(), before)


def test_batch_norm_of_a_single_value_stays_finite():
    layer = layers.BatchNormalization()
    layer(np.ones((1, 1, 1, 2), np.float32), training=True)
    assert np.isfinite(layer.moving_variance.numpy()).all()


def test_batch_norm_refuses_what_it_does_not_do():
    with pytest.raises(ValueError, match="axis=-1"):
        layers.BatchNormalization(axis=1)
    with pytest.raises(ValueError, match="mask"):
        layers.BatchNormalization()(normal(1, 2, 2, 1), mask=np.ones((1, 2, 2)))


P = np.array([0.1, 0.6, 0.9], np.float32)


@pytest.mark.parametrize("name, label, expected", [
    ("l1", 1.0, np.mean(1 - P)), ("mse", 0.0, np.mean(P**2)),
    ("bce", 1.0, -np.mean(np.log(P))), ("bce", 0.0, -np.mean(np.log(1 - P))),
    ("bce_logits", 1.0, np.mean(np.log1p(np.exp(-P)))), ("bce_logits", 0.0, np.mean(np.log1p(np.exp(P)))),
    ("kldiv", 1.0, -np.mean(P)), ("kldiv", 0.0, 0.0), ("kldiv", 0.5, np.mean(0.5 * (np.log(0.5) - P))),
])
def test_closed_forms(name, label, expected):
    assert float(losses.get(name)(tf.fill((3,), label), tf.constant(P))) == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("label", [0.0, 0.25, 1.0])
def test_bce_of_logits_at_zero_and_far_out(label):
    """mean(log(1 + exp(x)) - label x), derivative (sigmoid(x) - label) / n, also where relu and abs have a corner."""
    x = np.array([0.0, 60.0, -60.0, 1.5])
    logits = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = losses.bce_logits(tf.fill((4,), label), logits)
    assert float(value) == pytest.approx(np.mean(np.logaddexp(0, x) - label * x), rel=1e-6)
    np.testing.assert_allclose(tape.gradient(value, logits), (1 / (1 + np.exp(-x)) - label) / 4, atol=1e-7)


def test_bce_of_saturated_probabilities_is_finite_as_in_pytorch():
    p = tf.constant([0.0, 1.0])
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = losses.bce(tf.constant([1.0, 0.0]), p)
    assert float(value) == pytest.approx(100.0)
    assert np.isfinite(tape.gradient(value, p)).all()


@pytest.mark.parametrize("data_range", [None, [1.7, 0.4]])
def test_ssim_tensor_equals_the_metric(data_range):
    rng = np.random.default_rng(0)
    t = rng.random((2, 20, 24, 1)).astype(np.float32)
    p = (t + 0.1 * rng.normal(size=t.shape)).astype(np.float32)
    got = losses.ssim_per_image(t, p, data_range)
    ranges = data_range or [None, None]
    expected = [metrics.ssim(t[i, None, ..., 0], p[i, None, ..., 0], ranges[i]) for i in range(2)]
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_ssim_loss_improves_an_image_and_compiles():
    target = tf.constant(np.random.default_rng(0).random((1, 16, 16, 1)), tf.float32)
    image = tf.Variable(tf.fill(target.shape, 0.5))
    optimizer = keras.optimizers.Adam(0.05)

    @tf.function(jit_compile=True)
    def step():
        with tf.GradientTape() as tape:
            loss = losses.ssim(target, image)
        return loss, tape.gradient(loss, image)

    values = []
    for _ in range(30):
        loss, gradient = step()
        optimizer.apply([gradient], [image])
        values.append(float(loss))
    assert values[-1] < 0.2 < 0.7 < values[0]


def test_ssim_of_black_images_is_finite():
    black = np.zeros((1, 16, 16, 1), np.float32)
    assert float(losses.ssim(black, black)) == pytest.approx(0.0, abs=1e-6)


def test_unknown_loss_names_the_choices():
    with pytest.raises(UsageError, match="kldiv"):
        losses.get("hinge")


def test_reflection_mirrors_without_repeating_the_edge():
    x = np.arange(12.0).reshape(1, 3, 4, 1)
    padded = np.asarray(layers.ReflectionPadding2D(2)(x))[0, ..., 0]
    np.testing.assert_array_equal(padded, np.pad(x[0, ..., 0], 2, mode="reflect"))


def test_clip_passes_the_gradient_inside_only():
    x = tf.constant([-2.0, -1.0, 0.3, 1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layers.Clip()(x)
    np.testing.assert_array_equal(y, [-1, -1, np.float32(0.3), 1, 1])
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 1, 1, 1, 0])


@pytest.mark.parametrize("norm", [
    layers.InstanceNormalization(1e-5, center=False, scale=False, dtype="float64"),
    layers.BatchNormalization(second_order=True, dtype="float64"),
], ids=["instance", "batch"])
def test_norms_have_the_right_second_derivative(norm):
    """Against finite differences of the first one; Keras' normalisations are wrong here by half a percent."""
    rng = np.random.default_rng(0)
    kernel = tf.constant(rng.normal(size=(3, 3, 2, 3)))
    x, direction = tf.constant(rng.normal(size=(1, 6, 6, 2))), tf.constant(rng.normal(size=(1, 6, 6, 2)))

    def penalty(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(
                tf.tanh(norm(tf.tanh(tf.nn.conv2d(x, kernel, 1, "SAME")), training=True)) * tf.range(3.0, dtype=tf.float64))
        return tf.reduce_sum(tf.square(tape.gradient(y, x)))

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = penalty(x)
    slope = float(tf.reduce_sum(tape.gradient(value, x) * direction))
    step = 1e-5
    difference = float(penalty(x + step * direction) - penalty(x - step * direction)) / (2 * step)
    assert slope == pytest.approx(difference, rel=1e-6)


def test_frozen_statistics_use_the_batch_and_keep_the_moving_ones():
    layer, x = layers.BatchNormalization(), normal(2, 3, 3, 4) * 3 + 1
    expected = np.asarray(layer(x, training=True))
    before = layer.moving_mean.numpy()
    with layers.frozen_statistics():
        np.testing.assert_allclose(layer(x, training=True), expected, atol=1e-6)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)
    layer(x, training=True)
    assert (layer.moving_mean.numpy() != before).any()

"""Laws of the flow's layers: the inverse undoes, log-determinants are the Jacobian's, everything is rebuilt from its config."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_tools import precision

from tfrecon.errors import UsageError
from tfrecon.layers import ActNorm, CentreLevels, Conv1x1LU, FlowStep, RationalQuadraticCoupling, Squeeze
from tfrecon.layers.rational_quadratic import rational_quadratic_spline, unconstrained_spline
from tfrecon.models.conditioners import convnet_conditioner, residual_conditioner
from tfrecon.models.spline_flow import spline_flow_model


def coupling(build=convnet_conditioner, channels=4, **options):
    network = build(channels // 2, 6, (channels + 1) // 2 * 11, "net", **options)
    return RationalQuadraticCoupling(network, 4, 1.5, 6)


LAYERS = {
    "levels": lambda: CentreLevels(3),
    "squeeze": Squeeze,
    "actnorm": ActNorm,
    "convolution": lambda: Conv1x1LU(seed=5),
    "coupling": coupling,
    "coupling, residual": lambda: coupling(residual_conditioner, num_blocks=1),
    "coupling, odd": lambda: coupling(channels=5),
    "step": lambda: FlowStep(coupling(), seed=2, name="step"),
}


def made(name, shape):
    """A layer in float64 with weights as training may leave them."""
    with precision("float64"):
        layer = LAYERS[name]()
        layer.build(shape)
        layer.built = True
    rng = np.random.default_rng(0)
    for variable in layer.trainable_variables:
        variable.assign(np.array(variable) + 0.3 * rng.normal(size=variable.shape))
    return layer


@pytest.mark.parametrize("name", LAYERS)
def test_laws(name):
    channels = 5 if "odd" in name else 4
    x = np.random.default_rng(1).normal(size=(2, 2, 4, channels))  # some values beyond the tail bound, most within
    layer = made(name, x.shape)
    y, log = layer(x)
    back, minus = layer(y, inverse=True)
    np.testing.assert_allclose(back, x, atol=1e-10)
    np.testing.assert_allclose(log, -np.asarray(minus), atol=1e-10)
    with tf.GradientTape() as tape:
        single = tf.constant(x[:1])
        tape.watch(single)
        result = layer(single)[0]
    jacobian = np.asarray(tape.jacobian(result, single)).reshape(x[0].size, x[0].size)
    np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], log[0], atol=1e-9)
    copy = type(layer).from_config(layer.get_config())
    with precision("float64"):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        if not again.built:
            again.build(x.shape)
        again.set_weights(layer.get_weights())
    assert copy.get_config() == layer.get_config()
    np.testing.assert_array_equal(again(x)[0], y)


@pytest.mark.parametrize("inverse", [False, True])
def test_splines_are_safe_far_outside_and_at_the_knots(inverse):
    """No NaN in values or gradients wherever x lies, in float32; the box's ends map onto each other."""
    rng = np.random.default_rng(0)
    x = np.array([-1e30, -3, -1, -1 + 1e-7, 0, 1 - 1e-7, 1, 1 + 1e-7, 1e30], "float32")
    widths, heights, slopes = (5 * rng.normal(size=(9, n)).astype("float32") for n in (6, 6, 5))
    raw = [tf.constant(v) for v in (x, widths, heights, slopes)]
    with tf.GradientTape() as tape:
        tape.watch(raw)
        y, log = unconstrained_spline(*raw, inverse=inverse)
        total = tf.reduce_sum(y[1:-1]) + tf.reduce_sum(log)
    assert np.isfinite(y).all() and np.isfinite(log).all()
    assert all(np.isfinite(g).all() for g in tape.gradient(total, raw))
    np.testing.assert_array_equal(np.asarray(y)[[0, 1, 7, 8]], x[[0, 1, 7, 8]])
    np.testing.assert_allclose(np.asarray(y)[[2, 6]], [-1, 1], atol=1e-6)
    ends, _ = rational_quadratic_spline(np.float32([-9, 0, 2, 7]), widths[:4], heights[:4], 5 * np.ones((4, 7), "float32"),
                                        inverse, (0.0, 2.0, 0.0, 2.0))
    np.testing.assert_allclose(ends, [0, 0, 2, 2], atol=1e-5)


def test_splines_inverse_is_the_identity_in_float32():
    rng = np.random.default_rng(2)
    x = rng.uniform(-2, 2, 4000).astype("float32")
    widths, heights, slopes = (rng.normal(size=(4000, n)).astype("float32") for n in (8, 8, 7))
    y, log = unconstrained_spline(x, widths, heights, slopes, tail_bound=1.5)
    back, minus = unconstrained_spline(y, widths, heights, slopes, inverse=True, tail_bound=1.5)
    np.testing.assert_allclose(back, x, atol=2e-4)  # the original loses as much
    assert np.max(np.abs(np.asarray(log) + np.asarray(minus))) < 2e-3


@pytest.mark.parametrize("bound", [1e-20, 1e-12, 1e6])
def test_a_spline_in_a_box_of_any_size_has_its_inverse(bound):
    rng = np.random.default_rng(2)
    x = rng.uniform(-bound, bound, 400)
    widths, heights, slopes = (rng.normal(size=(400, n)) for n in (8, 8, 7))
    y, _ = unconstrained_spline(x, widths, heights, slopes, tail_bound=bound)
    back, _ = unconstrained_spline(y, widths, heights, slopes, inverse=True, tail_bound=bound)
    np.testing.assert_allclose(np.asarray(back) / bound, x / bound, atol=1e-9)


def test_a_channel_without_spread_starts_the_norm_without_infinity():
    """The original's is infinite after a first batch of one pixel, and every weight NaN after its first step."""
    layer = ActNorm()
    y, log = layer(np.full((1, 1, 1, 2), 3.0, "float32"), training=True)
    np.testing.assert_array_equal(y, np.zeros((1, 1, 1, 2)))
    assert np.isfinite(log).all() and np.isfinite(np.asarray(layer.log_scale)).all()


def test_too_many_bins_and_a_network_that_does_not_fit():
    with pytest.raises(ValueError, match="at most 999 bins"):
        rational_quadratic_spline(np.zeros(1), np.zeros((1, 1000)), np.zeros((1, 1000)), np.zeros((1, 1001)))
    with pytest.raises(ValueError, match="Expected a network from 3 to 33 channels"):
        coupling().build((None, 2, 2, 6))


@pytest.fixture(scope="module")
def tame():
    """A small flow in float64 whose weights are not those of the start."""
    with precision("float64"):
        flow = spline_flow_model((8, 4, 1), 2, 2, 8, 5, 2.0, 3)
    rng = np.random.default_rng(3)
    for variable in flow.trainable_variables:
        variable.assign(np.array(variable) + 0.1 * rng.normal(size=variable.shape))
    return flow


def test_whole_flow_is_invertible_and_its_density_the_jacobians(tame):
    x = np.random.default_rng(4).uniform(0, 8, (2, 8, 4, 1))
    z, log = tame.forward(x)
    np.testing.assert_allclose(tame.inverse(z)[0], x, atol=1e-9)
    np.testing.assert_allclose(tame.inverse(z)[1], -np.asarray(log), atol=1e-9)
    with tf.GradientTape() as tape:
        single = tf.constant(x[:1])
        tape.watch(single)
        result = tame.forward(single)[0]
    jacobian = np.asarray(tape.jacobian(result, single)).reshape(32, 32)
    np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], log[0], atol=1e-8)
    density = log - 0.5 * np.sum(np.square(z), 1) - 16 * np.log(2 * np.pi)
    np.testing.assert_allclose(tame.log_prob(x), density, rtol=1e-12)


def test_prepared_saved_and_compiled_flows_are_the_same(tame, tmp_path):
    z = np.random.default_rng(5).normal(size=(3, 32))
    x = np.asarray(tame.inverse(z)[0])
    prepared = tame.prepared()
    np.testing.assert_allclose(prepared.inverse(z)[0], x, atol=1e-12)
    np.testing.assert_allclose(prepared.log_prob(x), tame.log_prob(x), rtol=1e-12)
    np.testing.assert_allclose(prepared.sample(2, 0.7, seed=3), tame.sample(2, 0.7, seed=3), atol=1e-12)
    for temperature in (-1, np.nan, "1", None):
        with pytest.raises(UsageError, match="temperature"):
            tame.sample(1, temperature)
    np.testing.assert_allclose(tf.function(tame.inverse, jit_compile=True)(z)[0], x, atol=1e-9)
    tame.save(tmp_path / "flow.keras")
    loaded = keras.models.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(loaded.inverse(z)[0], x)
    one, two, other = (np.asarray(tame.sample(2, 0.5, seed=s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (2, 8, 4, 1) and np.any(one != other)
    # Half the temperature halves the latents.
    np.testing.assert_allclose(tame.forward(one)[0], 0.5 * tame.forward(np.asarray(tame.sample(2, 1.0, seed=1)))[0], atol=1e-8)


@pytest.mark.parametrize("options, message", [
    ({"image_shape": (20, 16, 1)}, "multiples of 8"), ({"image_shape": (16, 16)}, "H, W, C"),
    ({"conditioner": "unet"}, "convnet, residual"), ({"num_bins": 1}, "num_bins"), ({"tail_bound": 0.0}, "above 0"),
    ({"levels": 0}, "levels"), ({"num_bits": 9}, "from 1 to 8"), ({"num_bins": 1000}, "from 2 to 999"), ({"seed": -5}, "seed"),
    ({"image_shape": 80}, "H, W, C"), ({"tail_bound": "1"}, "finite number"), ({"tail_bound": True}, "finite number"),
    ({"dropout": 5}, "below 1"), ({"dropout": "a"}, "below 1"), ({"batch_norm": "no"}, "True or False"),
    ({"multi_scale": "no"}, "True or False"), ({"conditioner": ["x"]}, "convnet, residual"),
])
def test_options_out_of_range(options, message):
    with pytest.raises(UsageError, match=message):
        spline_flow_model(**{"image_shape": (16, 16, 1), "levels": 3, "steps_per_level": 1, "hidden_channels": 4, **options})


def test_images_of_another_size_are_refused(tame):
    with pytest.raises(UsageError, match=r"takes \(N, 8, 4, 1\), received \(2, 8, 8, 1\)"):
        tame.forward(np.zeros((2, 8, 8, 1)))
    with pytest.raises(UsageError, match=r"takes \(N, 32\)"):
        tame.inverse(np.zeros((2, 31)))
    with pytest.raises(UsageError, match="real numbers, received complex64"):
        tame.log_prob(np.zeros((2, 8, 4, 1), "complex64"))
    with pytest.raises(ValueError, match="even height and width"):
        Squeeze()(np.zeros((1, 3, 2, 1), "float32"))
    with pytest.raises(ValueError, match="multiple of 4"):
        Squeeze()(np.zeros((1, 2, 2, 6), "float32"), inverse=True)

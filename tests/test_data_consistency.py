"""The layer of data consistency, and networks of any kind with it behind them."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from helpers import complex_normal

from tfrecon.errors import UsageError
from tfrecon.layers import DataConsistency
from tfrecon.models import unrolled, with_data_consistency
from tfrecon.physics import fft2c
from tfrecon.physics.operators import Sense

RNG = np.random.default_rng(3)


def problem(coils=3, count=2, height=12, width=10, dtype=np.complex64):
    maps = complex_normal(RNG, (count, coils, height, width), dtype)
    maps /= np.sqrt((np.abs(maps) ** 2).sum(1, keepdims=True))
    mask = np.broadcast_to(RNG.uniform(size=width) < 0.5, (count, height, width)).astype(np.float32)
    image = complex_normal(RNG, (count, height, width), dtype)
    kspace = np.asarray(Sense(maps, mask).forward(image)).astype(dtype)
    return {"kspace": kspace, "sens_maps": maps.astype(dtype), "mask": mask}, image


def single():
    inputs, image = problem(1)
    mask = inputs["mask"]
    return {"kspace": (fft2c(image) * mask).astype(np.complex64), "mask": mask}, image


def test_single_coil_samples_are_replaced_and_the_others_kept():
    inputs, image = single()
    guess = complex_normal(RNG, image.shape, np.complex64)
    found = fft2c(np.asarray(DataConsistency()(guess, inputs["kspace"], inputs["mask"])))
    mask = inputs["mask"].astype(bool)
    np.testing.assert_allclose(found[mask], inputs["kspace"][mask], atol=1e-5)
    np.testing.assert_allclose(found[~mask], fft2c(guess)[~mask], atol=1e-5)
    soft = fft2c(np.asarray(DataConsistency(l2lam=0.5)(guess, inputs["kspace"], inputs["mask"])))
    np.testing.assert_allclose(soft[mask], (inputs["kspace"] + 0.5 * fft2c(guess))[mask] / 1.5, atol=1e-5)


def test_closed_form_and_conjugate_gradient_agree_for_one_coil():
    inputs, image = single()
    guess = complex_normal(RNG, image.shape, np.complex64)
    layer = DataConsistency(l2lam=0.3, cg_max_iter=20, cg_eps=1e-6)
    closed = layer(guess, inputs["kspace"], inputs["mask"])
    ones = np.ones((2, 1, 12, 10), np.complex64)
    np.testing.assert_allclose(layer(guess, inputs["kspace"][:, None], inputs["mask"], ones), closed, atol=1e-5)


def test_several_coils_solve_the_normal_equations():
    inputs, image = problem(dtype=np.complex128)
    layer = DataConsistency(l2lam=0.2, cg_max_iter=60, cg_eps=1e-10, dtype="float64")
    x = layer(image, inputs["kspace"], inputs["mask"], inputs["sens_maps"])
    a = Sense(inputs["sens_maps"], inputs["mask"])
    np.testing.assert_allclose(a.normal(x) + 0.2 * x, a.adjoint(inputs["kspace"]) + 0.2 * image, atol=1e-8)
    np.testing.assert_allclose(x, image, atol=1e-8)  # of which the measurement was made


def test_layer_round_trips_and_refuses():
    layer = DataConsistency(0.5, True, 7, 1e-3, False, True, name="law")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config() and len(copy.trainable_weights) == 1
    for wrong in (-0.1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="l2lam"):
            DataConsistency(wrong)


def test_network_between_complex_images():
    inputs, _ = problem()
    generator = tiny.image_to_image((None, None, 2))
    model = with_data_consistency(generator)
    zero_filled = Sense(inputs["sens_maps"], inputs["mask"]).adjoint(inputs["kspace"])
    scale = np.abs(zero_filled).max((1, 2), keepdims=True)
    answer = np.asarray(generator(np.stack([np.real(zero_filled), np.imag(zero_filled)], -1) / scale[..., None]))
    np.testing.assert_allclose(model.without(inputs), (answer @ np.array([1, 1j])) * scale, atol=1e-5)


@pytest.mark.parametrize("channels, outputs, scaling", [(1, 2, "zero_filled_max"), (3, 3, "symmetric"), (1, 1, "none")])
def test_magnitude_network_takes_the_phase_of_the_zero_filled_image(channels, outputs, scaling):
    inputs, _ = problem()
    generator = tiny.image_to_image((None, None, channels), outputs, activation="tanh")
    model = with_data_consistency(generator, scaling=scaling, multiple=4, cg_max_iter=50, cg_eps=1e-6)
    zero_filled = np.asarray(Sense(inputs["sens_maps"], inputs["mask"]).adjoint(inputs["kspace"]))
    scale = 1 if scaling == "none" else np.abs(zero_filled).max((1, 2), keepdims=True)
    x = np.abs(zero_filled) / scale
    x = np.repeat((2 * x - 1 if scaling == "symmetric" else x)[..., None], channels, -1)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (0, 0)], constant_values=-1 if scaling == "symmetric" else 0)
    y = np.asarray(generator(padded))[:, :, 1:11]
    y = np.linalg.norm(y, axis=-1) if outputs == 2 else y.mean(-1)
    y = (y + 1) / 2 if scaling == "symmetric" else y
    expected = y * scale * np.exp(1j * np.angle(zero_filled))
    np.testing.assert_allclose(model.without(inputs), expected, atol=2e-5)
    a = Sense(inputs["sens_maps"], inputs["mask"])
    residual = [np.linalg.norm(a.forward(v) - inputs["kspace"]) for v in (model.without(inputs), model(inputs))]
    assert residual[1] < 1e-3 * residual[0]


def test_consistent_network_is_saved_with_its_network(tmp_path):
    inputs, _ = single()
    model = with_data_consistency(tiny.image_to_image((None, None, 1), 2), multiple=2, l2lam=0.1)
    expected = model(inputs)
    model.save(tmp_path / "m.keras")
    copy = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(copy(inputs), expected)
    with pytest.raises(UsageError, match="zero_filled_max, symmetric, none"):
        with_data_consistency(tiny.image_to_image((8, 8, 1)), scaling="max")


@pytest.mark.parametrize("make", [
    lambda: unrolled.CGSense(0.1, cg_max_iter=4), lambda: unrolled.MoDL(unrolled.cnn_denoiser(2, 3), 2, "zero", 0.2),
    lambda: unrolled.DeepBasisPursuit(unrolled.resnet_denoiser(3, 1, 3), 2, 2, 0.1, epsilon_rule="batch"),
], ids=["cg", "modl", "dbp"])
class TestUnrolled:
    def test_saved_and_exported(self, make, tmp_path):
        inputs, _ = problem()
        model = make()
        expected = np.asarray(model(inputs))
        model.save(tmp_path / "m.keras")
        copy = keras.models.load_model(tmp_path / "m.keras")
        configs = [json.dumps(m.get_config(), sort_keys=True) for m in (copy, model)]  # a tuple comes back as a list
        assert configs[0] == configs[1]
        np.testing.assert_array_equal(copy(inputs), expected)
        unrolled.with_real_inputs(model).export(tmp_path / "out", verbose=False)
        loaded = tf.saved_model.load(str(tmp_path / "out"))
        pairs = {k: v if k == "mask" else np.stack([v.real, v.imag], -1) for k, v in inputs.items()}
        for part in (slice(0, 2), slice(1, 2)):
            output = np.asarray(loaded.serve({k: v[part] for k, v in pairs.items()})["reconstruction"])
            own = model({k: v[part] for k, v in inputs.items()})
            np.testing.assert_allclose(output[..., 0] + 1j * output[..., 1], own, atol=1e-5)

    def test_compiled_equals_plain(self, make):
        inputs, _ = problem()
        model = make()
        compiled = tf.function(lambda x: model(x), jit_compile=True)(inputs)
        np.testing.assert_allclose(compiled, model(inputs), atol=1e-4 * np.abs(model(inputs)).max())

    def test_one_coil_without_maps_is_one_coil_with_a_map_of_ones(self, make):
        inputs, _ = single()
        model = make()
        mapped = {"kspace": inputs["kspace"][:, None], "mask": inputs["mask"],
                  "sens_maps": np.ones((2, 1, 12, 10), np.complex64)}
        model.consistency.cg_max_iter, model.consistency.cg_eps = 30, 1e-6
        np.testing.assert_allclose(model(inputs), model(mapped), atol=1e-4)


@pytest.mark.parametrize("call, message", [
    (lambda: unrolled.CGSense(-1.0), "l2lam"), (lambda: unrolled.MoDL(cg_start="warm"), "previous, zero"),
    (lambda: unrolled.MoDL(num_unrolls=0), "num_unrolls"), (lambda: unrolled.DeepBasisPursuit(num_admm=1.5), "num_admm"),
    (lambda: unrolled.DeepBasisPursuit(stdev=-0.1), "stdev"), (lambda: unrolled.DeepBasisPursuit(epsilon_rule="x"), "sample"),
    (lambda: unrolled.CGSense()({"kspace": tf.zeros((1, 2, 4, 4), tf.complex64)}), "mask"),
    (lambda: unrolled.CGSense()({"kspace": tf.zeros((1, 2, 4, 4), tf.complex64), "mask": tf.zeros((1, 4, 4)),
                                 "sens_maps": tf.zeros((1, 3, 4, 4), tf.complex64)}), r"\(1, 3, 4, 4\) for k-space \(1, 2"),
    (lambda: with_data_consistency(tiny.image_to_image((8, 8, 1)), multiple=0), "multiple"),
    (lambda: with_data_consistency(unrolled.unet_denoiser(2, 2))({
        "kspace": tf.zeros((1, 5, 4), tf.complex64), "mask": tf.ones((1, 5, 4))}), "give `multiple`"),
    (lambda: unrolled.CGSense()({"kspace": tf.zeros((1, 2, 4, 4), tf.complex64), "mask": tf.zeros((1, 4, 4))}), "sens_maps"),
])
def test_what_is_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()

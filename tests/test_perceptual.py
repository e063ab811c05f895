"""The perceptual loss: the network it builds, every kind of weight file, what offline users read, real features."""

import json
import time

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SHARED

from tfrecon.errors import UsageError, WeightsError
from tfrecon.losses import PerceptualLoss
from tfrecon.losses.vgg import layer_names

REAL = SHARED / "weights" / "vgg19_block1_conv1_to_block3_conv3.npz"
LAYERS = ["block1_conv1", "block1_conv2"]


def images(channels=3, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (2, 16, 20, channels)).astype(np.float32)


@pytest.fixture(scope="module")
def random_weights():
    rng = np.random.default_rng(0)
    shapes = {"block1_conv1": (3, 3, 3, 64), "block1_conv2": (3, 3, 64, 64)}
    return {name: (rng.normal(0, 0.1, shape).astype(np.float32), rng.normal(0, 0.1, 64).astype(np.float32))
            for name, shape in shapes.items()}


def write_npz(path, weights):
    np.savez(path, **{f"{name}__{leaf}": a for name, pair in weights.items() for leaf, a in zip(("kernel", "bias"), pair)})


def write_published(path, weights):
    with h5py.File(path, "w") as file:
        for name, (kernel, bias) in weights.items():
            file[f"{name}/{name}_W_1:0"], file[f"{name}/{name}_b_1:0"] = kernel, bias


def write_keras2(path, weights):
    with h5py.File(path, "w") as file:
        for name, (kernel, bias) in weights.items():
            file[f"{name}/{name}/kernel:0"], file[f"{name}/{name}/bias:0"] = kernel, bias


def write_keras3(path, weights):
    with h5py.File(path, "w") as file:
        for number, (kernel, bias) in enumerate(weights.values()):
            group = "conv2d" if number == 0 else f"conv2d_{number}"
            file[f"layers/{group}/vars/0"], file[f"layers/{group}/vars/1"] = kernel, bias


WRITERS = [write_npz, write_published, write_keras2, write_keras3]


@pytest.mark.parametrize("write", WRITERS)
def test_every_kind_of_file_gives_the_same_network(tmp_path, random_weights, write):
    path = tmp_path / ("vgg.npz" if write is write_npz else "vgg.h5")
    write(path, random_weights)
    loss = PerceptualLoss("vgg19", "block1_conv2", weights=path)
    for array, expected in zip(loss.features.get_weights(), (a for pair in random_weights.values() for a in pair)):
        np.testing.assert_array_equal(array, expected)
    assert not loss.features.trainable_variables


@pytest.mark.parametrize("backbone, layer", [("vgg16", "block2_conv2"), ("vgg19", "block3_conv4")])
def test_network_is_that_of_keras_applications(tmp_path, backbone, layer):
    application = {"vgg16": keras.applications.VGG16, "vgg19": keras.applications.VGG19}[backbone]
    theirs = application(include_top=False, weights=None)
    path = tmp_path / "vgg.weights.h5"
    theirs.save_weights(path)
    ours = PerceptualLoss(backbone, layer, weights=path).features
    expected = keras.Model(theirs.input, theirs.get_layer(layer).output)(images())
    np.testing.assert_allclose(ours(images()), expected, atol=1e-6)
    before = PerceptualLoss(backbone, layer, pre_activation=True, weights=path).features(images())
    np.testing.assert_allclose(np.maximum(before, 0), expected, atol=1e-6)
    assert (np.asarray(before) < 0).any()
    names = [x.name for x in theirs.layers if isinstance(x, keras.layers.Conv2D)]
    assert layer_names(backbone) == names


def test_value_preprocessing_and_grey_images(tmp_path, random_weights):
    write_npz(tmp_path / "vgg.npz", random_weights)
    options = {"backbone": "vgg19", "layer": "block1_conv2", "weights": tmp_path / "vgg.npz"}
    x, y = images(), images(seed=1)
    plain = PerceptualLoss(**options)
    difference = np.asarray(plain.features(x)) - np.asarray(plain.features(y))
    assert float(plain(x, y)) == pytest.approx(np.mean(difference**2), rel=1e-5)
    assert float(PerceptualLoss(**options, distance="mae")(x, y)) == pytest.approx(np.abs(difference).mean(), rel=1e-5)
    rgb = 127.5 * (x + 1)
    prepared = PerceptualLoss(**options, preprocess="imagenet")._prepare(rgb)
    np.testing.assert_allclose(prepared, keras.applications.vgg19.preprocess_input(rgb.copy()), atol=1e-4)
    grey, other = images(1), images(1, seed=1)
    expected = float(plain(np.repeat(grey, 3, -1), np.repeat(other, 3, -1)))
    assert float(plain(grey, other)) == pytest.approx(expected, rel=1e-6)


@keras.saving.register_keras_serializable(package="tests")
def halved(images):
    return images / 2


def test_any_preprocessing_survives_its_config(tmp_path, random_weights):
    write_npz(tmp_path / "vgg.npz", random_weights)
    options = {"backbone": "vgg19", "layer": "block1_conv2", "weights": tmp_path / "vgg.npz"}
    x, y = images(), images(seed=1)
    loss = PerceptualLoss(**options, preprocess=halved)
    assert float(loss(x, y)) == pytest.approx(float(PerceptualLoss(**options)(x / 2, y / 2)), rel=1e-6)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.preprocess is halved


def test_gradient_reaches_the_output_only_and_first_use_inside_a_graph_works():
    loss = PerceptualLoss("vgg16", "block1_conv2", weights=None)
    x, y = tf.Variable(images()), tf.Variable(images(seed=1))

    @tf.function(jit_compile=True)
    def gradients():
        with tf.GradientTape() as tape:
            value = loss(x, y)
        return tape.gradient(value, [x, y])

    to_target, to_output = gradients()
    assert to_target is None and np.abs(to_output).max() > 0


@pytest.mark.parametrize("spoil, message", [
    (lambda path: path.write_bytes(path.read_bytes()[:200]), "does not give the VGG weights"),
    (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    (lambda path: path.write_text("<html>403</html>"), "web page"),
    (lambda path: path.unlink(), "No such file"),
    (lambda path: np.savez(path, block1_conv1__kernel=np.zeros(3)), "block1_conv1__bias"),
    (lambda path: np.savez(path, block1_conv1__kernel=np.array([object()], object)), "does not give"),
])
def test_spoiled_files_are_one_sentence(tmp_path, random_weights, spoil, message):
    path = tmp_path / "vgg.npz"
    write_npz(path, random_weights)
    spoil(path)
    with pytest.raises(WeightsError, match=message):
        PerceptualLoss("vgg19", "block1_conv2", weights=path).features  # noqa: B018


@pytest.mark.parametrize("change", [lambda k: k[:2], lambda k: k * np.nan, lambda k: k.astype(int)])
def test_wrong_shapes_and_numbers_are_refused(tmp_path, random_weights, change):
    kernel, bias = random_weights["block1_conv1"]
    write_npz(tmp_path / "vgg.npz", {**random_weights, "block1_conv1": (change(kernel), bias)})
    with pytest.raises(WeightsError, match="block1_conv1/kernel"):
        PerceptualLoss("vgg19", "block1_conv2", weights=tmp_path / "vgg.npz").features  # noqa: B018


def test_links_out_of_the_file_are_refused(tmp_path, random_weights):
    write_keras2(tmp_path / "real.h5", random_weights)
    with h5py.File(tmp_path / "vgg.h5", "w") as file:
        for name in LAYERS:
            file[name] = h5py.ExternalLink("real.h5", name)
    with pytest.raises(WeightsError, match="another file"):
        PerceptualLoss("vgg19", "block1_conv2", weights=tmp_path / "vgg.h5").features  # noqa: B018


@pytest.mark.parametrize("how", ["refused", "black hole", "no name"])
def test_offline_says_so_within_a_second_and_names_both_ways(monkeypatch, tmp_path, how):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("TFRECON_VGG16_WEIGHTS", raising=False)

    def connect(*args, **kwargs):
        if how == "black hole":
            time.sleep(3)
        raise OSError("Name or service not known" if how == "no name" else "Connection refused")

    monkeypatch.setattr("socket.create_connection", connect)
    loss = PerceptualLoss("vgg16")  # asking for nothing yet
    began = time.monotonic()
    with pytest.raises(WeightsError, match="weights=PATH.*TFRECON_VGG16_WEIGHTS"):
        loss.features  # noqa: B018
    assert time.monotonic() - began < 1.0


def test_file_named_by_the_environment(monkeypatch, tmp_path, random_weights):
    write_published(tmp_path / "vgg.h5", random_weights)
    monkeypatch.setenv("TFRECON_VGG19_WEIGHTS", str(tmp_path / "vgg.h5"))
    features = PerceptualLoss("vgg19", "block1_conv2").features
    np.testing.assert_array_equal(features.get_weights()[0], random_weights["block1_conv1"][0])


@pytest.mark.parametrize("wrong", [{"backbone": "vgg11"}, {"layer": "block3_conv4"}, {"distance": "ssim"},
                                   {"preprocess": "caffe"}])
def test_wrong_choices_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        PerceptualLoss(**{"backbone": "vgg16", **wrong})


@pytest.mark.skipif(not REAL.is_file(), reason="needs ../shared/weights, which is not part of the project")
@pytest.mark.parametrize("case, tolerance", [("pm1", 2e-4), ("0_255", 2e-2)])
def test_published_features_on_real_crops(case, tolerance):
    stored = np.load(SHARED / "golden" / "real" / f"vgg19_published_{case}.npz")
    meta = json.loads(str(stored["meta_json"]))
    crops = np.repeat(stored["crops_u8"][..., None].astype(np.float32), 3, -1)
    crops = crops / np.float32(127.5) - 1 if case == "pm1" else crops
    before = PerceptualLoss("vgg19", pre_activation=True, weights=REAL)
    features = np.asarray(before.features(crops))
    np.testing.assert_allclose(features[0], stored["pre0"], atol=tolerance)
    np.testing.assert_allclose(features[1, ::2, ::2], stored["pre1_sub"], atol=tolerance)
    after = PerceptualLoss("vgg19", weights=REAL)
    np.testing.assert_allclose(np.asarray(after.features(crops))[0, ::2, ::2], stored["post0_sub"], atol=tolerance)
    between = meta["between_the_two_crops"]
    for loss, key in ((before, "mse_pre"), (after, "mse_post")):
        assert float(loss(crops[:1], crops[1:])) == pytest.approx(between[key], rel=1e-4)

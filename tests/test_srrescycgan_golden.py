"""SRResCycGAN and SRResDNet equal their originals: networks, losses, projection and noise, three steps of training."""

import importlib.util
import json

import keras
import numpy as np
import pytest
import srrescycgan_original as original
import tensorflow as tf
from conftest import GOLDEN, SHARED
from training_tools import norms, precision, samples

from tfrecon import layers, losses
from tfrecon.losses import PerceptualLoss
from tfrecon.models.srrescycgan import Discriminator_HR, Discriminator_LR, Generator_HR, Generator_LR, SRResDNet
from tfrecon.training import SRResCycGAN, adam_opt
from tfrecon.weights import load_weights

BUILDERS = {"G_HR": Generator_HR, "G_LR": Generator_LR, "D_HR": Discriminator_HR, "D_LR": Discriminator_LR}
LOGS = ("d_loss", "g_loss", "perceptual_loss", "adversarial_loss", "total_variation_loss", "content_loss", "cyclic_loss")


def load_case(name):
    return np.load(GOLDEN / f"sr_{name}.npz")


def recipe():
    spec = importlib.util.spec_from_file_location("recipe_sr", GOLDEN / "recipe_sr.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weights_of(case):
    """A case's arrays in the original's order, checked against the norms stored with it."""
    shapes = [tuple(int(n) for n in shape if n >= 0) for shape in case["w_shapes"]]
    arrays = recipe().weights(case["seed"], shapes, case["w_kinds"], case["w_fan_in"])
    if "w_l2" in case:
        np.testing.assert_allclose(norms(arrays), case["w_l2"], rtol=1e-6)
    return arrays


def close(found, case, key, limit=1e-4):
    """Equal to a stored array, or to the pieces of one, to a share of the value and of the whole's RMS."""
    found, parts = np.asarray(found), {key: slice(None)}
    if f"{key}_sub" in case:
        stride = slice(None, None, int(case[f"{key}_stride"]))
        parts = {f"{key}_sub": stride, f"{key}_tl": slice(10), f"{key}_br": slice(-10, None)}
    assert found.shape == tuple(case[f"{key}_shape"])
    for name, part in parts.items():
        piece = found if name == key else found[:, part, part]
        np.testing.assert_allclose(piece, case[name], rtol=limit, atol=limit * case[f"{key}_stats"][1], err_msg=name)


def network(name, case):
    """A case's network, the generators with their output before the last limit beside it, and its input."""
    x = case["input_u8"].astype(np.float32) * case["input_scale"]
    shape = x.shape[1:] if name == "D_HR" else (None, None, 3)
    model = BUILDERS[name](shape)
    assert [tuple(w.shape) for w in model.weights] == [w.shape for w in weights_of(case)]
    model.set_weights(weights_of(case))
    if name.startswith("G"):
        model = keras.Model(model.input, [model.get_layer("clip").input, model.output])
    return model, x


SINGLE_PIXEL = pytest.mark.filterwarnings("ignore:A critic for 156x156")
slow = pytest.mark.slow


@pytest.mark.parametrize("name", [
    "G_HR_16", "G_HR_23x37_b2", pytest.param("G_HR_80", marks=slow), pytest.param("G_HR_80_raw", marks=slow),
    "G_LR_93x150_b2", pytest.param("G_LR_320", marks=slow), "D_HR_188_b3", pytest.param("D_HR_156_min", marks=SINGLE_PIXEL),
    pytest.param("D_HR_320", marks=slow), "D_LR_80_b2", "D_LR_47x60", "D_LR_80_raw",
])
def test_forward(name):
    case = load_case(name)
    model, x = network(name[:4], case)
    outputs = model(x, training=False)
    for key, output in zip(("preclip", "output"), outputs) if isinstance(outputs, list) else [("output", outputs)]:
        close(output, case, key)


@slow
@pytest.mark.parametrize("name", ["D_HR_320_raw", "G_LR_320_raw"])
def test_forward_on_raw_values(name):
    """Variances of 1e-10 beside biases of 0.1 leave float32 few digits: the stored outputs are 8e-4 and 3e-2 of their RMS
    from exact arithmetic, and the original's own layers differ by 1.2e-3 from one processor to another."""
    case, outputs = load_case(name), {}
    for floatx in ("float32", "float64"):
        with precision(floatx):
            model, x = network(name[:4], case)
            found = model(x.astype(floatx), training=False)
            outputs[floatx] = np.asarray(found[-1] if isinstance(found, list) else found)
    assert np.abs(outputs["float64"] - case["output"]).max() > 7e-4 * case["output_stats"][1]  # or 1e-4 would be the limit
    close(outputs["float32"], case, "output", limit=1.5e-3)


def test_parameter_counts_and_sizes():
    found = [build() for build in BUILDERS.values()]
    assert [m.count_params() for m in found] == [684_544, 611_907, 15_526_281, 1_036_545]
    assert [len(m.weights) for m in found] == [49, 70, 42, 14]
    assert [m.output_shape[1:] for m in found] == [(320, 320, 3), (80, 80, 3), (1,), (20, 20, 1)]
    assert SRResDNet().count_params() == 380_356 and SRResDNet().output_shape == (None, 320, 320, 3)


def test_house_instance_norm_equals_keras():
    """On images of the range these networks are for; the networks take Keras' own, which rounds as the original."""
    x = np.random.default_rng(0).normal(20.0, 30.0, (2, 24, 20, 8)).astype(np.float32)
    ours, theirs = layers.InstanceNormalization(), keras.layers.GroupNormalization(groups=-1)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(155, 320, 3), (None, None, 3), (80, 80, 3)])
def test_row_72_critic_too_small(shape):
    with pytest.raises(ValueError, match="at least 156"):
        Discriminator_HR(shape)


def test_row_72_critic_that_cannot_learn():
    for size in (156, 187):
        with pytest.warns(UserWarning, match="at least 188"):
            model = Discriminator_HR((size, size, 1), filters=1)
        assert model.get_layer("conv10").output.shape[1:3] == (1, 1)
    assert Discriminator_HR((188, 188, 1), filters=1).get_layer("conv10").output.shape[1:3] == (2, 2)


# Losses and schedule.


def vgg(seed, case):
    loss = PerceptualLoss("vgg19", "block3_conv3", preprocess="imagenet", weights=None)
    shapes = [tuple(int(n) for n in shape if n >= 0) for shape in case["w_shapes"]]
    loss.features.set_weights(recipe().weights(seed, shapes, case["w_kinds"], case["w_fan_in"]))
    return loss


def gradient(function, x):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return float(value), np.asarray(tape.gradient(value, x))


def test_losses():
    case = load_case("losses")
    real, fake = case["real"], case["fake"]
    value, slope = gradient(lambda x: losses.total_variation(real, x), fake)
    assert value == pytest.approx(float(case["total_variation"]), rel=1e-6)
    np.testing.assert_allclose(slope, case["tv_grad_fake"], atol=1e-9)
    assert float(losses.l1(real, fake)) == pytest.approx(float(case["content"]), rel=1e-6)
    for short, key in (("map", "logits_map"), ("vec", "logits_vec"), ("ext", "logits_extreme")):
        logits = case[key]
        for label, name in ((np.ones_like(logits), "ones"), (np.zeros_like(logits), "zeros")):
            assert float(losses.bce_logits(label, logits)) == pytest.approx(float(case[f"bce_{short}_{name}"]), rel=1e-6)


def test_perceptual_loss():
    case = load_case("losses")
    loss = vgg(case["seed"], case)
    real, fake = (case[f"perc_{which}_u8"].astype(np.float32) for which in ("real", "fake"))
    features = np.asarray(loss.features(loss._prepare(real)))[:, ::2, ::2, ::16]
    np.testing.assert_allclose(features, case["perc_feat_real_sub"], rtol=1e-4, atol=1e-4 * case["perc_feat_real_stats"][1])
    value, slope = gradient(lambda x: loss(real, x), fake)
    assert value == pytest.approx(float(case["perceptual"]), rel=1e-5)
    expected = case["perc_grad_fake_sub"]
    np.testing.assert_allclose(slope[:, ::3, ::3], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).mean())


def test_schedule_and_optimizer():
    case, optimizer = load_case("losses"), adam_opt()
    found = [float(optimizer._learning_rate(int(step))) for step in case["sched_steps"]]
    np.testing.assert_allclose(found, case["sched_lr"], rtol=1e-6)
    config = optimizer.get_config()
    assert (config["beta_1"], config["beta_2"], config["epsilon"]) == (0.9, 0.999, 1e-7)


# The upstream's projection, noise estimate and generator.


def test_projection_and_its_gradients():
    case = load_case("upstream_proj_wmad")
    x, sigma, cotangent = nhwc(case["proj_x"]), case["proj_sigma"], nhwc(case["proj_cotangent"])
    layer = layers.L2BallProjection()
    layer([x, sigma])
    layer.alpha.assign(case["proj_alpha"])
    assert (case["proj_norm"] > case["proj_eps"]).tolist() == [True, True, False]
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer([x, sigma])
        value = tf.reduce_sum(y * cotangent)
    np.testing.assert_allclose(y, nhwc(case["proj_y"]), rtol=1e-5, atol=1e-5)
    by_x, by_alpha = tape.gradient(value, [x, layer.alpha.value])
    np.testing.assert_allclose(by_x, nhwc(case["proj_grad_x"]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(by_alpha, case["proj_grad_alpha"], rtol=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_bilinear_enlargement_equals_keras_where_sizes_are_known(scale):
    x = np.random.default_rng(0).uniform(0, 255, (2, 5, 1, 3)).astype(np.float32)
    expected = keras.layers.UpSampling2D(scale, interpolation="bilinear")(x)
    np.testing.assert_allclose(layers.BilinearUpSampling2D(scale)(x), expected, atol=1e-4)


def test_projection_of_nothing_onto_a_point_is_nothing():
    x = tf.zeros((1, 3, 3, 1))
    layer = layers.L2BallProjection()
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer([x, tf.zeros(1)])
    assert not np.any(y) and np.isfinite(tape.gradient(y, x)).all()


@pytest.mark.parametrize("kind", ["rgb", "grey", "odd"])
def test_noise_estimate(kind):
    case = load_case("upstream_proj_wmad")
    x = nhwc(case[f"wmad_{kind}_x"])
    np.testing.assert_allclose(layers.WaveletNoise()(x) / 255, case[f"wmad_{kind}_sigma"], rtol=1e-5)
    np.testing.assert_allclose(layers.WaveletNoise()(x / 255), case[f"wmad_{kind}_sigma01"], rtol=1e-5)


def test_noise_estimate_finds_the_noise():
    rng = np.random.default_rng(0)
    smooth = 100 + 50 * np.sin(np.linspace(0, 6, 128))[None, :, None, None] * np.ones((1, 128, 128, 1))
    for sigma in (2.0, 10.0):
        noisy = (smooth + rng.normal(0, sigma, smooth.shape)).astype(np.float32)
        assert float(layers.WaveletNoise()(noisy)[0]) == pytest.approx(sigma, rel=0.06)


def nhwc(array):
    return np.moveaxis(array, 1, -1)


def state_dict(case):
    names = [str(name) for name in case["w_names"]]
    state = dict(zip(names, weights_of(case)))
    return {**state, "alpha": case["alpha"]}


def load_state(model, state):
    """The original's names, but for alpha: the outermost module's own weight, which has no layer's name there."""
    return load_weights(model, {"projection.alpha" if name == "alpha" else name: array for name, array in state.items()})


def test_state_dict_loads_with_the_originals_names():
    case = load_case("upstream_sr_d5")
    assert load_weights(SRResDNet((None, None, 3)), state_dict(case)).loaded == 47


@pytest.mark.parametrize("name", ["d5", "d2_odd", "d3_grey", "d5_active"])
def test_srresdnet(name):
    case = load_case(f"upstream_sr_{name}")
    x = nhwc(case["input"])
    model = SRResDNet((None, None, x.shape[-1]), depth=int(case["depth"]))
    assert load_state(model, state_dict(case)).loaded == len(case["w_names"])
    stages = [model.get_layer(layer).output for layer in ("noise", "model_conv_out", "projection", "clip")]
    noise, raw, projected, output = (np.asarray(y) for y in keras.Model(model.input, stages)(x))
    np.testing.assert_allclose(noise, case["sigma"], rtol=5e-3)  # a thousandth of a grey level, in float32
    kernel = model.get_layer("model_conv1").effective_kernel()
    np.testing.assert_allclose(kernel, case["effective_conv1"].transpose(2, 3, 1, 0), atol=1e-6)
    np.testing.assert_allclose(norms(raw), case["raw_norm"], rtol=1e-5)
    np.testing.assert_allclose(raw[:, ::3, ::3], nhwc(case["raw_sub"]), rtol=1e-4, atol=1e-4 * np.abs(raw).mean())
    expected = nhwc(case["proj_sub"])
    np.testing.assert_allclose(projected[:, ::3, ::3], expected, rtol=5e-3, atol=5e-3 * np.abs(expected).mean())
    # What the projection lets pass carries the relative error of sigma.
    limit = 1e-3 if np.abs(expected).max() < 1 else 5e-3 * np.abs(expected).max()
    np.testing.assert_allclose(output[:, ::2, ::2], nhwc(case["output_sub"]), atol=limit)


@pytest.mark.parametrize("weights", ["srrescgan_model", "G_perceptual"])
@pytest.mark.parametrize("image", ["flair", "knee"])
def test_published_weights_on_real_images(image, weights):
    torch = pytest.importorskip("torch")
    path = SHARED / "weights" / f"{weights}.pth"
    file = SHARED / "golden" / "real" / f"sr_published_{image}_{weights.removesuffix('_model').removeprefix('G_')}.npz"
    if not (path.exists() and file.exists()):
        pytest.skip("published weights and their outputs are not beside the project")
    case = np.load(file)
    meta = json.loads(str(case["meta_json"]))
    model = SRResDNet((None, None, 3))
    state = {name: tensor.numpy() for name, tensor in torch.load(path, weights_only=True).items()}
    assert load_state(model, state).loaded == 47
    x = np.repeat(case["lr_u8"][None, ..., None], 3, axis=-1).astype(np.float32)
    output = np.asarray(model(x))[0]
    np.testing.assert_allclose(output, case["output"], atol=0.5 if meta["projection_active"] else 5e-3)
    psnr = 10 * np.log10(255**2 / np.mean((output.mean(-1) - case["hr_u8"]) ** 2))
    assert psnr == pytest.approx(meta["psnr_network_mean_of_channels"], abs=0.01)


# Training.


class Training:
    """Consecutive steps of a training case, ours and the plainly written original's, from the same weights."""

    def __init__(self, case, floatx="float32", **compile_options):
        self.case, self.floatx = case, floatx
        with precision(floatx):
            self.networks, self.perceptual = self.build()
            self.trainer = SRResCycGAN(*self.networks)
            self.trainer.compile(losses={"perceptual": self.perceptual}, **compile_options)

    def build(self):
        small, large = ((int(self.case[f"{which}_size"]),) * 2 + (3,) for which in ("lr", "hr"))
        networks = [build(shape) for build, shape in zip(BUILDERS.values(), (small, large, large, small))]
        for seed, model, name in zip(self.case["seeds"], networks, ("G_HR_16", "G_LR_320", "D_HR_188_b3", "D_LR_80_b2")):
            kinds, shapes = load_case(name)["w_kinds"], [tuple(w.shape) for w in model.weights]
            # The dense layer has a kernel of another size here, so its rows are its fan in.
            fans = [s[0] if len(s) == 2 else fan for s, fan in zip(shapes, load_case(name)["w_fan_in"])]
            model.set_weights(recipe().weights(seed, shapes, kinds, fans))
        return networks, vgg(self.case["seeds"][4], load_case("losses"))

    def batch(self, number):
        small, large = (np.repeat(x[number][..., None], 3, -1).astype(np.float32)
                        for x in (self.case["lr_channel0"], self.case["hr_u8"]))
        return small.astype(self.floatx), (large * self.case["scale"]).astype(self.floatx)

    def step(self, number):
        """The seven losses of one step."""
        self.trainer.reset_metrics()
        with precision(self.floatx):
            logs = self.trainer.train_on_batch(*self.batch(number), return_dict=True)
        return [float(logs[name]) for name in LOGS]

    def variables(self):
        return [v for model in self.networks for v in model.trainable_variables]

    def check_weights(self, number):
        """After step `number` (from 1): norms and samples of every variable that has a gradient."""
        alive = ~self.case["var_dead_bias"]
        np.testing.assert_allclose(norms(self.variables())[alive], self.case["var_l2"][number][alive], rtol=1e-4)
        found = np.array([samples(v, i) for v, i in zip(self.variables(), self.case["sample_idx"])])[alive]
        difference = np.abs(found - self.case["var_samples"][number][alive])[self.case["sample_idx"][alive] >= 0]
        assert difference.max() < 2.1e-4
        if number == 1:
            assert (difference < 1e-6).mean() >= 0.98

    def check_first_gradients(self):
        """A tenth of the first gradient is what Adam's momentum holds after one step."""
        optimizers = (getattr(self.trainer, f"{name}_optimizer") for name in ("g_hr", "g_lr", "d_hr", "d_lr"))
        found = 10 * norms([m for optimizer in optimizers for m in optimizer._momentums])
        alive = ~self.case["var_dead_bias"]
        np.testing.assert_allclose(found[alive], self.case["grad1_l2"][alive], rtol=2e-3)


# Limits of GOLDEN.md for the losses of the three steps, and what is left of them at the second one in float32: Adam turns
# the rounding of gradients near zero into whole steps, and the original itself, run here on another processor than the one
# the case was made on, lands 1.9e-4 (raw values: 1.4e-3) beside its own numbers. Exact arithmetic meets the limit.
LIMITS, ELSEWHERE = (1e-4, 1e-4, 5e-3), {"train_47_188": 5e-4, "train_39_156_raw": 2e-3}


@slow
@SINGLE_PIXEL
@pytest.mark.parametrize("name", ELSEWHERE)
def test_three_steps_equal_the_originals(name):
    """Against the stored numbers, and within the limits against the original's order of work on this machine."""
    run, plain = (Training(load_case(name), jit_compile=False) for _ in range(2))
    np.testing.assert_allclose(norms(run.variables()), run.case["var_l2"][0], rtol=1e-6)
    optimizers = [adam_opt() for _ in plain.networks]
    for optimizer, model in zip(optimizers, plain.networks):
        optimizer.build(model.trainable_variables)
    features = plain.perceptual.features
    step = tf.function(lambda *batch: original.train_step(plain.networks, optimizers, features, *batch))
    for number in range(3):
        found, limit = run.step(number), LIMITS[number]
        np.testing.assert_allclose(found, step(*map(tf.constant, run.batch(number))), rtol=limit)
        np.testing.assert_allclose(found, run.case["losses"][number], rtol=ELSEWHERE[name] if number == 1 else limit)
        run.check_weights(number + 1)
        if number == 0:
            run.check_first_gradients()


@slow
def test_three_steps_in_exact_arithmetic():
    """In float64 every limit holds against the original's stored float32 numbers."""
    run = Training(load_case("train_47_188"), "float64", jit_compile=False)
    for number, limit in enumerate(LIMITS):
        np.testing.assert_allclose(run.step(number), run.case["losses"][number], rtol=limit)
        run.check_weights(number + 1)
        if number == 0:
            run.check_first_gradients()


@slow
def test_three_compiled_steps_equal_the_originals():
    """jit_compile=True against the original's figures under it."""
    run = Training(load_case("train_47_188"), jit_compile=True)
    alive = ~run.case["var_dead_bias"]
    for number, limit in enumerate((LIMITS[0], ELSEWHERE["train_47_188"], LIMITS[2])):
        np.testing.assert_allclose(run.step(number), run.case["xla_losses"][number], rtol=limit)
        run.check_weights(number + 1)
        np.testing.assert_allclose(norms(run.variables())[alive], run.case["xla_var_l2"][number + 1][alive], rtol=1e-4)
        if number == 0:
            run.check_first_gradients()

"""DeblurGAN, CTDeblurGAN and Pix2Pix as Keras models: compiled, on two devices, in half precision, saved, resumed."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from tfrecon.data import EpochClock
from tfrecon.errors import UsageError, WeightsError
from tfrecon.losses import PerceptualLoss
from tfrecon.models import pix2pix
from tfrecon.training import ConstantThenLinear, CTDeblurGAN, DeblurGAN, Pix2Pix, fit_resumable
from tfrecon.training.recipes import GeneratorFirst, SaveEveryEpoch

SHAPE = (32, 32, 3)
EAGER = {"run_eagerly": True}


def vgg(backbone="vgg16", layer="block1_conv2", **options):
    return PerceptualLoss(backbone, layer, weights=None, **options)


def deblurgan(size=32, **options):
    networks = tiny.image_to_image((size, size, 3), dropout=0.5), tiny.critic(SHAPE, probability=True)
    return DeblurGAN(*networks, **{"critic_updates": 2, "content": "l1", **options})


def ct(size=32, **options):
    networks = tiny.image_to_image((size, size, 3), dropout=0.5), tiny.critic(SHAPE, norm="instance")
    return CTDeblurGAN(*networks, **{"critic_updates": 2, "content": "l1", **options})


def pix(**options):
    return Pix2Pix(tiny.image_to_image(SHAPE, dropout=0.5), tiny.critic((*SHAPE[:2], 6)), **options)


ALL = [deblurgan, ct, pix]


def small(build, compile_options=EAGER, **options):
    keras.utils.set_random_seed(1)
    trainer = build(**options)
    trainer.compile(**{"learning_rate": 1e-3, **compile_options})
    return trainer


def images(count=4, seed=0, low=-1.0):
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(low, 1, (count, *SHAPE)).astype(np.float32) for _ in range(2))


def weights_of(trainer):
    return [w.numpy() for w in trainer.weights if "seed" not in w.path]


@pytest.mark.parametrize("build", ALL)
def test_both_networks_learn_and_all_logs_are_finite(build):
    trainer = small(build)
    before = [w.numpy() for w in trainer.trainable_variables]
    history = trainer.fit(*images(), batch_size=2, verbose=0, validation_data=images(2)).history
    assert {"g_loss", "d_loss", "content_loss", "val_ssim", "val_psnr", "val_l1"} <= set(history)
    assert all(np.isfinite(v).all() for v in history.values())
    for network in (trainer.generator, trainer.discriminator):
        mine = {id(v) for v in network.trainable_variables}
        moved = [(a != v.numpy()).any() for a, v in zip(before, trainer.trainable_variables) if id(v) in mine]
        assert moved and all(moved[:2]), network.name


@pytest.mark.parametrize("build", ALL)
def test_step_compiles_and_equals_the_plain_one(build):
    """A vanishing gradient may change its sign by rounding, by which an Adam step differs by twice the rate."""
    options = {"content": vgg(), "gradient_penalty_weight": 10.0} if build is not pix else {}
    compiled, plain = (small(build, {"jit_compile": jit, "run_eagerly": not jit, "learning_rate": 1e-5}, **options)
                       for jit in (True, False))
    if build is not pix:
        plain.content.features.set_weights(compiled.content.features.get_weights())
    for trainer in (compiled, plain):
        for layer in trainer.generator._flatten_layers():
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
    logs = [t.train_on_batch(*images(2), return_dict=True) for t in (compiled, plain)]
    assert set(logs[0]) == set(logs[1])
    random = {"penalty", "d_loss"} if build is ct else {"d_loss"} if build is deblurgan else set()
    for name in set(logs[0]) - random:  # XLA draws other interpolations
        assert logs[0][name] == pytest.approx(logs[1][name], rel=2e-3, abs=1e-4), name
    assert np.isfinite([*logs[0].values()]).all()


TWO_DEVICES = """
import numpy as np, tensorflow as tf, keras
# In float32 a LeakyReLU whose input rounds to the other side of 0 makes the gradient penalty jump.
keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfrecon.losses import PerceptualLoss
import tiny
from tfrecon.training import CTDeblurGAN, DeblurGAN, Pix2Pix
S = (32, 32, 3)

def fixed_vgg():
    keras.utils.set_random_seed(2)
    loss = PerceptualLoss("vgg19", "block1_conv2", weights=None)
    loss.features
    return loss

class Ct(CTDeblurGAN):
    def draw_alpha(self, images):
        return 0.3  # every replica would draw its own

class Deblur(DeblurGAN):  # without batch statistics, which are per replica by design
    def generated(self, image):
        return self(image, training=False)
    def judged(self, images, training=True):
        return super().judged(images, training=False)

def ct():
    networks = tiny.image_to_image(S, enlarge=2, reduce=2), tiny.critic(S, norm="instance")
    return Ct(*networks, 2, content=fixed_vgg(), content_weight=1.0)

def deblur():
    return Deblur(tiny.image_to_image(S), tiny.critic(S, probability=True), 2,
                  content=fixed_vgg(), content_weight=1.0)

def pix():
    return Pix2Pix(tiny.image_to_image(S, enlarge=2, reduce=2), tiny.critic((32, 32, 6), norm="instance"), l1_weight=1.0)

def run(build, strategy):
    with strategy.scope():
        keras.utils.set_random_seed(1)
        trainer = build()
        trainer.compile(keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.01))
    rng = np.random.default_rng(0)
    x, y = (rng.uniform(-1, 1, (8, *S)) for _ in range(2))
    trainer.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(4, drop_remainder=True), epochs=2, verbose=0)
    return [w.numpy() for w in trainer.trainable_variables]

strategies = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for build in (ct, deblur, pix):
    one, two = (run(build, s) for s in strategies)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9, err_msg=build.__name__)
"""


@pytest.mark.slow
def test_two_devices_with_sgd_equal_one():
    """SGD shows gradients summed instead of averaged over replicas; Adam would hide it."""
    result = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, timeout=300,
                            cwd=Path(__file__).parent)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.parametrize("build", [deblurgan, ct])
def test_half_precision_step_is_finite_with_norms_and_penalties_in_float32(build):
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        trainer = small(build, gradient_penalty_weight=10.0, content=vgg())
        seen = []
        layer = next(x for x in trainer.discriminator.layers if "norm" in type(x).__name__.lower())
        assert layer(tf.zeros((1, 4, 4, layer.input.shape[-1]), tf.bfloat16)).dtype == tf.bfloat16
        assert trainer.content.features.dtype_policy.name == "float32"
        from tfrecon import losses

        penalty = losses.gradient_penalty(trainer.discriminator, *map(tf.constant, images(2)), 0.5)
        seen.append(penalty.dtype)
        logs = trainer.train_on_batch(*images(2), return_dict=True)
    finally:
        keras.config.set_dtype_policy(former)
    assert seen == [tf.float32] and np.isfinite([*logs.values()]).all()
    assert all(w.dtype == np.float32 for w in weights_of(trainer))


@pytest.mark.parametrize("build", ALL)
def test_saved_model_goes_on_as_the_same_model(build, tmp_path):
    trainer = small(build)
    trainer.fit(*images(), verbose=0)
    trainer.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert type(copy) is type(trainer) and copy.critic_steps == trainer.critic_steps
    np.testing.assert_array_equal(copy.predict(images()[0], verbose=0), trainer.predict(images()[0], verbose=0))
    assert int(copy.d_optimizer.iterations) == int(trainer.d_optimizer.iterations) == trainer.critic_steps
    for model in (trainer, copy):
        model.train_on_batch(*images())
    for a, b in zip(weights_of(trainer), weights_of(copy), strict=True):
        np.testing.assert_array_equal(a, b)


def test_perceptual_content_survives_saving_without_its_path(tmp_path):
    trainer = deblurgan(content=PerceptualLoss("vgg16", "block2_conv1", distance="mae", weights="/home/someone/vgg.h5"))
    config = keras.saving.serialize_keras_object(trainer)
    assert "someone" not in str(config)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.content.get_config() == trainer.content.get_config()


@pytest.mark.parametrize("build", [ct, *(pytest.param(build, marks=pytest.mark.slow) for build in (deblurgan, pix))])
def test_stopped_in_mid_epoch_and_resumed_equals_uninterrupted(build, tmp_path):
    """Dropout and interpolations draw from states that the checkpoint holds."""
    x, y = images(8)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(2, drop_remainder=True)

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                import signal

                signal.raise_signal(signal.SIGINT)

    def run(folder, callbacks=()):
        trainer = small(build)
        fit_resumable(trainer, data, data.take(1), 2, folder, EpochClock(), lambda facts: None, callbacks)
        return trainer

    straight = run(tmp_path / "a")
    with pytest.raises(Exception, match="stopp"):
        run(tmp_path / "b", [Stop()])
    for a, b in zip(weights_of(straight), weights_of(run(tmp_path / "b")), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("build", ALL)
def test_nan_stops_with_the_step_named_and_the_good_weights_kept(build, tmp_path):
    x, y = images(8)
    y[6:] = np.nan
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(2, drop_remainder=True)
    good = tf.data.Dataset.from_tensor_slices((x[:6], y[:6])).batch(2, drop_remainder=True)
    saved = []
    fit_resumable(small(build), good, good, 1, tmp_path, EpochClock(), saved.append)
    states = sorted(tmp_path.glob("checkpoint/*"))
    with pytest.raises(Exception, match="step 4"):
        fit_resumable(small(build), data, good, 2, tmp_path, EpochClock(), saved.append)
    assert sorted(tmp_path.glob("checkpoint/*")) == states and len(saved) == 1


def test_critic_statistics_of_the_frozen_critic():
    """In the generator's step the critic sees the batch's statistics or its moving ones; both leave these alone."""
    x, y = images()
    values = {}
    for statistics in ("batch", "moving"):
        trainer = small(deblurgan, critic_statistics=statistics, critic_updates=1)
        norm = next(v for v in trainer.discriminator.weights if v.path.endswith("moving_mean"))
        trainer.train_on_batch(x, y)
        values[statistics] = norm.numpy(), float(tf.reduce_mean(trainer._frozen_score(y)))
    np.testing.assert_array_equal(values["batch"][0], values["moving"][0])
    assert values["batch"][0].any() and values["batch"][1] != values["moving"][1]


def test_swapped_trains_the_seeds_way_round():
    x, y = images()
    straight, swapped = small(deblurgan), small(deblurgan, swapped=True)
    straight.train_on_batch(y, x)
    swapped.train_on_batch(x, y)
    for a, b in zip(weights_of(straight), weights_of(swapped), strict=True):
        np.testing.assert_array_equal(a, b)


def test_generator_first_rests_the_critic_and_then_wakes_it():
    trainer = small(ct, {"jit_compile": False})
    data = tf.data.Dataset.from_tensor_slices(images()).batch(2, drop_remainder=True)
    critic = [v.numpy() for v in trainer.discriminator.trainable_variables]
    trainer.fit(data, epochs=1, verbose=0, callbacks=[GeneratorFirst(1)])
    assert all((a == v.numpy()).all() for a, v in zip(critic, trainer.discriminator.trainable_variables))
    assert int(trainer.d_optimizer.iterations) == 0 and int(trainer.g_optimizer.iterations) == 2
    trainer.fit(data, epochs=2, initial_epoch=1, verbose=0, callbacks=[GeneratorFirst(1)])
    assert int(trainer.d_optimizer.iterations) == 4 and int(trainer.g_optimizer.iterations) == 4


def test_penalty_norms_draw_one_interpolation_or_one_per_image():
    assert small(ct).draw_alpha(tf.zeros((3, *SHAPE))).shape == ()
    assert small(ct, penalty_norm="sample").draw_alpha(tf.zeros((3, *SHAPE))).shape == (3, 1, 1, 1)
    with pytest.raises(UsageError, match="pixel, sample"):
        ct(penalty_norm="image")


def test_optional_penalty_of_the_mri_critic_changes_its_step_and_leaves_statistics_alone():
    x, y = images()
    without, with_ = small(deblurgan, critic_updates=1), small(deblurgan, critic_updates=1, gradient_penalty_weight=10.0)
    for trainer in (without, with_):
        trainer.train_on_batch(x, y)
    kernels = [t.discriminator.get_layer("conv1").kernel.numpy() for t in (without, with_)]
    assert (kernels[0] != kernels[1]).any()
    means = [t.discriminator.get_layer("conv2_norm").moving_mean.numpy() for t in (without, with_)]
    np.testing.assert_allclose(*means, atol=1e-4)


def test_original_files_of_every_epoch(tmp_path):
    trainer = small(deblurgan)
    written = []
    callback = SaveEveryEpoch(tmp_path, lambda network, path: written.append((network.name, path)), today=(11, 7))
    history = trainer.fit(*images(), epochs=2, verbose=0, callbacks=[callback]).history
    names = [(name, path.relative_to(tmp_path).as_posix()) for name, path in written]
    assert names[0] == ("Generator", f"weights/117/generator_0_{int(history['g_loss'][0])}.h5")
    assert names[3] == ("Discriminator", "weights/117/discriminator_1.h5")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert len(lines) == 2 and lines[1].startswith("1 - ") and float(lines[1].split(" - ")[2]) == history["g_loss"][1]


def test_learning_rate_is_constant_and_then_falls_for_both_networks():
    """Against the original's loop: at the end of every epoch above 150 (counted from 1) the rate falls by lr / 150."""
    rate, expected = 1e-4, []
    for epoch in range(1, 301):
        expected.append(rate)
        rate -= 1e-4 / 150 if epoch > 150 else 0
    schedule = ConstantThenLinear(1e-4, steps_per_epoch=7)
    np.testing.assert_allclose([float(schedule(7 * e + 6)) for e in range(300)], expected, rtol=1e-4)
    trainer = ct(critic_updates=5)
    trainer.compile(learning_rate=ConstantThenLinear(1e-4, 1, 1, 4))
    trainer.g_optimizer.iterations.assign(3)
    trainer.d_optimizer.iterations.assign(15)
    assert float(trainer.g_optimizer.learning_rate) == float(trainer.d_optimizer.learning_rate) == pytest.approx(5e-5)
    trainer.d_optimizer.iterations.assign(14)
    assert float(trainer.d_optimizer.learning_rate) == pytest.approx(7.5e-5)


def test_validation_scores_symmetric_images_in_zero_to_one():
    """SSIM depends on where zero is, so [-1, 1] must not reach it."""
    from tfrecon import metrics

    trainer, (x, y) = small(ct), images(2)
    (ssim, psnr, _), _ = trainer.scores(tf.constant(x), tf.constant(y), tf.ones(2))
    a, b = ((v.mean(-1) + 1) / 2 for v in (x, y))
    for i in range(2):
        assert float(ssim[i]) == pytest.approx(metrics.ssim(b[i, None], a[i, None], 1.0), abs=2e-5)
        assert float(psnr[i]) == pytest.approx(10 * np.log10(1 / np.mean((a[i] - b[i]) ** 2)), abs=1e-3)


def test_missing_perceptual_weights_are_told_before_the_first_step(monkeypatch):
    monkeypatch.setenv("TFRECON_VGG16_WEIGHTS", "/nowhere/vgg16.h5")
    trainer = small(deblurgan, content=None)
    before = weights_of(trainer)
    with pytest.raises(WeightsError, match="/nowhere/vgg16.h5"):
        trainer.fit(*images(), verbose=0)
    for a, b in zip(before, weights_of(trainer), strict=True):
        np.testing.assert_array_equal(a, b)


def test_perceptual_network_is_no_part_of_the_model():
    trainer = small(deblurgan, content=vgg())
    trainer.fit(*images(), verbose=0)
    assert not any("block1_conv" in v.path for v in trainer.weights)


@pytest.mark.parametrize("build, option", [(deblurgan, {"critic_updates": 0}), (ct, {"critic_updates": 2.5}),
                                           (deblurgan, {"critic_statistics": "frozen"})])
def test_wrong_options_are_refused(build, option):
    with pytest.raises(UsageError, match=next(iter(option))):
        build(**option)


@pytest.mark.parametrize("build", [deblurgan, ct])
def test_exported_model_runs_at_other_sizes(build, tmp_path):
    trainer = small(build, size=None)
    trainer.export(tmp_path / "out", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    for size in (32, 44):
        x = np.random.default_rng(0).uniform(-1, 1, (2, size, 36, 3)).astype(np.float32)
        np.testing.assert_allclose(loaded.serve(x)["reconstruction"], trainer.predict(x, verbose=0), atol=1e-5)


@pytest.mark.parametrize("build", ALL)
def test_rows_21_69_70_71_predict_refuses_what_keras_mistakes(build):
    trainer = small(build)
    for wrong, error in ((np.ones((1, 32, 32, 1), np.float32), "3 channels"), (np.ones((32, 32, 3), np.float32), "N, H, W")):
        with pytest.raises(ValueError, match=error):
            trainer.predict(wrong)
    with pytest.raises(TypeError, match="magnitude"):
        trainer.predict(np.ones((1, *SHAPE), complex))
    assert trainer.predict(np.ones((0, *SHAPE), np.float32)).shape == (0, *SHAPE)
    grey = np.ones((2, 32, 32, 1), np.float32)
    with pytest.raises(ValueError, match="3 channels"):
        trainer.fit(grey, grey, verbose=0)


def test_pix2pix_names_follow_the_originals_nesting():
    names = [layer.name for layer in pix2pix.generator_model().layers if layer.weights]
    assert names[0] == "model_model_0" and "model_model_1_model_1" in names
    assert "model_model_1_model_3_model_3_model_3_model_3_model_3_model_3_model_1" in names  # innermost
    assert names[-1] == "model_model_3" and len(names) == 16
    model = pix2pix.generator_model()
    assert sum(v.numpy().size for v in model.trainable_variables) == 54_409_603
    with pytest.raises(ValueError, match="multiples of 256"):
        pix2pix.generator_model((300, 256, 3))

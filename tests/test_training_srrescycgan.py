"""SRResCycGAN as a Keras model: one pass for everything, compiled, on two devices, in half precision, saved, resumed."""

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import srrescycgan_original as original
import tensorflow as tf
import tiny
from training_tools import precision, recording

from tfrecon import losses, metrics
from tfrecon.data import EpochClock
from tfrecon.errors import UsageError, WeightsError
from tfrecon.losses import PerceptualLoss
from tfrecon.models.srrescycgan import Discriminator_HR, Discriminator_LR, Generator_HR, Generator_LR
from tfrecon.training import SRResCycGAN, adam_opt, fit_resumable

SMALL, LARGE = 12, 48
REAL = 47, 188  # the smallest size for which the real critic of large images can learn
NETWORKS = ["G_HR", "G_LR", "D_HR", "D_LR"]
LOGS = ["g_loss", "d_loss", "perceptual_loss", "adversarial_loss", "total_variation_loss", "content_loss", "cyclic_loss"]
EAGER = {"run_eagerly": True}


def networks():
    size = (None, None, 3)
    return (tiny.image_to_image(size, name="G_HR", enlarge=4), tiny.image_to_image(size, name="G_LR", reduce=4),
            tiny.critic((LARGE, LARGE, 3), "D_HR", "instance"), tiny.critic(size, "D_LR", "instance"))


def real_networks(**critics):
    size = (None, None, 3)
    return (Generator_HR(size, filters=2, n_blocks=1), Generator_LR(size, filters=2, n_blocks=1),
            Discriminator_HR((REAL[1], REAL[1], 3), filters=2, **critics), Discriminator_LR(size, filters=2, **critics))


def vgg():
    return PerceptualLoss("vgg19", "block1_conv1", preprocess="imagenet", weights=None)


def small(compile_options=EAGER, given=None, build=networks, **options):
    keras.utils.set_random_seed(1)
    given = {"perceptual": vgg(), **(given or {})}
    trainer = SRResCycGAN(*build(), **options)
    trainer.compile(losses=given, **compile_options)
    return trainer


def images(count=2, seed=0, channels=3, sides=(SMALL, LARGE)):
    rng = np.random.default_rng(seed)
    shapes = ((count, side, side, channels) for side in sides)
    return tuple(rng.uniform(0, 255, shape).astype(np.float32) for shape in shapes)


def dataset(*arrays, batch=2):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(batch, drop_remainder=True)


def weights_of(trainer):
    return [w.numpy() for w in trainer.weights]


def equal(one, two):
    for a, b in zip(weights_of(one), weights_of(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_step_equals_the_originals_order_of_work():
    """One shared pass and one gradient for both generators give what two passes and four gradients give."""
    with precision("float64"):
        trainer, plain = small(build=real_networks), small(build=real_networks)
        for ours, theirs in zip(trainer.weights, plain.weights):
            theirs.assign(ours)
        features = trainer.loss_functions["perceptual"].features
        nets = [getattr(plain, name) for name in NETWORKS]
        optimizers = [adam_opt() for _ in nets]
        batch = [x.astype("float64") for x in images(sides=REAL)]
        logs = trainer.train_on_batch(*batch, return_dict=True)
        expected = original.train_step(nets, optimizers, features, *map(tf.constant, batch))
        order = ["d_loss", "g_loss", *LOGS[2:]]
        np.testing.assert_allclose([float(logs[name]) for name in order], expected, rtol=1e-9)
        for a, b in zip(trainer.trainable_variables, plain.trainable_variables, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-8, err_msg=a.path)


@pytest.fixture(scope="module")
def traced():
    """The graph of a step on one batch, and how often it ran through each network."""
    trainer = small(build=real_networks)
    calls = counted(trainer)
    batch = [tf.constant(x) for x in images(sides=REAL)]
    return tf.function(lambda *data: trainer.train_step(data)).get_concrete_function(*batch).graph, calls


def counted(trainer):
    """Counts the passes through every network and the VGG from now on."""
    calls = Counter()

    def counting(name, network):
        def call(*args, **kwargs):
            calls[name] += 1
            return network(*args, **kwargs)

        return call

    trainer._twins = {name: counting(name, trainer._twins[name]) for name in NETWORKS}
    perceptual = trainer.loss_functions["perceptual"]
    perceptual._features = counting("VGG", perceptual.features)
    return calls


@pytest.mark.slow
def test_every_pass_is_computed_once(traced):
    """Two passes of each network and of the VGG, and nothing twice."""
    assert traced[1] == dict.fromkeys([*NETWORKS, "VGG"], 2)


COMPILED = [pytest.param({"jit_compile": jit}, marks=pytest.mark.slow) for jit in (False, True)]


@pytest.mark.parametrize("options", [EAGER, *COMPILED], ids=["eager", "graph", "XLA"])
def test_low_memory_gives_the_same_numbers(options):
    with precision("float64"):
        plain = small(options, lambda_identity=0.5)
        given = {"perceptual": plain.loss_functions["perceptual"]}
        lean = small(options, given=given, lambda_identity=0.5, low_memory=True)
        for ours, theirs in zip(lean.weights, plain.weights, strict=True):
            ours.assign(theirs)
        for seed in range(2):
            batch = [x.astype("float64") for x in images(seed=seed)]
            found, expected = (t.train_on_batch(*batch, return_dict=True) for t in (lean, plain))
            for name in expected:
                assert found[name] == pytest.approx(expected[name], rel=1e-9), name
        for a, b in zip(lean.trainable_variables, plain.trainable_variables, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-9, err_msg=a.path)


@pytest.mark.parametrize("alone", ["lambda_cyc", "lambda_content", "lambda_adversarial"])
def test_low_memory_without_some_losses(alone):
    weights = dict.fromkeys(["lambda_cyc", "lambda_content", "lambda_perceptual", "lambda_adversarial",
                             "lambda_total_variation"], 0.0) | {alone: 2.0}
    lean, plain = small(low_memory=True, **weights), small(**weights)
    for trainer in (lean, plain):
        trainer.compile(*(keras.optimizers.SGD(1e-5) for _ in range(4)), **EAGER)
        trainer.train_on_batch(*images(1))
    for a, b in zip(lean.trainable_variables, plain.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6, err_msg=a.path)


def test_low_memory_holds_one_pass_at_a_time():
    """The fakes alone are made twice, the second time with the gradients by them at hand."""
    trainer = small(low_memory=True)
    calls = counted(trainer)
    trainer.train_on_batch(*images(1))
    assert calls == {"G_HR": 3, "G_LR": 3, "D_HR": 2, "D_LR": 2, "VGG": 2}
    assert SRResCycGAN.from_config(trainer.get_config()).low_memory


def test_step_is_traced_with_fixed_sizes(traced):
    """As a TPU needs it: no unknown size anywhere, although the generators were built for any."""
    unknown = [output.name for op in traced[0].get_operations() for output in op.outputs
               if output.dtype.is_floating and not output.shape.is_fully_defined()]
    assert not unknown, unknown[:5]


def test_networks_learn_and_history_holds_epoch_means():
    trainer = small()
    before = {name: [v.numpy() for v in getattr(trainer, name).trainable_variables] for name in NETWORKS}
    seen = []

    class Batches(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(dict(logs))

    history = trainer.fit(dataset(*images(4)), validation_data=dataset(*images(2)), verbose=0, callbacks=[Batches()]).history
    assert set(history) == {*LOGS, "val_ssim", "val_psnr", "val_l1"}
    assert all(np.isfinite(v).all() for v in history.values())
    for name, arrays in before.items():
        moved = [(a != v.numpy()).any() for a, v in zip(arrays, getattr(trainer, name).trainable_variables)]
        assert np.mean(moved) > 0.9, name
    # What is logged is the mean since the epoch began, not the last batch.
    second = 2 * seen[1]["content_loss"] - seen[0]["content_loss"]
    assert history["content_loss"][0] == pytest.approx(seen[1]["content_loss"]) != pytest.approx(second, rel=1e-6)


def test_compiled_step_equals_the_plain_one():
    logs = []
    for options in ({"jit_compile": True}, EAGER):
        trainer = small(options)
        trainer.loss_functions["perceptual"].features.set_weights(fixed_vgg())
        logs.append(trainer.train_on_batch(*images(), return_dict=True))
    assert set(logs[0]) == set(logs[1]) == set(LOGS)
    for name in LOGS:
        assert logs[0][name] == pytest.approx(logs[1][name], rel=1e-4), name


def fixed_vgg():
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, w.shape) for w in vgg().features.weights]


TWO_DEVICES = """
import sys
import numpy as np, tensorflow as tf, keras
keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from test_training_srrescycgan import REAL, images, networks, real_networks, vgg
from tfrecon.training import SRResCycGAN

low_memory, spectral_norm = "low_memory" in sys.argv, "spectral_norm" in sys.argv

def run(strategy):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        given = real_networks(spectral_norm=True) if spectral_norm else networks()
        trainer = SRResCycGAN(*given, lambda_identity=1.0, low_memory=low_memory)
        trainer.compile(*(keras.optimizers.SGD(1e-5) for _ in range(4)), losses={"perceptual": vgg()},
                        run_eagerly=not low_memory)
    x, y = images(4, sides=REAL) if spectral_norm else images(4)
    trainer.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(2, drop_remainder=True), verbose=0)
    return [w.numpy() for w in trainer.trainable_variables]

one, two = (run(s) for s in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])))
for a, b in zip(one, two, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-9)
"""


@pytest.mark.parametrize("options", [[], *(pytest.param([o], marks=pytest.mark.slow) for o in ("low_memory", "spectral_norm"))],
                         ids=lambda options: "".join(options) or "plain")
def test_two_devices_with_sgd_equal_one(options):
    """SGD shows gradients summed instead of averaged over replicas; Adam would hide it."""
    result = subprocess.run([sys.executable, "-c", TWO_DEVICES, *options], capture_output=True, text=True, timeout=600,
                            cwd=Path(__file__).parent)
    assert result.returncode == 0, result.stderr[-3000:]


def test_half_precision_step_is_finite():
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        trainer = small()
        logs = trainer.train_on_batch(*images(1), return_dict=True)
        assert trainer(images(1)[0]).dtype == tf.float32
    finally:
        keras.config.set_dtype_policy(former)
    assert np.isfinite([*logs.values()]).all() and all(w.dtype == np.float32 for w in weights_of(trainer))


def test_generators_with_different_loss_scales_get_their_own_gradients():
    """One scalar serves both, but under mixed_float16 each optimizer divides by the scale it has come to."""
    scaled, plain = small(), small()
    optimizers = [keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-5), 2.0**n) for n in (3, 5, 7, 9)]
    given = {"perceptual": scaled.loss_functions["perceptual"]}
    scaled.compile(*optimizers, losses=given, **EAGER)
    plain.compile(*(keras.optimizers.SGD(1e-5) for _ in range(4)), losses=given, **EAGER)
    for trainer in (scaled, plain):
        trainer.train_on_batch(*images())
    for a, b in zip(scaled.trainable_variables, plain.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-7)


def test_saved_model_goes_on_as_the_same_model(tmp_path):
    trainer = small(given={"content": "mse"}, lambda_content=3.0, lambda_identity=0.5)
    trainer.fit(*images(), verbose=0)
    trainer.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert type(copy) is SRResCycGAN and (copy.lambda_content, copy.lambda_identity, copy.lambda_cyc) == (3, 0.5, 10)
    assert copy.loss_functions["content"] is losses.mse and copy.loss_functions["cyclic"] is losses.l1
    x = images()[0]
    np.testing.assert_array_equal(copy.predict(x, verbose=0), trainer.predict(x, verbose=0))
    features = trainer.loss_functions["perceptual"].features
    copy.loss_functions["perceptual"].features.set_weights(features.get_weights())  # random, and no part of the model
    for model in (trainer, copy):
        model.train_on_batch(*images(seed=1))
    assert int(copy.d_lr_optimizer.iterations) == 2
    equal(trainer, copy)


def test_killed_run_restored_by_keras_equals_uninterrupted(tmp_path):
    """BackupAndRestore: all four optimizers come back, or the second epoch would differ."""
    data, shared = dataset(*images(1), batch=1), vgg()

    class Killed(Exception):
        pass

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise Killed

    def run(folder, *callbacks):
        trainer = small(given={"perceptual": shared})
        backup = [] if folder is None else [keras.callbacks.BackupAndRestore(folder)]
        trainer.fit(data, epochs=2, verbose=0, callbacks=[*backup, *callbacks])
        return trainer

    straight = run(None)
    with pytest.raises(Killed):
        run(tmp_path, Kill())
    resumed = run(tmp_path)
    assert [int(getattr(resumed, name).iterations) for name in SRResCycGAN._optimizer_names] == [2] * 4
    equal(straight, resumed)


@pytest.mark.slow
def test_stopped_in_mid_epoch_and_resumed_equals_uninterrupted(tmp_path):
    data, shared = dataset(*images(4), batch=1), vgg()

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                signal.raise_signal(signal.SIGINT)

    def run(folder, callbacks=()):
        trainer = small(given={"perceptual": shared})
        fit_resumable(trainer, data, data.take(1), 2, folder, EpochClock(), lambda facts: None, callbacks)
        return trainer

    straight = run(tmp_path / "a")
    with pytest.raises(Exception, match="stopp"):
        run(tmp_path / "b", [Stop()])
    equal(straight, run(tmp_path / "b"))


def test_optimizers_are_built_when_compiled_and_own_their_network():
    trainer = small()
    owned = [len(getattr(trainer, name)._trainable_variables) for name in SRResCycGAN._optimizer_names]
    assert owned == [len(getattr(trainer, name).trainable_variables) for name in ["G_HR", "D_HR", "G_LR", "D_LR"]]
    with pytest.raises(UsageError, match="one optimizer object for each"):
        shared = keras.optimizers.Adam()
        trainer.compile(shared, shared)


def twice_l1(y_true, y_pred):
    return 2 * losses.l1(y_true, y_pred)


def test_losses_are_replaced_by_name():
    trainer = small(given={"content": twice_l1, "adversarial": keras.losses.BinaryCrossentropy(from_logits=True)})
    plain = small(given={"perceptual": trainer.loss_functions["perceptual"]})
    ours, theirs = (t.train_on_batch(*images(), return_dict=True) for t in (trainer, plain))
    assert ours["content_loss"] == pytest.approx(2 * theirs["content_loss"])
    assert ours["adversarial_loss"] == pytest.approx(theirs["adversarial_loss"], rel=1e-5)
    with pytest.raises(UsageError, match="total_variation; received contents"):
        small(given={"contents": "l1"})


def test_losses_without_weight_cost_nothing_and_leave_their_networks_alone():
    """Content alone: no VGG, no critics, no generator of small images."""
    alone = {"lambda_cyc": 0, "lambda_perceptual": 0, "lambda_adversarial": 0, "lambda_total_variation": 0}
    trainer = small(given={"perceptual": PerceptualLoss(weights="/nowhere/vgg.h5")}, **alone)
    before = {name: [w.numpy() for w in getattr(trainer, name).weights] for name in NETWORKS}
    logs = trainer.train_on_batch(*images(), return_dict=True)
    assert logs["g_loss"] == pytest.approx(5 * logs["content_loss"]) and logs["cyclic_loss"] == logs["d_loss"] == 0
    for name, arrays in before.items():
        moved = any((a != w.numpy()).any() for a, w in zip(arrays, getattr(trainer, name).weights))
        assert moved == (name == "G_HR"), name
    with pytest.raises(UsageError, match="lambda_content"):
        small(lambda_content=0, lambda_identity=1, **alone)
    with pytest.raises(UsageError, match="not negative"):
        small(lambda_cyc=-1)


def test_identity_loss_trains_the_generator_of_small_images():
    trainer = small(lambda_identity=2.0)
    x, y = images()
    up = keras.ops.image.resize(x, (LARGE, LARGE), interpolation="bilinear")
    expected = np.mean(np.abs(trainer.G_LR(up) - x))
    logs = trainer.train_on_batch(x, y, return_dict=True)
    assert set(logs) == {*LOGS, "identity_loss"} and logs["identity_loss"] == pytest.approx(expected, rel=1e-4)


def test_spectral_norm_of_the_critics():
    trainer = small(build=lambda: real_networks(spectral_norm=True))
    logs = trainer.train_on_batch(*images(1, sides=REAL), return_dict=True)
    assert np.isfinite([*logs.values()]).all()
    for critic, count in ((trainer.D_HR, 12), (trainer.D_LR, 4)):
        wrapped = [layer for layer in critic.layers if isinstance(layer, keras.layers.SpectralNormalization)]
        assert len(wrapped) == count
    for _ in range(20):
        trainer.D_LR(images(1)[0], training=True)
    kernel = wrapped[0].layer.kernel.numpy()
    assert np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2) == pytest.approx(1, rel=0.1)
    assert not any("spectral" in layer.name for layer in real_networks()[2].layers)


def test_projection_in_the_generator():
    model = Generator_HR((None, None, 3), filters=2, n_blocks=1, projection=True)
    inner = keras.Model(model.input, [model.get_layer("projection").output, model.get_layer("noise").output])
    z, noise = inner(images(1)[0])
    radius = 2 * float(noise[0]) * np.sqrt(np.size(z) - 1)
    assert np.linalg.norm(z) <= radius * 1.0001 and model.get_layer("projection").trainable_weights
    keras.Model.from_config(model.get_config())


def test_validation_takes_the_volumes_range():
    trainer, (x, y) = small(), images()
    facts = {"data_range": np.array([255.0, 300.0], np.float32)}
    found = trainer.evaluate(tf.data.Dataset.from_tensors((x, y, facts)), return_dict=True, verbose=0)
    output, target = trainer.predict(x, verbose=0).mean(-1), y.mean(-1)
    for name in ("ssim", "psnr"):
        score = getattr(metrics, name)
        expected = [score(target[i, None], output[i, None], float(facts["data_range"][i])) for i in range(2)]
        assert float(found[name]) == pytest.approx(np.mean(expected), rel=1e-3), name


def test_grey_images_are_repeated_on_the_device():
    trainer, (x, y) = small(), images(channels=1)
    twin = small(given={"perceptual": trainer.loss_functions["perceptual"]})
    trainer.train_on_batch(x, y)
    twin.train_on_batch(*(np.repeat(v, 3, -1) for v in (x, y)))
    equal(trainer, twin)
    assert trainer.predict(x, verbose=0).shape == (2, LARGE, LARGE, 3)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        trainer.predict(np.repeat(x, 2, -1))


@pytest.mark.parametrize("small_size, large_size, message", [(12, 52, "4 times"), (13, 52, "48")])
def test_pairs_of_wrong_sizes_are_refused(small_size, large_size, message):
    x, y = np.ones((1, small_size, small_size, 3), np.float32), np.ones((1, large_size, large_size, 3), np.float32)
    with pytest.raises(UsageError, match=message):
        small().train_on_batch(x, y)


def test_without_the_critics_images_of_any_size_will_do():
    x, y = (np.full((1, side, side, 3), 100, np.float32) for side in (10, 40))
    logs = small(lambda_adversarial=0).train_on_batch(x, y, return_dict=True)
    assert np.isfinite([*logs.values()]).all() and logs["content_loss"] > 0


def test_empty_batch_is_predicted_in_the_outputs_size():
    for channels in (1, 3):
        assert small().predict(np.zeros((0, 10, 12, channels), np.float32)).shape == (0, 40, 48, 3)


@pytest.mark.parametrize("factor, warns", [(1e-6, True), (1e3, True), (1, False), (3 / 255, False)])
def test_fit_warns_about_values_far_from_255(factor, warns, recwarn):
    x, y = (image * np.float32(factor) for image in images(1))
    small(lambda_adversarial=0, lambda_perceptual=0).fit(x, y, verbose=0)
    said = [str(w.message) for w in recwarn if "largest magnitude" in str(w.message)]
    assert bool(said) == warns and all('value_range="volume"' in text and "255" in text for text in said)


def test_magnitude_averages_the_channels():
    image = np.random.default_rng(0).uniform(0, 255, (2, 4, 5, 3)).astype(np.float32)
    found = small().magnitude_of(image)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, image.mean(-1, keepdims=True), rtol=1e-6)


def test_missing_perceptual_weights_are_told_before_the_first_step(monkeypatch):
    monkeypatch.setenv("TFRECON_VGG19_WEIGHTS", "/nowhere/vgg19.h5")
    trainer = SRResCycGAN(*networks())
    trainer.compile()
    before = weights_of(trainer)
    with pytest.raises(WeightsError, match="/nowhere/vgg19.h5"):
        trainer.fit(*images(), verbose=0)
    for a, b in zip(before, weights_of(trainer), strict=True):
        np.testing.assert_array_equal(a, b)


def test_perceptual_network_is_no_part_of_the_model():
    trainer = small()
    trainer.train_on_batch(*images())
    networks_own = sum(len(getattr(trainer, name).weights) for name in NETWORKS)
    assert trainer.loss_functions["perceptual"].features.weights and len(trainer.weights) == networks_own


def test_published_networks_are_the_default():
    trainer = SRResCycGAN()
    sizes = [getattr(trainer, name).count_params() for name in NETWORKS]
    assert sizes == [684_544, 611_907, 15_526_281, 1_036_545]
    assert (trainer.lambda_cyc, trainer.lambda_content, trainer.generator) == (10, 5, trainer.G_HR)


def test_exported_model_runs_at_other_sizes(tmp_path):
    trainer = small()
    trainer.export(tmp_path / "out", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    for shape in ((1, 20, 31, 3), (2, 9, 8, 3)):
        x = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
        np.testing.assert_allclose(loaded.serve(x)["reconstruction"], trainer.predict(x, verbose=0), atol=1e-3)


def test_each_network_takes_one_step():
    trainer = small()
    for name in SRResCycGAN._optimizer_names:
        recording(getattr(trainer, name))
    trainer.train_on_batch(*images())
    assert [len(getattr(trainer, name).seen) for name in SRResCycGAN._optimizer_names] == [1] * 4

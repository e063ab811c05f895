"""UNetGAN as a Keras model: fit plain and compiled, on two devices, saved, exported, resumed, and on bad inputs."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

import tfrecon
from tfrecon.data import EpochClock, create_paired_dataset
from tfrecon.losses import LOSSES
from tfrecon.models.unet_gan import discriminator_model, generator_model
from tfrecon.training import UNetGAN, cross_validate, fit_resumable


def small(loss="bce", weight=10.0, **compile_options):
    """A tiny trainer, the same weights every time. Eager unless told: tracing it costs more than a test's few steps."""
    keras.utils.set_random_seed(1)
    trainer = UNetGAN(tiny.image_to_image((None, None, 1), 2), discriminator_model((None, None, 1), width=2), loss, weight)
    trainer.compile(**{"learning_rate": 1e-3, "run_eagerly": "jit_compile" not in compile_options, **compile_options})
    return trainer


def arrays(count=4, size=32, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.random((count, size, size, 1)).astype(np.float32) for _ in range(2))


def weights_of(trainer):
    return [w.numpy() for w in trainer.weights if "seed" not in w.path]


def assert_same_weights(a, b, **tolerance):
    for x, y in zip(weights_of(a), weights_of(b), strict=True):
        np.testing.assert_allclose(x, y, **tolerance)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_trains_the_generator(loss):
    x, y = arrays()
    trainer = small(loss, weight=0.0)
    before = [w.numpy() for w in trainer.generator.trainable_variables]
    rested = [w.numpy() for w in trainer.discriminator.trainable_variables]
    history = trainer.fit(x, y, epochs=1, batch_size=2, verbose=0).history
    assert set(history) == {"g_loss", "d_loss", "reconstruction_loss"} and np.isfinite(list(history.values())).all()
    assert any((a != w.numpy()).any() for a, w in zip(before, trainer.generator.trainable_variables))
    moved = any((a != w.numpy()).any() for a, w in zip(rested, trainer.discriminator.trainable_variables))
    assert moved == (loss != "ssim")


def test_reconstruction_term_is_off_by_default_and_counts_when_on():
    assert UNetGAN(generator_model(width=1), discriminator_model()).reconstruction_weight == 0.0
    x, y = arrays()
    off, on = (small(weight=w).train_on_batch(x, y, return_dict=True) for w in (0.0, 10.0))
    assert on["g_loss"] == pytest.approx(off["g_loss"] + 10 * off["reconstruction_loss"], rel=1e-5)


def test_compiled_step_equals_the_plain_one():
    x, y = arrays()
    plain, compiled = small(jit_compile=False), small(jit_compile=True)
    for trainer in (plain, compiled):
        trainer.fit(x, y, epochs=2, batch_size=2, shuffle=False, verbose=0)
    # Two Adam steps after the first: rounding may turn the sign of a vanishing gradient, by lr each time.
    assert_same_weights(plain, compiled, atol=8.1e-3)
    ours, theirs = (t.evaluate(x, y, verbose=0, return_dict=True) for t in (plain, compiled))
    assert float(ours["l1"]) == pytest.approx(float(theirs["l1"]), rel=0.02)


@pytest.mark.slow
def test_fit_on_a_dataset_of_unknown_size_compiles():
    """The real U-Net, whose way up pads to the size of the way down."""
    x, y = arrays(size=40)
    data = tf.data.Dataset.from_generator(
        lambda: iter([(x[:2, :33, :36], y[:2, :33, :36])]),
        output_signature=(tf.TensorSpec((None, None, None, 1)), tf.TensorSpec((None, None, None, 1))),
    ).apply(tf.data.experimental.assert_cardinality(1))
    trainer = UNetGAN(generator_model((None, None, 1), width=2), discriminator_model((None, None, 1), width=2))
    trainer.compile(jit_compile=True)
    history = trainer.fit(data, validation_data=data, verbose=0).history
    assert np.isfinite(history["g_loss"]).all() and np.isfinite(history["val_ssim"]).all()


def test_fit_validates_with_fastmris_range(demo_folder):
    train = create_paired_dataset(demo_folder, batch_size=4, shuffle=True)
    validation = create_paired_dataset(demo_folder, batch_size=4, metadata=True)
    trainer = small(jit_compile=False)
    history = trainer.fit(train, validation_data=validation, epochs=1, verbose=0).history
    from tfrecon import metrics

    expected = []
    for image, target, facts in validation:
        output, target = np.asarray(trainer(image))[..., 0], np.asarray(target)[..., 0]
        expected += [metrics.ssim(t[None], o[None], float(r)) for t, o, r in zip(target, output, facts["data_range"])]
    assert history["val_ssim"][0] == pytest.approx(np.mean(expected), abs=2e-5)


TWO_DEVICES = """
import sys, numpy as np, tensorflow as tf, keras
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tiny
from tfrecon.models.unet_gan import discriminator_model
from tfrecon.training import UNetGAN, workers

class Plain(UNetGAN):  # without batch statistics, which are per replica by design
    def call(self, inputs, training=None):
        return super().call(inputs, training=False)

rng = np.random.default_rng(0)
x, y = (rng.random((8, 32, 32, 1)).astype("float32") for _ in range(2))
data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4, drop_remainder=True)

def made(kind):
    keras.utils.set_random_seed(1)
    shape = (32, 32, 1)
    trainer = kind(tiny.image_to_image(shape, 2), discriminator_model(shape, width=2), "bce", 10.0)
    trainer.compile(keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.01))
    return trainer

def run(strategy):
    with strategy.scope():
        trainer, dropout = made(Plain), keras.layers.Dropout(0.5, seed=3)
    history = trainer.fit(data, validation_data=data, epochs=2, verbose=0).history
    workers.separate_random_states([dropout.seed_generator.state], strategy)
    drawn = strategy.run(lambda: dropout(tf.ones((1, 64)), training=True))
    return [w.numpy() for w in trainer.trainable_variables], history, strategy.experimental_local_results(drawn)

one, logs, _ = run(tf.distribute.get_strategy())
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
two, shared, (first, second) = run(mirrored)
for a, b in zip(one, two, strict=True):
    np.testing.assert_allclose(a, b, atol=2e-6)
assert logs.keys() == shared.keys() and "val_ssim" in logs
for name in logs:
    np.testing.assert_allclose(logs[name], shared[name], rtol=1e-4, atol=1e-5, err_msg=name)
assert not np.array_equal(first, second), "both replicas drew the same numbers"

with mirrored.scope():
    trainer = made(UNetGAN)
trainer.fit(data, verbose=0)
state = next(v for v in trainer.variables if v.name == "moving_mean")
before = [copy.numpy() for copy in mirrored.experimental_local_results(state.value)]
trainer.average_statistics()  # as every state is saved
after = [copy.numpy() for copy in mirrored.experimental_local_results(state.value)]
assert not np.array_equal(*before)
for copy in after:
    np.testing.assert_allclose(copy, np.mean(before, axis=0), rtol=1e-6)
"""


def test_two_devices_with_sgd_equal_one():
    """SGD shows gradients summed instead of averaged over replicas; Adam would hide it. Losses and scores are those of one
    device, and every replica draws numbers of its own.
    """
    result = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, timeout=300,
                            cwd=Path(__file__).parent)
    assert result.returncode == 0, result.stderr[-2000:]


def test_saved_model_is_the_same_model(tmp_path):
    x, y = arrays()
    trainer = small()
    trainer.fit(x, y, verbose=0)
    trainer.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(copy.predict(x, verbose=0), trainer.predict(x, verbose=0))
    plain = [json.dumps(m.get_config(), sort_keys=True) for m in (copy, trainer)]  # a tuple comes back as a list
    assert plain[0] == plain[1]
    for name in ("g_optimizer", "d_optimizer"):
        mine, theirs = getattr(trainer, name), getattr(copy, name)
        assert int(mine.iterations) == int(theirs.iterations) == 1
        for a, b in zip(mine.variables, theirs.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    trainer.train_on_batch(x, y)
    copy.train_on_batch(x, y)
    assert_same_weights(trainer, copy, rtol=0)


def test_exported_model_runs_at_other_sizes_without_us(tmp_path):
    trainer = small()
    trainer.export(tmp_path / "out", verbose=False)
    for i, (n, size) in enumerate([(1, 32), (3, 45)]):
        x, _ = arrays(n, size)
        np.save(tmp_path / f"x{i}.npy", x)
        np.save(tmp_path / f"y{i}.npy", trainer.predict(x, verbose=0))
    code = (
        "import numpy as np, tensorflow as tf\n"
        f"folder = {str(tmp_path)!r}\n"
        "model = tf.saved_model.load(folder + '/out')\n"
        "for i in range(2):\n"
        "    y = model.serve(np.load(f'{folder}/x{i}.npy'))['reconstruction']\n"
        "    np.testing.assert_allclose(y, np.load(f'{folder}/y{i}.npy'), atol=1e-5)\n"
        "import sys; assert 'tfrecon' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]


def test_keras_own_backup_restores_both_optimizers(tmp_path):
    x, y = arrays()
    straight = small()
    straight.fit(x, y, epochs=4, batch_size=2, shuffle=False, verbose=0)

    class Crash(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        small().fit(x, y, epochs=4, batch_size=2, shuffle=False, verbose=0, callbacks=[backup, Crash()])
    resumed = small()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    resumed.fit(x, y, epochs=4, batch_size=2, shuffle=False, verbose=0, callbacks=[backup])
    assert int(resumed.g_optimizer.iterations) == int(resumed.d_optimizer.iterations) == 8
    assert_same_weights(straight, resumed, rtol=0)


class Interrupt(keras.callbacks.Callback):
    """Ctrl-C at a given step, as the signal handler sees it."""

    def __init__(self, at):
        super().__init__()
        self.left = at

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            import signal

            signal.raise_signal(signal.SIGINT)


# Within the first epoch, within the second, at an epoch's last step.
@pytest.mark.parametrize("at", [pytest.param(at, marks=pytest.mark.slow) for at in (1, 4, 6)])
def test_stopped_and_resumed_equals_uninterrupted(demo_folder, tmp_path, at):
    from tfrecon.training.callbacks import Interrupted

    best = {}

    def run(folder, callbacks=()):
        trainer, clock = small(), EpochClock()
        train = create_paired_dataset(demo_folder, batch_size=4, shuffle=True, mask_seed=None, clock=clock)
        validation = create_paired_dataset(demo_folder, batch_size=4, metadata=True)
        saved = best.setdefault(folder.name, [])
        return trainer, fit_resumable(trainer, train, validation, 3, folder, clock, saved.append, callbacks)

    straight, history = run(tmp_path / "straight")
    with pytest.raises(Interrupted):
        run(tmp_path / "stopped", [Interrupt(at)])
    resumed, again = run(tmp_path / "stopped")
    assert_same_weights(straight, resumed, rtol=0)
    assert [h["val_ssim"] for h in history] == [h["val_ssim"] for h in again]
    assert best["straight"] == best["stopped"]  # the best epoch so far is remembered across the interruption
    assert len(list((tmp_path / "stopped" / "checkpoint").glob("state-*"))) == 1


def test_fresh_networks_per_fold_and_the_leaking_switch():
    x, y = arrays(6)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(3)
    folds = [(data, data)] * 2
    built = []

    def build():
        built.append(small())
        return built[-1]

    scores = cross_validate(build, folds, epochs=1)
    assert scores.shape == (2, 1) and len(built) == 2
    np.testing.assert_array_equal(scores[0], scores[1])  # same seed, same data, nothing carried over
    with pytest.warns(UserWarning, match="Leaking folds"):
        leaked = cross_validate(build, folds, epochs=1, leaking=True)
    assert len(built) == 3 and leaked.shape == (2, 1) and (leaked[0] != leaked[1]).all()


@pytest.mark.parametrize("factor", [1e-4, 1e5])  # row 27
def test_fit_warns_about_the_range(factor):
    x, y = arrays()
    with pytest.warns(UserWarning, match="largest magnitude"):
        small().fit(x * np.float32(factor), y * np.float32(factor), verbose=0)


def test_predict_refuses_or_answers_what_keras_mistakes():  # rows 21, 70, 71
    trainer = small()
    with pytest.raises(TypeError, match="magnitude"):
        trainer.predict(np.ones((1, 32, 32, 1), complex))
    with pytest.raises(ValueError, match="N, H, W"):
        trainer.predict(np.ones((32, 32, 1), np.float32))
    assert trainer.predict(np.ones((0, 32, 32, 1), np.float32)).shape == (0, 32, 32, 1)


def test_mixed_precision_scales_the_loss_of_both_optimizers():
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        trainer = small()
    finally:
        keras.config.set_dtype_policy(former)
    for optimizer in (trainer.g_optimizer, trainer.d_optimizer):
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    history = trainer.fit(*arrays(), verbose=0).history
    assert np.isfinite(history["g_loss"]).all()


def test_builders_say_what_sizes_they_take():
    with pytest.raises(ValueError, match="at least 16"):
        generator_model((15, 32, 1))
    with pytest.raises(ValueError, match="at least 32"):
        discriminator_model((31, 32, 1))
    with pytest.raises(ValueError, match="2019"):
        generator_model(revision="2030")
    generator = generator_model((16, 17, 1), width=1)
    assert generator(np.zeros((1, 16, 17, 1))).shape == (1, 16, 17, 2)


def test_create_takes_presets_options_and_nothing_else():
    assert tfrecon.create("unet_gan", preset="original", width=1).adversarial_name == "kldiv"
    assert tfrecon.create("unet_gan", width=1).reconstruction_weight == 100.0
    for wrong in ({"preset": "best"}, {"depth": 3}):
        with pytest.raises(tfrecon.errors.UsageError):
            tfrecon.create("unet_gan", **wrong)
    with pytest.raises(tfrecon.errors.UsageError, match="unet_gan"):
        tfrecon.create("unet")
    x = np.ones((1, 4, 4, 1))
    assert tfrecon.create("zero_filled")(x) is x

"""UnrolledRecon as a Keras model: fit, XLA, two devices, half precision, saved, resumed; what it refuses."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import complex_normal

from tfrecon.errors import UsageError
from tfrecon.models import unrolled
from tfrecon.physics.operators import Sense
from tfrecon.training import TorchAdam, UnrolledRecon

MODELS = {
    "cg": lambda: unrolled.CGSense(0.1, cg_max_iter=3),
    "modl": lambda: unrolled.MoDL(unrolled.cnn_denoiser(2, 3), 2, l2lam=0.1, cg_max_iter=3),
    "dbp": lambda: unrolled.DeepBasisPursuit(unrolled.resnet_denoiser(3, 1, 3), 2, 2, 0.1, l2lam=0.5, cg_max_iter=3),
}
EVERY = pytest.mark.parametrize("name", MODELS)
EAGER = {"run_eagerly": True}


def batch(count=4, seed=0, dtype=np.complex64):
    rng = np.random.default_rng(seed)
    maps = complex_normal(rng, (count, 3, 12, 10), dtype)
    maps /= np.sqrt((np.abs(maps) ** 2).sum(1, keepdims=True))
    mask = np.broadcast_to(rng.uniform(size=(count, 1, 10)) < 0.5, (count, 12, 10)).astype(maps.real.dtype)
    image = complex_normal(rng, (count, 12, 10), dtype)
    kspace = np.asarray(Sense(maps, mask).forward(image)).astype(dtype)
    return {"kspace": kspace, "sens_maps": maps.astype(dtype), "mask": mask}, image


def small(name, options=EAGER, **arguments):
    keras.utils.set_random_seed(1)
    trainer = UnrolledRecon(MODELS[name](), **arguments)
    trainer.compile(**{"learning_rate": 1e-2, **options})
    return trainer


def dataset(*arguments, **options):
    return tf.data.Dataset.from_tensor_slices(batch(*arguments, **options)).batch(2, drop_remainder=True)


def equal(one, two, **tolerance):
    for a, b in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), err_msg=a.path, **{"rtol": 0, **tolerance})


@pytest.mark.parametrize("name, supervised", [("cg", True), ("modl", True), ("dbp", False)])
def test_training_lowers_the_loss_and_moves_every_weight(name, supervised):
    trainer, data = small(name, supervised=supervised), dataset()
    before = [v.numpy() for v in trainer.trainable_variables]
    history = trainer.fit(data, validation_data=data, epochs=3, verbose=0).history
    assert set(history) == {"loss", "nrmse", "val_ssim", "val_psnr", "val_l1", "val_nrmse"}
    assert history["loss"][-1] < history["loss"][0]
    assert all((a != v.numpy()).any() for a, v in zip(before, trainer.trainable_variables))


@EVERY
def test_loss_is_the_mean_or_the_sum_over_the_batch(name):
    inputs, image = batch()
    difference = np.asarray(MODELS[name]()(inputs)) - image if name == "cg" else None
    mean, total = (small(name, sum_over_batch=s).train_on_batch(inputs, image, return_dict=True)["loss"] for s in (False, True))
    assert total == pytest.approx(4 * mean, rel=1e-5)
    if difference is not None:
        assert total == pytest.approx((np.abs(difference) ** 2).sum(), rel=1e-5)


@pytest.mark.parametrize("name", ["cg", "modl", pytest.param("dbp", marks=pytest.mark.slow)])
def test_compiled_step_equals_the_plain_one(name):
    trainers = [small(name, {"jit_compile": True}), small(name)]
    logs = [t.train_on_batch(*batch(), return_dict=True) for t in trainers]
    for key in logs[0]:
        assert logs[0][key] == pytest.approx(logs[1][key], rel=1e-4), key
    equal(*trainers, atol=2.1e-2)  # a vanishing gradient may change its sign by rounding: twice the rate


TWO_DEVICES = """
import numpy as np, tensorflow as tf, keras
keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from test_training_unrolled import batch
from tfrecon.models import unrolled
from tfrecon.training import UnrolledRecon

def run(strategy, total):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        # Without batch norm, whose statistics are per replica by design.
        trainer = UnrolledRecon(unrolled.MoDL(unrolled.resnet_denoiser(3, 1, 3), 2, l2lam=0.1, cg_max_iter=3))
        trainer.compile(keras.optimizers.SGD(1e-3))
    data = tf.data.Dataset.from_tensor_slices(batch(8, dtype=np.complex128)).batch(4, drop_remainder=True)
    trainer.fit(data, epochs=2, verbose=0)
    return [w.numpy() for w in trainer.trainable_variables]

one, two = (run(s, 4) for s in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])))
for a, b in zip(one, two, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-9)
"""


@pytest.mark.slow
def test_two_devices_with_sgd_equal_one():
    """SGD shows gradients summed instead of averaged over replicas; Adam would hide it."""
    result = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, timeout=300,
                            cwd=Path(__file__).parent)
    assert result.returncode == 0, result.stderr[-3000:]


def test_step_is_traced_with_fixed_sizes():
    """As a TPU needs it (batch norm's kernel has an output of unknown size that nobody reads)."""
    trainer = small("dbp", {"jit_compile": False})
    graph = tf.function(lambda *data: trainer.train_step(data)).get_concrete_function(*batch()).graph
    unknown = [output.name for op in graph.get_operations() for output in op.outputs
               if output.dtype.is_floating and not output.shape.is_fully_defined()]
    assert not unknown, unknown[:5]


@EVERY
def test_saved_model_goes_on_as_the_same_model(name, tmp_path):
    trainer = small(name, supervised=False, sum_over_batch=True)
    trainer.fit(dataset(), verbose=0)
    trainer.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert (copy.supervised, copy.sum_over_batch) == (False, True) and int(copy.optimizer.iterations) == 2
    for model in (trainer, copy):
        model.train_on_batch(*batch(seed=1))
    equal(trainer, copy)


@pytest.mark.slow
def test_killed_run_restored_by_keras_equals_uninterrupted(tmp_path):
    class Killed(Exception):
        pass

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise Killed

    def run(folder, *callbacks):
        trainer = small("modl")
        backup = [] if folder is None else [keras.callbacks.BackupAndRestore(folder)]
        trainer.fit(dataset(), epochs=2, verbose=0, callbacks=[*backup, *callbacks])
        return trainer

    straight = run(None)
    with pytest.raises(Killed):
        run(tmp_path, Kill())
    resumed = run(tmp_path)
    assert int(resumed.optimizer.iterations) == 4
    equal(straight, resumed)


def test_half_precision_denoisers_leave_the_measurement_in_full():
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        trainer = small("modl")
        logs = trainer.train_on_batch(*batch(), return_dict=True)
        assert trainer(batch()[0]).dtype == tf.complex64
    finally:
        keras.config.set_dtype_policy(former)
    assert np.isfinite([*logs.values()]).all() and trainer.model.consistency.l2lam.dtype == "float32"


def test_accumulation_and_clipping_are_keras_own():
    trainer = small("modl", {"optimizer": TorchAdam(1e-2, gradient_accumulation_steps=2, global_clipnorm=1.0), **EAGER})
    before = trainer.model.consistency.l2lam.numpy()
    trainer.train_on_batch(*batch())
    assert trainer.model.consistency.l2lam.numpy() == before
    trainer.train_on_batch(*batch())
    assert trainer.model.consistency.l2lam.numpy() != before


def test_without_images_only_unsupervised_training_goes():
    inputs, _ = batch()
    data = tf.data.Dataset.from_tensors((inputs,))
    assert small("modl", supervised=False).fit(data, verbose=0).history["nrmse"] == [0.0]
    with pytest.raises(UsageError, match="supervised=False"):
        small("modl").fit(data, verbose=0)
    with pytest.raises(UsageError, match="full images"):
        small("modl").evaluate(data, verbose=0)


@EVERY
def test_exported_with_complex_numbers_as_channels(name, tmp_path):
    """Also a model that was never called."""
    trainer, (inputs, _) = small(name), batch(2)
    trainer.export(tmp_path / "export", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "export")
    real = {key: np.stack([x.real, x.imag], -1) if np.iscomplexobj(x) else x for key, x in inputs.items()}
    expected = np.asarray(trainer(inputs))
    found = np.asarray(loaded.serve(real)["reconstruction"]) @ [1, 1j]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@EVERY
def test_what_was_not_measured_does_not_matter(name):
    """Not even NaN; where it was measured, NaN stays in its sample."""
    model, (inputs, _) = MODELS[name](), batch(2)
    spoiled = dict(inputs, kspace=np.where(inputs["mask"][:, None] > 0, inputs["kspace"], np.nan))
    np.testing.assert_array_equal(model(spoiled), model(inputs))
    spoiled["kspace"][0, 0, 0, np.flatnonzero(inputs["mask"][0, 0])[0]] = np.nan
    result = np.asarray(model(spoiled))
    assert np.isnan(result[0]).any() and np.isfinite(result[1]).all()


@pytest.mark.parametrize("options", [{"cg_max_iter": -1}, {"cg_max_iter": 2.5}, {"cg_eps": -1}, {"multiple": 0}])
def test_settings_out_of_range(options):
    with pytest.raises(UsageError, match="at least"):
        unrolled.MoDL(unrolled.cnn_denoiser(2, 3), **options)

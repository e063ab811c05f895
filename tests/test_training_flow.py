"""SplineFlowTrainer: the original's steps, dequantisation, schedules, XLA, two devices, saved, resumed; what it refuses."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_flow_golden import by_name, flow_of, nhwc
from training_tools import precision

from tfrecon.errors import UsageError
from tfrecon.models.spline_flow import spline_flow_model
from tfrecon.training import CosineToZero, SplineFlowTrainer, TorchAdam
from tfrecon.training.spline_flow import dequantise, to_pictures
from tfrecon.weights import load_weights


class OnValues(SplineFlowTrainer):
    """Batches are dequantised already."""

    def dequantised(self, pictures, seed):
        return tf.cast(pictures, self.variable_dtype)


@pytest.mark.parametrize("jit", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_three_steps_equal_the_original(flow, jit):
    """With the norms started by the first batch, in the same call that takes its gradient."""
    case = flow("flow_train")
    with precision("float64"):
        network = flow_of(case.meta)
        trainer = OnValues(network)
        load_weights(network, case.weights())
        for variable in network.variables:
            if variable.name == "initialized":
                variable.assign(0)
        trainer.compile(TorchAdam(case.meta["adam"]["lr"]), jit_compile=jit)
        variables = {v.path: v for v in network.trainable_variables}
        if not jit:
            check_first_gradients(case, network)
        for step, values in enumerate(case["x"]):
            loss = trainer.train_on_batch(nhwc(values).astype("float64"), return_dict=True)["loss"]
            trainer.reset_metrics()
            np.testing.assert_allclose(loss, case["losses_64"][step], rtol=1e-9)
            norms = [np.linalg.norm(v) for v in by_name(variables, case["var_names"])]
            np.testing.assert_allclose(norms, case["var_l2_64"][step + 1], rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(network.log_prob(nhwc(case["x"][0])), case["out_log_prob_eval"], atol=2e-3)
    first = next(v for v in network.trainable_variables if v.path.endswith("level_0_step_1_actnorm/log_scale"))
    assert np.any(np.abs(np.array(first) - case["init_log_scale_first"]) > 0)


def check_first_gradients(case, network):
    """What the first batch starts, and the gradients right after; the network is left as it was."""
    before = [np.array(v) for v in network.variables]
    with tf.GradientTape() as tape:
        log_prob = network.log_prob(nhwc(case["x"][0]).astype("float64"), training=True)
        loss = -tf.reduce_mean(log_prob) / (np.log(2) * network.latent_size)
    found = dict(zip((v.path for v in network.trainable_variables), tape.gradient(loss, network.trainable_variables)))
    gradients = [np.linalg.norm(g) for g in by_name(found, case["var_names"])]
    np.testing.assert_allclose(gradients, case["grad_l2_64"][0], rtol=1e-7, atol=1e-12)
    started = {v.path: v for v in network.trainable_variables}
    norms = [np.linalg.norm(v) for v in by_name(started, case["var_names"])]
    np.testing.assert_allclose(norms, case["init_l2"], rtol=1e-6)
    for name in ("log_scale", "shift"):
        own = next(v for path, v in started.items() if path.endswith(f"level_0_step_1_actnorm/{name}"))
        np.testing.assert_allclose(own, case[f"init_{name}_first"], atol=1e-6)
    for variable, value in zip(network.variables, before):
        variable.assign(value)


def test_dequantisation_and_the_way_back(flow):
    case = flow("dequantise")
    bits, noise = case.meta["num_bits"], case["in_noise"]
    x = dequantise(case["in_img_u8"].astype("float32"), bits, noise)
    np.testing.assert_allclose(x, case["out_x"], atol=5e-7 * 16)
    np.testing.assert_allclose(to_pictures(x, bits), case["out_inverse_of_x"], atol=1e-7)
    np.testing.assert_allclose(to_pictures(case["in_model_values"], bits), case["out_inverse_of_model_values"], atol=1e-7)


@pytest.mark.parametrize("key, options", [("cosine", {}), ("cosine_every7", {"every": 7}), ("warmup10pct", {"warmup": 0.1})])
def test_schedules(flow, key, options):
    case = flow("lr_schedules")
    schedule = CosineToZero(case.meta["base_lr"], case.meta["num_steps"], **options)
    schedule = CosineToZero.from_config(schedule.get_config())
    rates = [float(schedule(step)) for step in range(case.meta["num_steps"])]
    np.testing.assert_allclose(rates, case[f"out_{key}"], atol=2e-9)
    assert float(schedule(10**6)) == pytest.approx(0, abs=1e-10)
    with pytest.raises(UsageError, match="warmup"):
        CosineToZero(1e-3, 10, warmup=1.0)
    for wrong in ((-1, 10), (float("nan"), 10), ("1e-3", 10), (1e-3, 10, 2.5), (1e-3, float("nan"))):
        with pytest.raises(UsageError, match="Expected"):
            CosineToZero(*wrong)


def pictures(count=8, seed=0):
    """Bright squares somewhere on a grey ground, 0..255."""
    rng = np.random.default_rng(seed)
    images = 60 + 10 * rng.normal(size=(count, 8, 8, 1))
    for image in images:
        y, x = rng.integers(0, 5, 2)
        image[y : y + 3, x : x + 3] += 120
    return np.clip(images, 0, 255).astype("float32")


def small(cls=SplineFlowTrainer, **options):
    keras.utils.set_random_seed(1)
    trainer = cls(spline_flow_model((8, 8, 1), 2, 1, 6, 4, num_bits=5))
    trainer.compile(**{"learning_rate": 1e-2, "run_eagerly": True, **options})
    return trainer


def dataset(seed=0):
    return tf.data.Dataset.from_tensor_slices(pictures(8, seed)).batch(4, drop_remainder=True)


def equal(one, two, **tolerance):
    for a, b in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), err_msg=a.path, **{"rtol": 0, **tolerance})


def test_training_lowers_the_bits_and_moves_every_weight():
    trainer = small(run_eagerly=False, jit_compile=False)
    before = [v.numpy() for v in trainer.trainable_variables]
    history = trainer.fit(dataset(), validation_data=dataset(1), epochs=12, verbose=0).history
    assert set(history) == {"loss", "val_bits_per_dim"}
    # Better than no knowledge of the levels, and than at the start; noise comes anew, pictures do not.
    assert history["val_bits_per_dim"][-1] < min(5.0, history["val_bits_per_dim"][0] - 0.3)
    assert all((a != v.numpy()).any() for a, v in zip(before, trainer.trainable_variables))
    assert all(float(v) == 1 for v in trainer.flow.variables if v.name == "initialized")
    one, two = (trainer.evaluate(dataset(1), verbose=0) for _ in range(2))
    assert one == two


def test_call_is_the_log_density():
    trainer, x = small(), pictures() / 8
    np.testing.assert_array_equal(trainer(x), trainer.flow.log_prob(x))


def test_compiled_step_equals_the_plain_one():
    trainers = [small(OnValues, run_eagerly=False, optimizer=keras.optimizers.SGD(1e-2), jit_compile=jit)
                for jit in (True, False)]
    logs = [t.train_on_batch(pictures() / 8, return_dict=True) for t in trainers]
    assert logs[0]["loss"] == pytest.approx(logs[1]["loss"], rel=1e-5)
    equal(*trainers, atol=1e-4)


TWO_DEVICES = """
import numpy as np, tensorflow as tf, keras
keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from test_training_flow import OnValues, pictures, small

def run(strategy):
    with strategy.scope():
        trainer = small(OnValues, optimizer=keras.optimizers.SGD(1e-2), run_eagerly=False, jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices(pictures() / 8).batch(4, drop_remainder=True)
    trainer.fit(data, epochs=2, verbose=0)
    return {w.path: w.numpy() for w in trainer.weights if "seed" not in w.path}

one, two = (run(s) for s in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])))
for (name, a), b in zip(one.items(), two.values(), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-9, err_msg=name)
"""


@pytest.mark.slow
def test_two_devices_with_sgd_equal_one():
    """The norms' start is that of the whole batch, and gradients are averaged over the replicas, not summed."""
    result = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, timeout=300,
                            cwd=Path(__file__).parent)
    assert result.returncode == 0, result.stderr[-3000:]


def test_step_is_traced_with_fixed_sizes():
    trainer = small(run_eagerly=False, jit_compile=False)
    graph = tf.function(lambda data: trainer.train_step(data)).get_concrete_function(pictures()).graph
    unknown = [output.name for op in graph.get_operations() for output in op.outputs
               if output.dtype.is_floating and not output.shape.is_fully_defined()]
    assert not unknown, unknown[:5]


def test_saved_model_goes_on_as_the_same_model(tmp_path):
    """Its noise too, and the norms are not started again."""
    trainer = small()
    trainer.fit(dataset(), verbose=0)
    trainer.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert int(copy.optimizer.iterations) == 2
    for model in (trainer, copy):
        model.train_on_batch(pictures(4, 3))
    equal(trainer, copy)


def test_killed_run_restored_by_keras_equals_uninterrupted(tmp_path):
    class Killed(Exception):
        pass

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise Killed

    def run(folder, *callbacks):
        trainer = small()
        backup = [] if folder is None else [keras.callbacks.BackupAndRestore(folder)]
        trainer.fit(dataset(), epochs=2, verbose=0, callbacks=[*backup, *callbacks])
        return trainer

    straight = run(None)
    with pytest.raises(Killed):
        run(tmp_path, Kill())
    resumed = run(tmp_path)
    assert int(resumed.optimizer.iterations) == 4
    equal(straight, resumed)


def test_half_precision_conditioners_leave_the_densities_in_full():
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        trainer = small()
        logs = trainer.train_on_batch(pictures(), return_dict=True)
    finally:
        keras.config.set_dtype_policy(former)
    assert np.isfinite(logs["loss"])
    assert trainer(pictures() / 8).dtype == tf.float32
    assert trainer.flow.steps[0][0].coupling.network.layers[1].compute_dtype == "bfloat16"


def test_pictures_of_another_size_or_range():
    with pytest.raises(UsageError, match=r"\(N, 8, 8, 1\), received \(4, 8, 4, 1\)"):
        small().fit(tf.data.Dataset.from_tensors(np.full((4, 8, 4, 1), 100.0, "float32")), verbose=0)
    with pytest.warns(UserWarning, match=r"0\.\.255"):
        small().fit(tf.data.Dataset.from_tensors(pictures() / 255), verbose=0)

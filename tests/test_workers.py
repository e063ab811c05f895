"""Training on several machines, as two processes on this one: the same as one process, and nothing lost with a worker."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext

import numpy as np
import pytest
from cli_tools import ROOT, arrays

from tfrecon.cli.cluster import worker
from tfrecon.data import write_demo_volumes
from tfrecon.errors import UsageError
from tfrecon.training.workers import workers_strategy

PIECE = """
import os, sys, json, numpy as np
from tfrecon.training import workers
strategy = workers.workers_strategy()
import keras, tensorflow as tf, tiny
from tfrecon.models.unet_gan import discriminator_model
from tfrecon.training import UNetGAN

class Plain(UNetGAN):  # without batch statistics, which are per replica by design
    def call(self, inputs, training=None):
        return super().call(inputs, training=False)

with strategy.scope():
    keras.utils.set_random_seed(1)
    shape = (32, 32, 1)
    trainer = Plain(tiny.image_to_image(shape, 2), discriminator_model(shape, width=2), "bce", 10.0)
    trainer.compile(keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.01))
    dropout = keras.layers.Dropout(0.5, seed=3)
rng = np.random.default_rng(0)
x, y = (rng.random((8, 32, 32, 1)).astype("float32") for _ in range(2))
data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4, drop_remainder=True)
validation = tf.data.Dataset.from_tensor_slices((x, y)).batch(3)
if workers.is_chief(strategy):  # one worker is given its part of each batch, the other cuts it out
    data.own_part = lambda n, count: data.map(lambda *pair: tuple(z[n * 4 // count : (n + 1) * 4 // count] for z in pair))
if len(sys.argv) > 2:
    try:
        trainer.fit(data.unbatch().batch(3, drop_remainder=True).apply(tf.data.experimental.assert_cardinality(2)))
    except ValueError as error:
        refused = str(error)
seen = []
told = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["g_loss"]))
history = trainer.fit(data, validation_data=validation, epochs=2, verbose=0, callbacks=[told]).history
agree = workers.agreed(strategy)
facts = {"history": history, "seen": seen, "chief": workers.is_chief(strategy), "replicas": strategy.num_replicas_in_sync,
         "agreed": agree([not workers.is_chief(strategy), False]), "refused": locals().get("refused")}
workers.separate_random_states([dropout.seed_generator.state], strategy)
drawn = strategy.run(lambda: dropout(tf.ones((1, 64)), training=True))
np.savez(sys.argv[1], *[w.numpy() for w in trainer.weights], drawn=drawn.numpy())
open(sys.argv[1] + ".json", "w").write(json.dumps(facts))
"""


def environment(ports=(), index=0):
    cluster = {"cluster": {"worker": [f"localhost:{port}" for port in ports]}, "task": {"type": "worker", "index": index}}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3",
            **({"TF_CONFIG": json.dumps(cluster)} if ports else {})}


def free_ports(count=2):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def begun(command, ports=(), index=0, log=None):
    """A process in a group of its own, which can be killed with what it started."""
    with open(log, "a") if log else nullcontext(subprocess.PIPE) as output:
        return subprocess.Popen([sys.executable, *map(str, command)], env=environment(ports, index), stdout=output,
                                stderr=subprocess.STDOUT, text=True, start_new_session=True)


def ended(process, seconds=240):
    try:
        said, _ = process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, (said or "")[-3000:]


def test_two_workers_equal_one_process(tmp_path):
    """The same global batches, SGD: weights, losses, validation; Ctrl-C of one is everybody's; each draws its own numbers."""
    ports = free_ports()
    alone = begun(["-c", PIECE, tmp_path / "alone.npz"])
    ended(alone)
    pair = [begun(["-c", PIECE, tmp_path / f"{k}.npz", "refuse"], ports, k) for k in (0, 1)]
    for each in pair:
        ended(each)
    one, *both = ({**np.load(tmp_path / f"{name}.npz")} for name in ("alone", 0, 1))
    told, *facts = (json.loads((tmp_path / f"{name}.npz.json").read_text()) for name in ("alone", 0, 1))
    assert (told["chief"], told["replicas"], told["agreed"]) == (True, 1, [False, False])
    assert [f["chief"] for f in facts] == [True, False] and all(f["replicas"] == 2 for f in facts)
    assert all(f["agreed"] == [True, False] for f in facts)
    assert all("2 replicas; received batches of 3" in f["refused"] for f in facts)
    for name in one.keys() - {"drawn"}:
        np.testing.assert_allclose(both[0][name], one[name], atol=2e-6)
        np.testing.assert_array_equal(both[0][name], both[1][name])
    for f in facts:
        assert f["history"].keys() == told["history"].keys() and len(f["seen"]) == 4
        for name, values in told["history"].items():
            assert f["history"][name] == pytest.approx(values, rel=1e-4, abs=1e-5), name
    assert not np.array_equal(both[0]["drawn"], both[1]["drawn"])


@pytest.mark.parametrize("text, words", [("{", "no JSON"), ('{"cluster": {"ps": ["a:1"]}}', "workers alone"),
                                         ('{"cluster": {"worker": "a:1"}}', "workers alone"), ("[]", "no JSON")])
def test_a_wrong_tf_config_is_refused(monkeypatch, text, words):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match=words):
        workers_strategy()
    assert worker() is None


def test_no_cluster_is_no_worker(monkeypatch):
    for text in ("", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'):
        monkeypatch.setenv("TF_CONFIG", text)
        assert worker() is None


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    write_demo_volumes(folder, volumes=5, slices=4, size=64)
    return folder


MODELS = {"unet_gan": ("--preset", "small", "--width", 4, "--crop", 64),
          "srrescycgan": ("--model", "srrescycgan", "--preset", "small", "--crop", 64, "--set", "filters=4", "--set",
                          "n_blocks=1")}


def train(volumes, out, model, *more):
    return ["-m", "tfrecon", "train", "--data", volumes, "--out", out, *MODELS[model], "--batch-size", 4, "--epochs", 4, *more]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_killed_worker_costs_nothing(volumes, tmp_path, model):
    """Killed by -9 and started again with --resume, it or the first one; the other waits. As if nothing had happened."""
    ports, whole = free_ports(), tmp_path / "whole"
    for each in [begun(train(volumes, whole, model), ports, k) for k in (1, 0)]:
        ended(each)
    for victim in (0, 1):
        ports, out = free_ports(), tmp_path / f"victim {victim}"
        logs = [tmp_path / f"{victim} {k}.log" for k in (0, 1)]
        workers = [begun(train(volumes, out, model), ports, k, logs[k]) for k in (0, 1)]
        _wait_for(lambda: "epoch 2/4" in logs[0].read_text(), workers)  # noqa: B023 called at once
        os.killpg(workers[victim].pid, signal.SIGKILL)
        workers[victim].wait()
        workers[victim] = begun(train(volumes, out, model, "--resume"), ports, victim, logs[victim])
        for each in workers:
            ended(each)
        assert "another worker was lost" in logs[1 - victim].read_text()
        assert "worker 1: done after 4 epochs" in logs[1].read_text()
        histories = [json.loads((folder / "history.json").read_text()) for folder in (whole, out)]
        for a, b in zip(*histories, strict=True):
            assert a == pytest.approx(b, rel=1e-4)
        for name in ("generator.weights.h5", "checkpoint/state-00004-0000000.weights.h5"):
            one, other = arrays(whole / name), arrays(out / name)
            for key in one.keys() | other.keys():
                np.testing.assert_allclose(other[key], one[key], rtol=1e-3, atol=1e-5, err_msg=key)


def _wait_for(condition, processes, seconds=200):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end and all(each.poll() is None for each in processes)
        time.sleep(0.3)

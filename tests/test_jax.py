"""Generators on Keras' JAX backend, where there is no TensorFlow (Colab's TPU image): the same answers from the same files."""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from cli_tools import ROOT
from jax_networks import networks

from tfrecon.weights import save_weights


@pytest.mark.slow  # JAX compiles the start of every weight: minutes
def test_jax_gives_what_tensorflow_gives_and_does_not_import_it(tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    rng = np.random.default_rng(0)
    names = []
    for name, (network, call, shape) in networks().items():
        for variable in network.trainable_variables:  # not those of the start: zeros would hide a layer
            spread = 0.05 if "permutation" not in variable.path else 0
            variable.assign_add(spread * rng.normal(size=variable.shape).astype(variable.dtype))
        save_weights(network, tmp_path / f"{name}.weights.h5")
        x = rng.uniform(0, 1, shape).astype("float32")
        np.savez(tmp_path / f"{name}.npz", x=x, answer=np.asarray(call(x)))
        names.append(name)
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, ROOT / "tests" / "jax_networks.py", tmp_path], env=environment, capture_output=True,
                          text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert not result["tensorflow"] and set(result["differences"]) == set(names)
    wrong = {name: value for name, value in result["differences"].items() if not value < 1e-5}
    assert not wrong, wrong
    assert keras.backend.backend() == "tensorflow"

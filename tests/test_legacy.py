"""The old Kerases themselves, each in an environment of its own: they write, we read; we write, they read.

Slow: builds virtual environments with pip. Skipped, with the reason, where there is no fitting Python or nothing to fetch.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from conftest import GOLDEN
from legacy import networks
from weight_files import addons, largest_difference, nested

from tfrecon.models import deblurgan_mri
from tfrecon.weights import load_weights, save_legacy_weights

HERE = Path(__file__).parent / "legacy"
pytestmark = pytest.mark.slow


def interpreter(versions):
    """A Python of one of the versions that starts and can make environments, or None."""
    for version in versions:
        candidates = [shutil.which(f"python{version}"), *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
        if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
            candidates.insert(0, sys.executable)
        for candidate in filter(None, candidates):
            if subprocess.run([candidate, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0:
                return candidate
    return None


def environment(folder, versions, requirements):
    """The Python of a new virtual environment with the requirements in it; skips the tests where that cannot be."""
    python = interpreter(versions)
    if python is None:
        pytest.skip(f"no Python {' or '.join(versions)} on this machine")
    subprocess.run([python, "-m", "venv", folder], check=True, capture_output=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", HERE / requirements]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=1500)
    if done.returncode:
        pytest.skip(f"pip cannot fetch {requirements}: {done.stderr.strip().splitlines()[-1]}")
    return folder / "bin" / "python"


def run(python, script, *words):
    """Run one of the scripts; what it prints is shown if it fails."""
    # TensorFlow 2 tells its children to behave like it, which TensorFlow 1 obeys.
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("TF", "KERAS", "PYTHON"))}
    done = subprocess.run([python, HERE / script, *words], capture_output=True, text=True, env=variables, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What TensorFlow 2.15, Keras 2.15 and tensorflow-addons write, and what they make of our files."""
    folder = tmp_path_factory.mktemp("keras215")
    ours = folder / "ours"
    for name, build in OURS.items():
        model = build()
        networks.fill(model, 31)
        save_legacy_weights(model, ours / f"{name}.h5")
        x = networks.image(31)
        outputs = model(x, training=False)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        np.savez(ours / f"{name}.npz", x=x, **{f"y{i}": np.asarray(y) for i, y in enumerate(outputs)})
    python = environment(folder / "venv", ("3.11", "3.10", "3.9"), "requirements.txt")
    run(python, "make_files.py", folder / "out", GOLDEN, ours)
    yield folder / "out"
    shutil.rmtree(folder / "venv")  # more than a gigabyte


@pytest.fixture(scope="module")
def written_keras224(tmp_path_factory):
    """What Keras 2.2.4 on TensorFlow 1.15 writes."""
    folder = tmp_path_factory.mktemp("keras224")
    python = environment(folder / "venv", ("3.7",), "requirements-keras224.txt")
    run(python, "make_files_keras224.py", folder / "out")
    yield folder / "out"
    shutil.rmtree(folder / "venv")


def generator():
    return networks.generator(keras)


def critic():
    return networks.critic(keras)


OURS = {"generator": generator, "nested": nested, "branches": lambda: networks.branches(keras)}
CASES = {
    "flat": ("flat.h5", generator), "branches": ("branches.h5", OURS["branches"]),
    "blocks": ("blocks.h5", lambda: networks.blocks(keras)), "nested": ("nested.h5", nested),
    "nested_frozen": ("nested_frozen.h5", nested), "nested_part_frozen": ("nested_part_frozen.h5", nested),
    "nested_part_frozen_named": ("nested_part_frozen_named.h5", lambda: nested(("g_", "d_"))),
    "whole_model": ("whole_model.h5", generator), "keras2_weights": ("keras2.weights.h5", generator),
    "keras2_archive": ("keras2.keras", critic), "checkpoint": ("checkpoint/weights", nested),
    "saved_model": ("saved_model/variables/variables", critic), "addons": ("addons.h5", addons),
    "spectral": ("spectral.h5", addons),
}


@pytest.mark.parametrize("name", CASES)
def test_files_of_keras_2_15(written, name):
    file, build = CASES[name]
    model = build()
    report = load_weights(model, written / file)
    assert report.loaded == report.total
    assert largest_difference(model, np.load(written / f"{name}.npz")) < 1e-5


@pytest.mark.parametrize("name", OURS)
def test_keras_2_15_reads_our_files(written, name):
    """Its outputs after loading our file, beside ours before writing it."""
    read, ours = np.load(written / f"read_{name}.npz"), np.load(written.parent / "ours" / f"{name}.npz")
    assert set(read) == set(ours) - {"x"}
    for key in read:
        np.testing.assert_allclose(read[key], ours[key], atol=1e-5)


@pytest.mark.parametrize("name", ["keras224_nested", "keras224_nested_part_frozen"])
def test_files_of_keras_2_2_4(written_keras224, name):
    model = nested()
    load_weights(model, written_keras224 / f"{name}.h5")
    assert largest_difference(model, np.load(written_keras224 / f"{name}.npz")) < 1e-5


def test_whole_model_of_keras_2_2_4(written_keras224):
    model = nested()
    load_weights(model, written_keras224 / "keras224_whole_model.h5")
    assert largest_difference(model, np.load(written_keras224 / "keras224_nested_part_frozen.npz")) < 1e-5


@pytest.mark.parametrize(("case", "tolerance"), [("tfa_layers", 1e-5), ("keras_h5_io", 2.6e-5)])
def test_recorded_outputs_come_out_again(written, case, tolerance):
    """The golden cases are what these versions compute, here as where they were recorded."""
    recorded, again = np.load(GOLDEN / f"{case}.npz"), np.load(written / f"{case}.npz")
    assert len(set(again)) == {"tfa_layers": 9, "keras_h5_io": 2}[case]
    for key in again:
        np.testing.assert_allclose(again[key], recorded[key], atol=tolerance, err_msg=key)


@pytest.mark.parametrize("name", ["keras_generator_n8", "keras_discriminator_n8", "keras_discriminator_n8_same_session",
                                  "instance_norm_generator"])
def test_recorded_files_come_out_again(written, name):
    for recorded, again in zip(arrays(GOLDEN / f"{name}.h5"), arrays(written / f"{name}.h5"), strict=True):
        np.testing.assert_array_equal(again, recorded)


def arrays(path):
    with h5py.File(path) as file:
        return [file[layer][name][()] for layer in file.attrs["layer_names"] for name in file[layer].attrs["weight_names"]]


def test_the_rewritten_deblurgan_loads_here(written):
    case, again = np.load(GOLDEN / "keras_h5_io.npz"), np.load(written / "keras_h5_io.npz")
    for build, file, key in (
        (deblurgan_mri.generator_model, "keras_generator_n8", "y_generator"),
        (deblurgan_mri.discriminator_model, "keras_discriminator_n8_same_session", "y_discriminator"),
    ):
        model = build((64, 64, 3), 8)
        load_weights(model, written / f"{file}.h5")
        assert np.abs(np.asarray(model(case["x"], training=False)) - again[key]).max() < 2.6e-5


def test_versions(written):
    found = json.loads((written / "versions.json").read_text())
    assert found["tensorflow"] == "2.15.1" and found["tensorflow-addons"] == "0.23.0"

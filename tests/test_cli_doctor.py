"""`tfrecon doctor`: facts, traps of old environments (rows 85, 86 and 88), speeds with the stage to wait for."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from cli_tools import ROOT, TINY, call, disc, volume

from tfrecon.cli.doctor import checks as doctor_checks
from tfrecon.cli.doctor.speed import _REMEDIES, advice
from tfrecon.physics import fft2c


def found(capsys, code):
    made = call(capsys, "doctor", "--no-speed", "--json")
    assert made.code == code, made.err
    return made.json()


def test_a_sound_machine(capsys):
    facts = found(capsys, 0)["facts"]
    assert "tensorflow 2." in facts["packages"] and ("CPU" in facts["devices"] or "GPU" in facts["devices"])
    plain = call(capsys, "doctor", "--no-speed")
    assert plain.code == 0 and "GiB free" in plain.out


@pytest.mark.parametrize("name, value, words", [
    ("TF_USE_LEGACY_KERAS", "1", "Unset it"), ("KERAS_BACKEND", "torch", "KERAS_BACKEND is torch"),
    ("COLAB_TPU_ADDR", "x", "a TPU"),
])
def test_row_86_traps_in_the_environment(capsys, monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    (finding,) = [f for f in found(capsys, 1)["findings"] if f["broken"]]
    assert words in finding["text"]


@pytest.mark.parametrize("package, version", [("keras", "2.15.0"), ("keras", "not installed"), ("tensorflow", "2.15.1")])
def test_row_86_packages_that_are_too_old_are_a_problem_with_its_remedy(capsys, monkeypatch, package, version):
    real = doctor_checks.version_of
    monkeypatch.setattr(doctor_checks, "version_of", lambda name: version if name == package else real(name))
    (finding,) = [f for f in found(capsys, 1)["findings"] if f["broken"]]
    assert f"{package} is {version}" in finding["text"] and f"pip install --upgrade {package}" in finding["text"]
    made = call(capsys, "doctor")
    assert made.code == 1 and "not measured" in made.err


def test_row_86_tensorflow_addons_is_told(monkeypatch, tmp_path):
    (tmp_path / "tensorflow_addons").mkdir()
    (tmp_path / "tensorflow_addons" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert any("pip uninstall tensorflow-addons" in f.text for f in doctor_checks._legacy())


def test_row_85_train_says_that_a_gpu_lies_idle(capsys, monkeypatch, tmp_path, tiny_unet):
    monkeypatch.setattr(doctor_checks, "_NVIDIA", (tmp_path,))
    for seed, name in enumerate("ab"):
        data = volume(tmp_path / "data" / f"{name}.h5", images=disc(2, 36, 32, seed)).parent
    words = ("train", "--data", data, "--out", tmp_path / "out", *TINY, "--epochs", "1", "--validation-fraction", "0.5")
    made = call(capsys, *words)
    assert made.code == 0 and "warning: an NVIDIA GPU is here and TensorFlow does not see it" in made.err


def test_row_85_a_gpu_that_tensorflow_does_not_see(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor_checks, "_NVIDIA", (tmp_path,))
    (finding,) = found(capsys, 1)["findings"]
    assert "does not see it" in finding["text"] and "and-cuda" in finding["text"]


def test_row_88_a_cache_that_cannot_be_written_to(capsys, monkeypatch, tmp_path):
    import keras  # noqa: F401 makes KERAS_HOME when it is imported: now, not below

    monkeypatch.setattr(doctor_checks.os, "access", lambda path, mode: str(path) != str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("TFRECON_CACHE", str(tmp_path / "weights"))
    for name in ("KERAS_HOME", "TFRECON_CACHE"):
        assert any(name in f["text"] and not f["broken"] for f in found(capsys, 0)["findings"])


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can become somebody without a home")
def test_row_88_no_home_is_a_finding_not_the_end():
    code = ("import os; from tfrecon.cli.doctor.checks import _cache, _places; os.setuid(54321); "
            "[os.environ.pop(n, None) for n in ('HOME', 'KERAS_HOME', 'TFRECON_CACHE', 'XDG_CACHE_HOME')]; "
            "print(_cache(), [f.text for f in _places()])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "no home" in done.stdout, done.stderr


def test_little_room_is_told():
    texts = [f.text for f in doctor_checks._room(2**30, 2**30)]
    assert "memory" in texts[0] and "disk" in texts[1]
    assert not doctor_checks._room(2**40, 2**40)


@pytest.mark.slow
def test_speeds_of_ones_own_data(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("tfrecon.cli.doctor.speed._SECONDS", 0.05)
    made = call(capsys, "doctor", "--data", volume(tmp_path / "in.h5", images=disc(4, 36, 32)), "--json")
    assert made.code == 0, made.err
    speeds = made.json()["slices_per_second"]
    assert set(speeds) == set(_REMEDIES) and all(rate > 0 for rate in speeds.values())
    assert made.json()["advice"] == _REMEDIES[min(speeds, key=speeds.get)]


@pytest.mark.slow
def test_speeds_of_several_coils_and_of_what_is_not_there(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("tfrecon.cli.doctor.speed._SECONDS", 0.05)
    coils = np.stack([disc(2, 36, 32), disc(2, 36, 32, 1)], axis=1)
    path = tmp_path / "coils.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = fft2c(coils)
    assert call(capsys, "doctor", "--data", path).code == 0
    assert call(capsys, "doctor", "--data", tmp_path / "nowhere").code == 3
    assert call(capsys, "doctor", "--data", path, "--no-speed").code == 2


def test_the_slowest_stage_is_named():
    assert "Reading" in advice({"read": 1.0, "FFT": 5.0, "pairs": 9.0, "training step": 2.0})
    assert "GPU" in advice({"read": 9.0, "FFT": 5.0, "pairs": 9.0, "training step": 2.0})

"""`tfrecon doctor`: facts, traps of old environments (rows 85, 86 and 88), speeds with the stage to wait for."""

import os
import subprocess
import sys

import pytest
from cli_tools import ROOT, call, disc, volume

from tfrecon.cli.doctor import checks as doctor_checks
from tfrecon.cli.doctor.speed import _REMEDIES, advice


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
    ("TF_USE_LEGACY_KERAS", "1", "Unset it"), ("KERAS_BACKEND", "jax", "KERAS_BACKEND is jax"), ("COLAB_TPU_ADDR", "x", "a TPU"),
])
def test_row_86_traps_in_the_environment(capsys, monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    (finding,) = [f for f in found(capsys, 1)["findings"] if f["broken"]]
    assert words in finding["text"]


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


def test_speeds_of_ones_own_data(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("tfrecon.cli.doctor.speed._SECONDS", 0.05)
    made = call(capsys, "doctor", "--data", volume(tmp_path / "in.h5", images=disc(4, 36, 32)), "--json")
    assert made.code == 0, made.err
    speeds = made.json()["slices_per_second"]
    assert set(speeds) == set(_REMEDIES) and all(rate > 0 for rate in speeds.values())
    assert made.json()["advice"] == _REMEDIES[min(speeds, key=speeds.get)]


def test_the_slowest_stage_is_named():
    assert "Reading" in advice({"read": 1.0, "FFT": 5.0, "pairs": 9.0, "training step": 2.0})
    assert "GPU" in advice({"read": 9.0, "FFT": 5.0, "pairs": 9.0, "training step": 2.0})

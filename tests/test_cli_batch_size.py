"""Row 58 before it comes to it: `train --dry-run`, `--batch-size auto` and `--precision`."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import h5py
import keras
import pytest
from cli_tools import ROOT, as_shown_to_users, call, disc, fingerprint, training, volume, volumes

from tfrecon import cli
from tfrecon.cli.config import expanded
from tfrecon.cli.train import configure

# In place of Python: a command that needs more memory from 3 images on, and notes what it was asked.
SHORT = """#!/bin/sh
echo "$@" >> {told}
for word; do
  [ "$former" = --batch-size ] && size=$word
  former=$word
done
[ $size -lt 3 ] && exit 0
echo "tfrecon train: out of device memory; take a smaller --crop" >&2
{end}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return volumes(tmp_path_factory.mktemp("data"), shape=(4, 36, 32))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run of one epoch that is complete."""
    out = tmp_path_factory.mktemp("run") / "out"
    with as_shown_to_users():
        assert cli.main([str(word) for word in training(data, out)]) == 0
    return out


def test_a_dry_run_says_what_a_run_would_cost_and_writes_nothing(capsys, data, tmp_path):
    done = call(capsys, *training(data, tmp_path / "out", "--dry-run", "--json"))
    assert done.code == 0 and "estimate: " in done.err
    assert done.json()["batch_size"] == 2 and 0 < done.json()["baseline_ssim"] < 1 and not done.json()["skipped"]
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_dry_run_leaves_a_run_as_it_is(capsys, data, run):
    before = fingerprint(run)
    done = call(capsys, *training(data, run, "--dry-run", "--overwrite"))
    assert (done.code, done.out) == (0, "nothing was written\n") and fingerprint(run) == before


def test_the_estimate_is_that_of_the_largest_batches(capsys, tmp_path, monkeypatch):
    from tfrecon import training as classes

    volumes(tmp_path / "data", "abc", (4, 36, 32))
    volume(tmp_path / "data" / "d.h5", images=disc(3, 84, 80))
    volume(tmp_path / "data" / "f.h5", images=disc(1, 86, 82))  # larger, but never two together
    volume(tmp_path / "validation" / "e.h5", images=disc(3, 36, 32))
    seen, plain = [], classes.measure_step
    monkeypatch.setattr(classes, "measure_step", lambda trainer, data: (
        seen.extend(image.shape for image, *_ in data.take(1)), plain(trainer, data))[1])
    words = training(tmp_path / "data", tmp_path / "out", "--validation", tmp_path / "validation", "--dry-run")
    done = call(capsys, *words)
    assert done.code == 0 and seen == [(2, 80, 80, 1)] and "step of the largest batches" in done.err


def test_a_dry_run_validates_the_largest_batch_too(capsys, tmp_path, monkeypatch):
    """What is too large for the memory may be that of whole images, where training takes patches."""
    volumes(tmp_path / "data", "ab", (4, 36, 32))
    volume(tmp_path / "validation" / "c.h5", images=disc(3, 36, 32))
    volume(tmp_path / "validation" / "d.h5", images=disc(2, 84, 80))
    seen, plain = [], keras.Model.evaluate
    monkeypatch.setattr(keras.Model, "evaluate", lambda self, data, **options: (
        seen.extend(target.shape for _, target, *_ in data), plain(self, data, **options))[1])
    done = call(capsys, *training(tmp_path / "data", tmp_path / "out", "--validation", tmp_path / "validation", "--dry-run"))
    assert done.code == 0 and seen == [(2, 80, 80, 1)], done.err


def test_images_of_one_size_make_whole_batches(capsys, tmp_path):
    """XLA would compile the last one of an epoch anew."""
    volumes(tmp_path / "data", "abc", (3, 68, 64))
    told = call(capsys, "train", "srrescycgan", "--data", tmp_path / "data", "--out", tmp_path / "out", "--target",
                "reconstruction_esc", "--preset", "small", "--set", "filters=2", "--set", "n_blocks=1", "--batch-size", 4,
                "--dry-run")
    assert told.code == 0 and "an epoch of 1," in told.err, told.err


@pytest.mark.slow
def test_runs_that_auto_and_options_came_after_go_on(capsys, data, run, monkeypatch):
    path = run / "settings.json"
    settings = json.loads(path.read_text())
    older = {name: value for name, value in settings.items() if name != "precision"}
    for former, more, code in ((older, (), 0), ({}, (), 2), ({**older, "width": 3}, (), 2),
                               (older, ("--precision", "mixed_float16"), 2),
                               ({**settings, "batch_size": None}, ("--batch-size", "auto"), 0)):
        path.write_text(json.dumps(former))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/nobody/is/asked")
            resumed = call(capsys, *training(data, run, "--resume", *more))
        assert resumed.code == code, (former, resumed.err)
    path.write_text(json.dumps(settings))


def test_with_stderr_closed_commands_run():
    words = f'"{sys.executable}" -m tfrecon models --json 2>&-'
    done = subprocess.run(words, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "unet_gan" in {model["name"] for model in json.loads(done.stdout)}


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for the other process")
@pytest.mark.parametrize("end", ["exit 5", pytest.param("kill -9 $$", marks=pytest.mark.slow)])
def test_auto_halves_the_models_own_batch_until_a_step_fits(capsys, data, tmp_path, monkeypatch, end):
    told, script = tmp_path / "told", tmp_path / "python"
    script.write_text(SHORT.format(told=told, end=end))
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    out = tmp_path / "out"
    words = ("train", "unet_gan", "--data", data, "--out", out, "--preset", "small", "--width", 2, "--epochs", 1)
    done = call(capsys, *words, "--batch-size", "auto")
    assert done.code == 0 and "size 4\nthe memory is not enough\ntrying a step with batch size 2\n" in done.err
    tried = told.read_text().splitlines()
    assert [line.split()[-3:] for line in tried] == [["--batch-size", n, "--dry-run"] for n in ("4", "2")]
    assert all("; entry() train unet_gan --data" in line for line in tried)
    assert json.loads((out / "config.json").read_text())["batch_size"] == 2
    resumed = call(capsys, *words, "--batch-size", "auto", "--resume")  # the size it began with, asked of nobody
    assert resumed.code == 0 and told.read_text().splitlines() == tried


def test_a_command_that_fails_for_another_reason_says_it_itself(capsys, data, tmp_path):
    failed = call(capsys, "train", "--data", data, "--out", tmp_path / "out", "--batch-size", "auto", "--crop", 33)
    assert failed.code == 3 and "(33, 33) does not fit into its images" in failed.err and "memory" not in failed.err


def test_auto_is_for_one_machine(capsys, data, tmp_path, monkeypatch):
    cluster = {"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    failed = call(capsys, *training(data, tmp_path / "out", "--batch-size", "auto"))
    assert failed.code == 2 and "auto is for one machine" in failed.err


def test_a_config_may_ask_for_auto(tmp_path):
    import argparse

    parser, config = argparse.ArgumentParser(), tmp_path / "config.json"
    configure(parser)
    config.write_text('{"version": 1, "data": "d", "out": "o", "batch_size": "auto", "precision": "mixed_float16"}')
    found = parser.parse_args(expanded(["train", "--config", str(config)], parser)[1:])
    assert (found.batch_size, found.precision) == ("auto", "mixed_float16")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the address space is read from /proc")
def test_auto_where_memory_really_ends(tmp_path):
    for seed, name in enumerate("abc"):
        volume(tmp_path / "data" / f"{name}.h5", images=disc(6, 200, 192, seed))
    words = ("train", "deblurgan_mri", "--data", tmp_path / "data", "--content", "l1", "--set", "ngf=16", "--epochs", 1,
             "--crop", 192, "--out", tmp_path / "out")
    most, least = (address_space(*words, "--dry-run", "--batch-size", n) for n in (5, 1))
    assert least < 0.95 * most
    limit = (most + least) // 2
    done = subprocess.run(
        [sys.executable, "-m", "tfrecon", *map(str, words), "--batch-size", "auto", "--time-limit", "0.01"], cwd=ROOT,
        capture_output=True, text=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)), check=False)
    assert done.returncode == 0 and "batch size 5\nthe memory is not enough\n" in done.stderr, done.stderr
    assert json.loads((tmp_path / "out/settings.json").read_text())["batch_size"] in (1, 2)


def address_space(*words):
    """The most a command takes, in bytes."""
    command, most = subprocess.Popen([sys.executable, "-m", "tfrecon", *map(str, words)], cwd=ROOT, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL), 0
    while command.poll() is None:
        lines = Path(f"/proc/{command.pid}/status").read_text().splitlines()
        most = max([most, *(1024 * int(line.split()[1]) for line in lines if line.startswith("VmPeak"))])
        time.sleep(0.05)
    assert command.returncode == 0
    return most


@pytest.mark.slow
def test_mixed_precision_trains_weights_that_any_machine_loads(capsys, data, tmp_path, monkeypatch):
    import tfrecon.cli.train as train

    out, seen, plain = tmp_path / "out", set(), train.build_trainer

    def build(*arguments):
        trainer = plain(*arguments)
        seen.update(layer.compute_dtype for layer in trainer.generator.layers if isinstance(layer, keras.layers.Conv2D))
        return trainer

    monkeypatch.setattr(train, "build_trainer", build)
    done = call(capsys, *training(data, out, "--precision", "mixed_bfloat16"))
    assert done.code == 0 and "warning: mixed_bfloat16 is many times slower" in done.err
    assert "bfloat16" in seen and keras.config.dtype_policy().name == "float32"
    with h5py.File(out / "generator.weights.h5") as file:
        kinds = set()
        file.visititems(lambda name, item: kinds.add(item.dtype.str) if isinstance(item, h5py.Dataset) else None)
    assert kinds == {"<f4"}
    made = call(capsys, "reconstruct", data, tmp_path / "made", "--weights", out / "generator.weights.h5")
    assert made.code == 0, made.err
    other = call(capsys, *training(data, out, "--resume"))
    assert other.code == 2 and "precision" in other.err

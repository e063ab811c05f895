"""Killed by -9 at random moments, again and again: nothing is half-written, nothing is lost, and memory stays flat."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest
from cli_tools import ROOT, TINY, arrays, disc, results, volume

from tfrecon.files import replace_when_complete

KILLS = {"train": 22, "convert": 14, "reconstruct": 14}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate("abcdef"):
        volume(folder / f"{name}.h5", images=disc(4, 36, 32, seed))
    return folder


def command(kind, data, out, trained=None):
    words = {"train": ("--data", data, "--out", out, *TINY, "--epochs", 30),
             "convert": (data, out, "--shards", 6, "--key", "reconstruction_esc"),
             "reconstruct": (data, out, "--weights", trained, "--resume")}[kind]
    return [sys.executable, "-m", "tfrecon", kind, *map(str, words)]


def run(words, seconds=None):
    """The exit code; a number of seconds after which it is killed."""
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, told = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return -signal.SIGKILL
    assert process.returncode == 0, told[-2000:]
    return 0


def timed(words):
    began = time.monotonic()
    run(words)
    return time.monotonic() - began


def killed_until_done(words, out, kills, resumed, check, seconds, seed):
    """Kill a command so many times between its start and its end, begin it anew each time, then let it end.

    Args:
        seconds: that a life has at most, where the whole would take about so long; what ends before its death begins anew.
    """
    rng, dead = np.random.default_rng(seed), 0
    while dead < kills:
        if run(resumed if out.exists() else words, float(rng.uniform(0.1, 1.0) * seconds)):
            dead += 1
            check()
        else:
            check()
            shutil.rmtree(out)
    run(resumed if out.exists() else words)
    check()


def readable(folder, pattern):
    """Everything that has its final name is whole."""
    for path in folder.glob(pattern):
        assert arrays(path), path


@pytest.mark.slow
def test_training_killed_again_and_again_equals_the_uninterrupted_run(data, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    seconds = timed(command("train", data, whole))
    words = command("train", data, out)

    def check():
        readable(out, "checkpoint/state-*.weights.h5")
        readable(out, "generator.weights.h5")
        if (out / "history.json").exists():
            json.loads((out / "history.json").read_text())

    killed_until_done(words, out, KILLS["train"], [*words, "--resume"], check, min(0.5 * seconds, 15.0), 1)
    assert (out / "history.json").read_text() == (whole / "history.json").read_text()
    for name in ("generator.weights.h5", "checkpoint/state-00030-0000000.weights.h5"):
        one, other = arrays(whole / name), arrays(out / name)
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], key)
    assert [n for n in results(out) if ".part" not in n] == results(whole)


@pytest.mark.slow
def test_conversion_killed_again_and_again_gives_the_same_shards(data, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    seconds = timed(command("convert", data, whole))
    words = [*command("convert", data, out), "--overwrite"]

    def check():
        if (out / "shards.json").exists():  # written last: then all of them are there
            assert results(out)[-7:] == results(whole)

    killed_until_done(words, out, KILLS["convert"], words, check, seconds, 2)
    for name in results(whole):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
def test_reconstruction_killed_again_and_again_leaves_whole_files(data, tmp_path):
    trained = tmp_path / "trained"
    run(command("train", data, trained)[:-1] + ["1"])
    weights, whole, out = trained / "generator.weights.h5", tmp_path / "whole", tmp_path / "out"
    seconds = timed(command("reconstruct", data, whole, weights))
    words = command("reconstruct", data, out, weights)

    def check():
        readable(out, "*.h5")

    killed_until_done(words, out, KILLS["reconstruct"], words, check, seconds, 3)
    for name in "abcdef":
        for key, values in arrays(whole / f"{name}.h5").items():
            np.testing.assert_array_equal(arrays(out / f"{name}.h5")[key], values)


def test_leftovers_of_dead_processes_are_removed_and_others_left(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale = [tmp_path / f".state-00001.weights.h5.{ended.pid}.part.weights.h5", tmp_path / f".a.h5.{ended.pid}.part"]
    kept = [tmp_path / f".b.h5.{os.getpid()}.part", tmp_path / ".mine.part", tmp_path / "c.12.part"]
    young = tmp_path / f".young.h5.{ended.pid}.part"
    for path in (*stale, *kept, young):
        path.write_text("")
        if path != young:
            os.utime(path, (0, 0))
    with replace_when_complete(tmp_path / "new.h5") as part, h5py.File(part, "w") as file:
        file["x"] = [1]
    assert not any(path.exists() for path in stale) and all(path.exists() for path in (*kept, young))


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is told by Linux alone")
def test_memory_of_a_long_run_is_flat(data):
    """500 steps of the pipeline and the training class: growth after the first hundred stays below 2 %."""
    from tfrecon import create
    from tfrecon.data import create_paired_dataset

    seen = []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(resident()))
    trainer = create("unet_gan", preset="small", width=4)
    pairs = create_paired_dataset(data, batch_size=4, target="kspace", mask_seed=None, shuffle=True, crop=32)
    trainer.fit(pairs, epochs=-(-500 // int(pairs.cardinality())), verbose=0, callbacks=[note])
    assert len(seen) >= 500 and max(seen[-50:]) < 1.02 * max(seen[50:100]), (seen[50], seen[100], seen[-1])

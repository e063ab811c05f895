"""Rows 15, 58, 59 and 89: what ends a run of `train` before its time, in one line, and what stays of it."""

import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from cli_tools import ROOT, call, disc, fingerprint, results, training, volume, volumes

from tfrecon import create
from tfrecon.cli.memory import advice
from tfrecon.errors import TfreconError
from tfrecon.training.callbacks import Checkpoint


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return volumes(tmp_path_factory.mktemp("data"), shape=(4, 36, 32))


@pytest.mark.slow
def test_a_run_that_diverges_stops_and_the_weights_before_it_stay(capsys, data, tmp_path):
    """Networks of NaN can give finite losses: a rectifier makes 0 of NaN, and so does the magnitude."""
    out = tmp_path / "out"
    assert call(capsys, *training(data, out)).code == 0
    state = out / "checkpoint/state-00001-0000000.weights.h5"
    whole = state.read_bytes()
    for network in ("generator", "discriminator"):
        state.write_bytes(whole)
        assert spoil(state, network) > 3
        kept = fingerprint(out)
        stopped = call(capsys, *training(data, out, "--resume", "--epochs", 2))
        told = stopped.err.splitlines()[-1]
        assert stopped.code == 1 and "weights became NaN or infinite in epoch 2" in told and "Lower the learning" in told, told
        now = fingerprint(out)
        changed = {path for path in now if kept.get(path) != now[path]}
        assert {path.rsplit("/", 1)[1] for path in changed} <= {"settings.json", "config.json"}


def spoil(state, network):
    """Make all of a network's arrays NaN; how many."""
    with h5py.File(state, "r+") as file:
        names: list[str] = []
        file[network].visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in names:
            if file[network][name].dtype.kind == "f":
                file[network][name][...] = np.nan
    return len(names)


def test_weights_that_are_nan_are_not_saved_in_place_of_good_ones(tmp_path):
    """After the last step of an epoch no loss tells of them any more."""
    trainer = create("unet_gan", preset="small", width=2)
    checkpoint = Checkpoint(tmp_path)
    checkpoint.set_model(trainer)
    path = checkpoint.save(1, 0)
    before = path.read_bytes()
    kernel = trainer.generator.trainable_weights[3]
    kernel.assign(np.full(kernel.shape, np.inf, np.float32))
    with pytest.raises(TfreconError, match="1 weights became NaN or infinite in epoch 2 .*good state kept. Lower the"):
        checkpoint.save(2, 0)
    assert results(tmp_path) == ["checkpoint/state-00001-0000000.weights.h5"] and path.read_bytes() == before


# Memory that is used up after a moment.
SHORT = ("import sys, time; from tfrecon import machine; from tfrecon.cli import entry; began = time.monotonic(); "
         "machine.free_memory = lambda swap=False: 2**34 if time.monotonic() < began + 1 else 2**27; "
         "sys.argv[0] = 'tfrecon'; entry()")


def test_row_59_a_command_ends_itself_before_the_memory_is_full(data, tmp_path):
    done = subprocess.run([sys.executable, "-c", SHORT, *map(str, training(data, tmp_path / "out"))], cwd=ROOT,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 5 and not done.stdout
    assert done.stderr.startswith("tfrecon train: stopped before the memory is full: ") and done.stderr.count("\n") == 1
    assert "smaller --batch-size" in done.stderr and not (tmp_path / "out").exists()


class Words:
    command, model, preset, batch_size, precision = "train", "unet_gan", "small", None, "float32"


@pytest.mark.parametrize(("size", "said"), [(8, "--batch-size 2 instead of 8"), (2, "--batch-size 1 instead of 2"),
                                            (1, "take --precision mixed_float16 or a smaller --crop"), (None, "instead of")])
def test_row_58_the_advice_names_a_batch_size(size, said):
    words = Words()
    words.batch_size = size
    assert said in advice(words) and "smaller --crop" in advice(words)


@pytest.mark.parametrize("kind", ["ResourceExhaustedError", "MemoryError"])
def test_row_58_no_memory_in_a_step_is_one_line(capsys, monkeypatch, data, tmp_path, kind):
    import tensorflow as tf

    error = MemoryError() if kind == "MemoryError" else tf.errors.ResourceExhaustedError(None, None, "OOM\nwhen\nallocating")

    def no_room(*_):
        raise error

    monkeypatch.setattr("tfrecon.training.measure_step", no_room)
    failed = call(capsys, *training(data, tmp_path / "out"))
    last = failed.err.splitlines()[-1]
    assert failed.code == 5 and "OOM" not in last
    assert "memory; take --batch-size 1 instead of 2, --batch-size auto, --precision mixed_float16 or a smaller" in last


@pytest.mark.slow
def test_row_89_training_goes_on_without_a_file_and_says_so(capsys, caplog, monkeypatch, tmp_path):
    from tfrecon.training.callbacks import SetClock

    data = tmp_path / "data"
    for n in range(26):
        volume(data / f"{n:02d}.h5", images=disc(2, 36, 32, n))
    plain = SetClock.on_epoch_begin

    def lose(self, epoch, logs=None):
        if epoch == 1:
            monkeypatch.undo()
            os.remove(data / "00.h5")
        plain(self, epoch, logs)

    monkeypatch.setattr(SetClock, "on_epoch_begin", lose)
    done = call(capsys, *training(data, tmp_path / "out", "--epochs", 2, "--validation-fraction", 0.1))
    assert done.code == 3 and "00.h5: does not exist" in caplog.text
    assert "2 slices could not be read any more and were replaced by others" in done.err
    assert "best val_ssim" in done.out


@pytest.mark.slow
def test_row_89_training_stops_in_one_line_when_its_shards_are_gone_or_others(capsys, monkeypatch, tmp_path):
    from tfrecon.training.callbacks import SetClock

    for folder, seed in (("one", 0), ("other", 9)):
        for n in range(4):
            volume(tmp_path / folder / f"{n}.h5", images=disc(2, 80, 80, seed + n))
        assert call(capsys, "convert", tmp_path / folder, tmp_path / f"{folder} shards", "--key", "reconstruction_esc").code == 0
    (shard,) = (tmp_path / "one shards").glob("*.tfrecord")
    plain = SetClock.on_epoch_begin
    ways = {"gone": lambda: shard.unlink(), "cut off": lambda: os.truncate(shard, shard.stat().st_size // 2),
            "others": lambda: shutil.copy(next((tmp_path / "other shards").glob("*.tfrecord")), shard)}
    whole = shard.read_bytes()
    for name, lose in ways.items():
        shard.write_bytes(whole)

        def change(self, epoch, logs=None, lose=lose):
            plain(self, epoch, logs)
            if epoch == 1:
                lose()

        with monkeypatch.context() as patch:
            patch.setattr(SetClock, "on_epoch_begin", change)
            done = call(capsys, "train", "srrescycgan", "--data", tmp_path / "one shards", "--out", tmp_path / name, "--preset",
                        "small", "--set", "filters=2", "--set", "n_blocks=1", "--set", "lambda_perceptual=0.0", "--set",
                        "lambda_adversarial=0.0", "--epochs", 2, "--batch-size", 2, "--crop", 80)
        assert done.code == 3 and shard.name in done.err.splitlines()[-1], (name, done.err)

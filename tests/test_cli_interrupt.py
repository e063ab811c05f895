"""Row 56: Ctrl-C, and going on as if it had not been pressed."""

import os
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from cli_tools import ROOT, TINY, arrays, as_shown_to_users, call, fingerprint, results, volumes

STEPS = 4  # of an epoch: two training volumes of four slices in batches of two


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return volumes(tmp_path_factory.mktemp("data for interrupting"), shape=(4, 34, 32))


def command(data, out, *more):
    return ("train", "--data", data, "--out", out, *TINY, "--epochs", 2, "--decay", 0.5, *more)


def press_ctrl_c(monkeypatch, at, times=1):
    """Real signals, at the end of the step of that number."""
    from tfrecon.training.callbacks import Progress

    plain, steps = Progress.on_train_batch_end, []

    def step(self, *arguments, **named):
        plain(self, *arguments, **named)
        steps.append(1)
        if len(steps) == at:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "on_train_batch_end", step)


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    from tfrecon import cli

    with as_shown_to_users():
        assert cli.main([str(word) for word in command(data, out)]) == 0
    return out


def equal(one, other, *names):
    for name in names:
        a, b = arrays(one / name), arrays(other / name)
        assert a.keys() == b.keys() and len(a) > 20
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], key)


@pytest.mark.slow
def test_a_run_stopped_in_mid_epoch_and_resumed_equals_the_uninterrupted_one(
    capsys, monkeypatch, data, tmp_path, uninterrupted
):
    out = tmp_path / "out put"
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, STEPS + 2)
        before = signal.getsignal(signal.SIGINT)
        stopped = call(capsys, *command(data, out, "--overwrite"))
    assert stopped.code == 130 and not stopped.out and signal.getsignal(signal.SIGINT) is before
    assert "stopping after this step; press Ctrl-C again to stop at once" in stopped.err
    state = "checkpoint/state-00001-0000002.weights.h5"
    assert state in stopped.err.splitlines()[-1]
    assert results(out) == [state, "config.json", "generator.weights.h5", "history.json", "settings.json",
                            "strips/epoch-00001.png"]
    line = shlex.split(stopped.err.rsplit("go on with: ", 1)[1])
    assert line[:3] == ["tfrecon", "train", "--resume"] and "--overwrite" not in line
    resumed = call(capsys, *line[1:])
    assert resumed.code == 0 and signal.getsignal(signal.SIGINT) is before
    equal(out, uninterrupted, "generator.weights.h5", "checkpoint/state-00002-0000000.weights.h5")
    before = fingerprint(out)
    assert call(capsys, *line[1:]).code == 0  # nothing left to do
    unchanged = [name for name, mark in fingerprint(out).items() if before[name] == mark]
    assert {"generator.weights.h5", "state-00002-0000000.weights.h5"} <= {name.rsplit("/", 1)[1] for name in unchanged}


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once(capsys, monkeypatch, data, tmp_path):
    press_ctrl_c(monkeypatch, 2, times=2)
    stopped = call(capsys, *command(data, tmp_path / "out"))
    assert stopped.code == 130 and "interrupted; go on with: tfrecon train --resume --data" in stopped.err
    assert results(tmp_path / "out") == ["config.json", "settings.json"]


@pytest.mark.slow
def test_row_57_an_epoch_that_takes_long_is_saved_within(capsys, monkeypatch, data, tmp_path, uninterrupted):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("tfrecon.training.callbacks.SAVE_SECONDS", 0.0)
        press_ctrl_c(patch, STEPS + 3, times=2)  # nothing is saved after that
        assert call(capsys, *command(data, out)).code == 130
    assert [name for name in results(out) if "state-" in name] == ["checkpoint/state-00001-0000002.weights.h5"]
    assert call(capsys, *command(data, out, "--resume")).code == 0
    equal(out, uninterrupted, "generator.weights.h5", "checkpoint/state-00002-0000000.weights.h5")
    assert (out / "history.json").read_text() == (uninterrupted / "history.json").read_text()


@pytest.mark.slow
def test_ctrl_c_in_a_process_of_its_own(data, tmp_path):
    words = [str(word) for word in command(data, tmp_path / "out", "--epochs", 500)]
    with subprocess.Popen([sys.executable, "-m", "tfrecon", *words], cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        for line in run.stderr:
            if line.startswith("epoch 2/500"):
                break
        run.send_signal(signal.SIGINT)
        began = time.monotonic()
        rest = run.stderr.read()
    assert run.returncode == 130 and time.monotonic() - began < 20
    assert "go on with: tfrecon train --resume" in rest and "Traceback" not in rest
    assert [name for name in results(tmp_path / "out") if "state-" in name and ".part" not in name]


@pytest.mark.slow
def test_keras_backup_and_restore_goes_on_with_both_optimizers(data, tmp_path):
    """The same from Python, with Keras' own means."""
    import keras

    import tfrecon

    def fit(epochs, *callbacks):
        clock = tfrecon.data.EpochClock()
        train = tfrecon.data.create_paired_dataset(data, batch_size=4, shuffle=True, mask_seed=1, clock=clock)
        check = tfrecon.data.create_paired_dataset(data, batch_size=4, metadata=True)
        keras.utils.set_random_seed(0)
        model = tfrecon.create("unet_gan", preset="small", width=2)
        set_clock = tfrecon.training.callbacks.SetClock(clock)
        history = model.fit(train, validation_data=check, epochs=epochs, verbose=0, callbacks=[set_clock, *callbacks])
        return model, history

    class Crash(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise RuntimeError("crash")

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with as_shown_to_users():
        whole, history = fit(2)
        with pytest.raises(RuntimeError, match="crash"):
            fit(2, backup(), Crash())
        resumed, rest = fit(2, backup())
    assert history.epoch == [0, 1] and rest.epoch == [1] and "val_ssim" in rest.history
    for one, other in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(one, other, one.path)
    for name in ("g_optimizer", "d_optimizer"):
        pairs = zip(getattr(whole, name).variables, getattr(resumed, name).variables, strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
        assert int(getattr(resumed, name).iterations) == 2 * 3


@pytest.mark.parametrize(("words", "reading", "more", "kept"), [
    (("reconstruct", "{data}", "{out}", "--model", "zero_filled", "--workers", "0"), "kspace", "--resume", ["a.h5"]),
    (("convert", "{data}", "{out}", "--shards", "3", "--key", "reconstruction_esc"), "target", "--overwrite",
     ["slices-00000-of-00003.tfrecord"]),
], ids=["reconstruct", "convert"])
def test_ctrl_c_elsewhere_leaves_whole_files_and_a_second_run_the_same_ones(
    capsys, monkeypatch, data, tmp_path, words, reading, more, kept
):
    """A real signal while the second volume is worked on: reconstructed, or written after all three were looked at."""
    from tfrecon.data import SliceReader

    plain, calls = getattr(SliceReader, reading), []
    at = 4 + 2 if reading == "kspace" else 12 + 4 + 2

    def read(self, *arguments):
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, *arguments)

    words = [word.format(data=data, out=tmp_path / "out") for word in words]
    with monkeypatch.context() as patch:
        patch.setattr(SliceReader, reading, read)
        stopped = call(capsys, *words)
    assert stopped.code == 130 and "interrupted" in stopped.err.splitlines()[-1] and not stopped.out
    assert results(tmp_path / "out") == kept
    assert call(capsys, *words, more).code == 0
    assert call(capsys, *[str(tmp_path / "whole") if word == str(tmp_path / "out") else word for word in words]).code == 0
    for name in (n for n in results(tmp_path / "whole") if n != "run.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_ctrl_c_while_the_workers_agree_is_not_forgotten(tmp_path):
    from tfrecon.training.callbacks import Checkpoint, StopCleanly

    def agree(answers):
        stop._request()
        return list(answers)

    stop = StopCleanly(Checkpoint(tmp_path), agree=agree)
    assert stop._asked() == (False, False)  # too late for this step
    stop.agree = list
    assert stop._asked() == (True, False)

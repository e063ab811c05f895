"""Damaged records and states of a run: a sentence that names the file, where --resume and `verify` read them again."""

import argparse
import io
import json
import zipfile

import h5py
import numpy as np
import pytest
from weight_files import network

from tfrecon.cli.compare import _former_series
from tfrecon.cli.reproduce import networks, unet_gan
from tfrecon.cli.runs import check_same_data
from tfrecon.errors import DataError, UsageError
from tfrecon.exporting import read_golden
from tfrecon.training.callbacks import Checkpoint, KeepBest

DEEP = "[" * 100_000 + "]" * 100_000
LONG = '[{"loss": 1' + "0" * 400 + "}]"  # no float holds it


def compiled(model):
    model.compile("adam", "mse")
    return model


@pytest.fixture
def run(tmp_path):
    """A run stopped in the middle of its second epoch, and its model."""
    model = compiled(network(1))
    model.fit(np.ones((1, 8, 8, 2), np.float32), np.ones((1, 4, 4, 1), np.float32), verbose=0)
    checkpoint = Checkpoint(tmp_path)
    checkpoint.set_model(model)
    checkpoint.on_epoch_end(0, {"loss": 1.0, "val_ssim": 0.5})
    return checkpoint.save(1, 3), model


@pytest.mark.parametrize("text", ["", "{", "{}", "5", "[1]", '[{"loss": "low"}]', '[{"loss": null}]', LONG, DEEP, b"[\xff]"],
                         ids=lambda text: repr(text[:20]))
def test_a_damaged_history_stops_the_resumption(tmp_path, run, text):
    (tmp_path / "history.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match="history.json"):
        Checkpoint(tmp_path).restore(run[1])


@pytest.mark.parametrize("text", ["{", "5", '["a", "b"]', "[[1, 2, 3]]", DEEP[:50_000]], ids=lambda text: text[:12])
def test_damaged_means_in_a_state_stop_the_resumption(tmp_path, run, text):
    with h5py.File(run[0], "r+") as file:
        file.attrs["tfrecon_running_means"] = text
    checkpoint = Checkpoint(tmp_path)
    checkpoint.set_model(run[1])
    with pytest.raises(DataError, match="does not fit its model or is damaged"):
        checkpoint.restore(run[1])
        checkpoint.on_epoch_begin(1)


def test_the_state_of_another_model_stops_the_resumption(tmp_path, run):
    import keras

    other = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(5, 3)])
    with pytest.raises(DataError, match=r"state-00001-0000003.*does not fit its model"):
        Checkpoint(tmp_path).restore(compiled(other))


def test_an_epoch_without_the_score_is_not_the_best(capsys):
    assert KeepBest(print, [{"epoch": 0}, {"epoch": 1, "val_ssim": 0.5}]).best == 0.5


@pytest.mark.parametrize("value", [[], {"a": 1}, {"a": [[1.0], [2.0]]}, {"a": [[1.0, 2.0]]}, {"a": [["x", 1], [1, 1]]}], ids=str)
def test_scores_of_other_folds_or_epochs_are_not_gone_on_with(tmp_path, value):
    path = tmp_path / "series.json"
    path.write_text(json.dumps({"a": [[0.5, 0.6], [0.7, float("nan")]]}))
    assert list(_former_series(path, 2, 2)) == ["a"]
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match=r"series\.json is damaged"):
        _former_series(path, 2, 2)


def test_damaged_records_of_a_comparison(tmp_path):
    (tmp_path / "run.json").write_text('{"epochs": 2}')
    with pytest.raises(DataError, match="lacks best_epoch"):
        networks.trained(argparse.Namespace(resume=True), tmp_path, None, "a network")
    (tmp_path / "scores.json").write_text('{"ssim_prediction_range": [0.5, "high"]}')
    with pytest.raises(DataError, match="expected a list of scores"):
        unet_gan._swapped_scores(tmp_path / "scores.json")


def test_settings_nested_without_end(tmp_path):
    (tmp_path / "settings.json").write_text(DEEP)
    with pytest.raises(UsageError, match="--overwrite"):
        check_same_data(tmp_path, "digest")


def npy(header, data=bytes(4)):
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


SOUND = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }")
GOLDEN = {
    "2**60 numbers": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976,), }"),
    "a header cut off": npy("{'descr': '<f4', 'fortran_order': False, 'shape': ((((("), "no array": b"text", "nothing": b"",
    "Python objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_file_with_a_damaged_array(tmp_path, name):
    path = tmp_path / "golden.npz"
    for content in (SOUND, GOLDEN[name]):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("0/in/image.npy", SOUND)
            archive.writestr("0/out.npy", content)
        if content == SOUND:
            assert read_golden(path)[0].output == 0
    with pytest.raises(DataError, match="no golden file"):
        read_golden(path)


def test_a_golden_file_whose_deflated_numbers_are_damaged(tmp_path):
    with zipfile.ZipFile(out := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0/out.npy", SOUND + np.random.default_rng(0).bytes(999))
    content = bytearray(out.getvalue())
    content[60:200] = bytes(140)
    (tmp_path / "golden.npz").write_bytes(content)
    with pytest.raises(DataError, match="no golden file"):
        read_golden(tmp_path / "golden.npz")

"""Rows 53 and 54: disks that are full or only to be read. One line, no part of a file, nothing lost, and going on afterwards."""

import json
import os
from contextlib import nullcontext

import numpy as np
import pytest
from cli_tools import TINY, arrays, call, results, volumes
from ct_tools import nifti, png, series
from disk_tools import can_mount, full_after, mounted

import tfrecon
from tfrecon.data import ImageReader, index_images, save_reconstruction, write_demo_volumes
from tfrecon.data.ct.output import save_volume
from tfrecon.errors import ResourceError
from tfrecon.exporting import write
from tfrecon.files import write_json
from tfrecon.training.callbacks import Checkpoint
from tfrecon.weights import save_legacy_weights, save_weights

mounts = pytest.mark.skipif(not can_mount(), reason="this machine lets nobody mount a file system in a namespace")


@pytest.fixture(scope="module")
def network():
    return tfrecon.create("unet_gan", preset="small", width=2)


def checkpoint(network, folder):
    saver = Checkpoint(folder)
    saver.set_model(network)
    saver.save(1, 0)


WRITERS = {
    "checkpoint": checkpoint,
    "weights": lambda network, folder: save_weights(network.generator, folder / "a.weights.h5", {"model": "unet_gan"}),
    "legacy weights": lambda network, folder: save_legacy_weights(network.generator, folder / "a.h5"),
    "reconstruction": lambda network, folder: save_reconstruction(folder / "a.h5", np.ones((3, 40, 40)), np.ones(40, bool)),
    "phantom": lambda network, folder: write_demo_volumes(folder, volumes=1, slices=1, size=64),
    "history": lambda network, folder: write_json(folder / "history.json", list(range(300))),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_wherever_the_disk_ends_nothing_is_left_and_what_stood_there_stays(network, tmp_path, writer, capfd):
    """HDF5, left to write by itself, printed tracebacks, kept files open, and ended the process at the third or fourth time."""
    write_it = WRITERS[writer]
    write_it(network, tmp_path)
    (name,) = results(tmp_path)
    before = (tmp_path / name).read_bytes()
    descriptors = len(os.listdir("/proc/self/fd"))
    for size in (0, 1, 96, 800, 2048, *np.linspace(2048, len(before) - 1, 9).astype(int).tolist()):
        if size < len(before):
            with full_after(size), pytest.raises(ResourceError, match="could not be written .*disk is not full"):
                write_it(network, tmp_path)
            assert results(tmp_path) == [name] and (tmp_path / name).read_bytes() == before
    assert len(os.listdir("/proc/self/fd")) == descriptors and capfd.readouterr().err == ""
    write_it(network, tmp_path)
    assert results(tmp_path) == [name]


def slices(folder):
    return np.full((2, 40, 36), 30, np.int16) + np.arange(36, dtype=np.int16)


CT = {"dicom": lambda folder: series(folder / "in", slices(folder)),
      "nifti": lambda folder: nifti(folder / "in.nii", slices(folder)),
      "png": lambda folder: png(folder / "in.png", slices(folder)[0].astype(np.uint8))}


@pytest.mark.parametrize("format", CT)
def test_a_full_disk_is_not_taken_for_a_damaged_input(tmp_path, format):
    """DICOM and PNG writers fail inside their packages, whose errors are those of reading elsewhere."""
    pytest.importorskip({"dicom": "pydicom", "nifti": "nibabel", "png": "PIL"}[format])
    CT[format](tmp_path)
    source = tmp_path / {"dicom": "in", "nifti": "in.nii", "png": "in.png"}[format]
    (found,) = index_images(source, None if format != "png" else "grey").volumes
    with ImageReader() as reader, full_after(60), pytest.raises(ResourceError, match="could not be written"):
        images = np.stack([reader.slice(found, i) for i in range(found.slices)])
        save_volume(found, reader, images, tmp_path / "out", format)
    assert not (tmp_path / "out").exists() or results(tmp_path / "out") == []


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return volumes(tmp_path_factory.mktemp("data"), shape=(4, 36, 32))


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    card = {"model": "unet_gan", "options": {"width": 2}, "scaling": "zero_filled_max", "acceleration": 4}
    return save_weights(network.generator, tmp_path_factory.mktemp("weights") / "a.weights.h5", card)


@pytest.mark.parametrize(("words", "name"), [
    (("convert", "{data}", "{out}", "--key", "reconstruction_esc"), "slices-00000-of-00001.tfrecord"),
    (("weights", "convert", "{weights}", "{out}/b.weights.h5"), "b.weights.h5"),
    pytest.param(("export", "{weights}", "{out}"), "golden.npz", marks=pytest.mark.slow),
], ids=["convert", "weights convert", "export"])
def test_commands_on_a_full_disk_say_so_in_one_line_and_leave_nothing(capsys, data, weights, tmp_path, words, name):
    words = [word.format(data=data, weights=weights, out=tmp_path / "out") for word in words]
    with full_after(500):
        failed = call(capsys, *words)
    last = failed.err.splitlines()[-1]
    assert failed.code == 5 and not failed.out and f"{name}: could not be written" in last, failed.err
    assert results(tmp_path / "out") == []
    assert call(capsys, *words).code == 0  # nothing stands in its way


def test_a_saved_model_on_a_full_disk_is_no_lack_of_device_memory(network, tmp_path):
    """TensorFlow says "resource exhausted" of both."""
    with full_after(1000), pytest.raises(ResourceError, match="saved_model: could not be written .*Check the folder"):
        write("saved_model", network.served(), tmp_path)
    assert not list(tmp_path.iterdir())


def training(data, out, *more):
    return ("train", "--data", data, "--out", out, *TINY, "--epochs", 2, *more)


def equal_runs(one, other):
    assert json.loads((one / "history.json").read_text()) == json.loads((other / "history.json").read_text())
    for name in ("generator.weights.h5", "checkpoint/state-00002-0000000.weights.h5"):
        a, b = arrays(one / name), arrays(other / name)
        assert a.keys() == b.keys() and len(a) > 20
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], key)


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    from cli_tools import as_shown_to_users

    from tfrecon import cli

    with as_shown_to_users():
        assert cli.main([str(word) for word in training(data, out)]) == 0
    return out


@pytest.mark.slow
def test_a_run_goes_on_once_there_is_space_for_its_state(capsys, data, tmp_path, uninterrupted, monkeypatch):
    out, plain = tmp_path / "out", Checkpoint.save
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", lambda self, epoch, batch: _save_on(full_after if epoch == 2 else None, plain, self,
                                                                              epoch, batch))
        failed = call(capsys, *training(data, out))
    assert failed.code == 5 and "state-00002-0000000.weights.h5: could not be written" in failed.err.splitlines()[-1]
    assert [name for name in results(out) if "state" in name or ".part" in name] == [
        "checkpoint/state-00001-0000000.weights.h5"]
    assert call(capsys, *training(data, out, "--resume")).code == 0
    equal_runs(out, uninterrupted)


def _save_on(full, plain, *arguments):
    with full(50_000) if full else nullcontext():
        return plain(*arguments)


# One state fits, two do not. The space comes back by making the file system larger, as somebody would who cleans up.
FULL = """
mount -t tmpfs -o size=$2k tmpfs "$0" || exit 99
$PYTHON -m tfrecon train --data "$1" --out "$0/out" {more} 2>"$3/first"
echo $? $(cd "$0/out"; find . -name '*state-*' -o -name '*.part*')
mount -o remount,size=100m "$0"
$PYTHON -m tfrecon train --resume --data "$1" --out "$0/out" {more} 2>"$3/second" >/dev/null
echo $?
cp -r "$0/out" "$3/out"
"""


@mounts
@pytest.mark.slow
def test_a_run_on_a_disk_that_is_really_full_goes_on_once_there_is_space(data, tmp_path, uninterrupted):
    for folder in ("mount", "kept"):
        (tmp_path / folder).mkdir()
    state = (uninterrupted / "checkpoint/state-00002-0000000.weights.h5").stat().st_size
    size = (state * 3 // 2 + sum((uninterrupted / n).stat().st_size for n in results(uninterrupted)) - state) // 1024
    more = " ".join(map(str, (*TINY, "--epochs", 2)))
    done = mounted(FULL.format(more=more), tmp_path / "mount", data, size, tmp_path / "kept")
    first = (tmp_path / "kept/first").read_text()
    assert done.stdout.splitlines()[0] == "5 ./checkpoint/state-00001-0000000.weights.h5", (done, first)
    assert "state-00002-0000000.weights.h5: " in first.splitlines()[-1] and "Traceback" not in first
    assert done.stdout.splitlines()[-1] == "0", (tmp_path / "kept/second").read_text()
    equal_runs(tmp_path / "kept/out", uninterrupted)


READ_ONLY = """
mount -t tmpfs tmpfs "$0" && mount -o remount,ro "$0" || exit 99
exec $PYTHON - "$0" "$1" "$2" <<'END'
import sys
from tfrecon.cli import main
out, data, weights = sys.argv[1:]
for words in (("train", "--data", data, "--out", out + "/x"), ("reconstruct", data, out, "--weights", weights),
              ("convert", data, out + "/x", "--key", "reconstruction_esc"), ("export", weights, out),
              ("weights", "convert", weights, out + "/a.weights.h5")):
    print(main(list(words)), "tensorflow" in sys.modules)
END
"""


@mounts
def test_a_folder_that_can_only_be_read_is_refused_before_anything_is_loaded(data, weights, tmp_path):
    done = mounted(READ_ONLY, tmp_path, data, weights)
    assert done.stdout.splitlines() == ["5 False"] * 5, done.stderr
    assert done.stderr.count("is mounted read-only. Name another folder") == len(done.stderr.splitlines()) == 5


@pytest.mark.parametrize("words", [("convert", "{data}", "{out}"), ("export", "{weights}", "{out}"),
                                   ("weights", "convert", "{weights}", "{out}/a.weights.h5")],
                         ids=["convert", "export", "weights convert"])
def test_row_53_an_output_that_is_a_file(capsys, weights, tmp_path, words):
    data = volumes(tmp_path / "data", "a")
    (tmp_path / "file").write_text("mine")
    failed = call(capsys, *(word.format(data=data, weights=weights, out=tmp_path / "file") for word in words))
    assert failed.code == 2 and "file is a file or a broken link, expected a folder" in failed.err
    assert (tmp_path / "file").read_text() == "mine" and results(tmp_path) == ["data/a.h5", "file"]

"""Files that end the process in which HDF5 reads them: a taster dies of them, and we are told."""

import faulthandler
import os
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
from cli_tools import ROOT
from fuzz_checksums import checksummed, with_checksum

from tfrecon.data import index_volumes
from tfrecon.errors import DataError, ResourceError
from tfrecon.hdf5 import open_hdf5, tasting
from tfrecon.hdf5 import taster as taster_process
from tfrecon.hdf5.tasting import Taster


def chunked(file):
    file.create_dataset("kspace", data=np.zeros((4, 4, 4), np.complex64), chunks=(1, 4, 4))


def many_names(file):
    for number in range(20):
        file[f"array {number}"] = np.float32(number)


def damaged(path, fill, holder, offset):
    """A file of HDF5's newer layout, a byte of a header changed and the header's checksum right again."""
    with h5py.File(path, "w", libver="latest") as file:
        fill(file)
        header = h5py.h5o.get_info(file[holder].id).addr
    content = bytearray(path.read_bytes())
    end = next(end for start, end in checksummed(bytes(content)) if start == header)
    content[header + offset] = 0xFF
    path.write_bytes(with_checksum(content, header, end))
    return path


# Which byte: of an array's largest shape, so that its chunks are looked for far away; of the place of a group's heap of names.
CRASHES = {"chunks": (chunked, "kspace", 50), "names": (many_names, "/", 37)}


@pytest.mark.parametrize("name", CRASHES)
def test_a_file_over_which_the_library_crashes_is_refused(tmp_path, name):
    path = damaged(tmp_path / "x.h5", *CRASHES[name])
    alone = subprocess.run([sys.executable, "-c", "import os, sys; from tfrecon.hdf5.taster import taste; "
                            "taste(os.fsencode(sys.argv[1]))", path], cwd=ROOT, capture_output=True)
    assert alone.returncode < 0, "HDF5 reads it today; the test needs another file"
    for _ in range(2):
        with pytest.raises(DataError, match="HDF5 itself breaks down over it"):
            index_volumes(path, strict=True)


@pytest.fixture
def taster():
    own = Taster()
    yield own
    own.stop()


def test_one_bad_file_does_not_make_others_bad(tmp_path, taster):
    bad, good = damaged(tmp_path / "bad.h5", *CRASHES["chunks"]), tmp_path / "good\nand new.h5"
    with h5py.File(good, "w", libver="latest") as file:
        many_names(file)
    for path in (good, bad, bad, good):
        if path == good:
            taster.check(str(path))
        else:
            with pytest.raises(DataError):
                taster.check(str(path))


def test_a_file_that_was_sound_is_looked_at_again_when_it_has_changed(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver="latest") as file:
        chunked(file)
    open_hdf5(path).close()
    damaged(path, *CRASHES["chunks"])
    os.utime(path, (1, 1))
    with pytest.raises(DataError):
        open_hdf5(path)


def test_a_taster_that_was_killed_is_no_verdict_on_the_next_file(tmp_path, taster):
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path in paths:
        with h5py.File(path, "w") as file:
            chunked(file)
    taster.check(str(paths[0]))
    taster._process.kill()
    taster._process.wait()
    taster.check(str(paths[1]))


def test_what_another_process_was_told_is_not_taken_for_an_answer(tmp_path):
    """A fork has the pipes of its parent's taster, and must not use them."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        chunked(file)
    program = """
import os, sys
from tfrecon.hdf5 import tasting
tasting.own_taster().check(sys.argv[1])
first = tasting.own_taster()
child = os.fork()
if not child:
    os._exit(tasting.own_taster() is first)
sys.exit(os.waitpid(child, 0)[1])
"""
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    subprocess.run([sys.executable, "-c", program, tmp_path / "x.h5"], cwd=ROOT, check=True)


def sound(path):
    with h5py.File(path, "w") as file:
        chunked(file)
    return str(path)


def test_a_taster_ended_from_outside_is_no_verdict(tmp_path, taster, monkeypatch):
    """Between two files, in the middle of an answer, and whenever it starts: the file is not blamed, and asked about again."""
    first, second = sound(tmp_path / "a.h5"), sound(tmp_path / "b.h5")
    taster.check(first)
    monkeypatch.setattr(taster._process, "poll", lambda: None)  # killed after this look
    taster._process.kill()
    taster.check(second)
    other = tasting.Taster()
    for command, words in (([sys.executable, "-c", "raise SystemExit(1)"], "ended twice without an answer"),
                           (["/nonexistent/python"], "could not be started")):
        monkeypatch.setattr(tasting, "COMMAND", command)
        with pytest.raises(ResourceError, match=words):
            other.check(first)
    monkeypatch.undo()
    other.check(first)
    other.stop()


def test_a_structure_without_end_is_told_from_a_breakdown(tmp_path, taster, monkeypatch):
    late = "import sys; [print('late', flush=True) for line in sys.stdin]"
    monkeypatch.setattr(tasting, "COMMAND", [sys.executable, "-c", late])
    with pytest.raises(DataError, match="a minute .* divide it"):
        taster.check(sound(tmp_path / "a.h5"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("number, verdict", [(signal.SIGSEGV, "died"), (signal.SIGPROF, "late"), (signal.SIGKILL, "failed")])
def test_what_the_end_of_a_look_means(monkeypatch, number, verdict):
    def end(path):
        faulthandler.disable()  # pytest's, which would print
        os.kill(os.getpid(), number)

    monkeypatch.setattr(taster_process, "taste", end)
    assert taster_process._verdict(b"x") == verdict

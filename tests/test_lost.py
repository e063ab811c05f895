"""Row 89: files that vanish, are cut off or replaced while they are worked on are skipped, counted, and never read as garbage."""

import os
import shutil

import numpy as np
import pytest
from cli_tools import call, disc, results, volume, volumes

from tfrecon.data import SliceReader, create_paired_dataset, index_volumes
from tfrecon.data.lost import LostSlices
from tfrecon.errors import DataError, UnreadableError

MANY = "abcdefghijklmnopqrstuvwxyz"  # of which one is less than 5 %


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """How often was waited for a file to come back."""
    pauses = []
    monkeypatch.setattr("tfrecon.data.lost.time.sleep", pauses.append)
    return pauses


def vanish(path):
    path.unlink()


def cut_off(path):
    with open(path, "r+b") as file:
        file.truncate(1000)


def replace_with_others(path):
    """Of the same size, shape and place in the file: only the numbers are others."""
    size = path.stat().st_size
    volume(path.with_name("other"), images=disc(seed=99))
    assert path.with_name("other").stat().st_size == size
    os.replace(path.with_name("other"), path)


def overwrite_in_place(path):
    """As rsync --inplace does: the open file itself has other numbers."""
    content = bytearray(path.read_bytes())
    content[-200:] = bytes(200)
    path.write_bytes(content)


WAYS = [vanish, cut_off, replace_with_others, overwrite_in_place]


@pytest.mark.parametrize("way", WAYS)
def test_an_open_file_gives_no_more_slices_once_it_is_lost(tmp_path, way, no_pause):
    path = volumes(tmp_path, "a") / "a.h5"
    (found,) = index_volumes(path).volumes
    with SliceReader() as reader:
        reader.kspace(found, 0)
        way(path)
        for _ in range(3):
            with pytest.raises(UnreadableError, match="a.h5: (changed|does not exist)"):
                reader.kspace(found, 0)
    assert len(no_pause) == 1  # not for every slice of a file that does not come back


def test_a_file_written_to_while_a_slice_is_fetched_is_noticed(tmp_path, monkeypatch):
    """The file is unchanged when it is looked at, and its bytes are others by the time they are read."""
    from tfrecon.data import stored_slices

    path = volumes(tmp_path, "a") / "a.h5"
    (found,) = index_volumes(path).volumes
    plain = stored_slices._bytes_at

    def late(handle, place, size):
        monkeypatch.undo()
        overwrite_in_place(path)
        return plain(handle, place, size)

    monkeypatch.setattr("tfrecon.data.lost.PAUSE", 0)
    monkeypatch.setattr(stored_slices, "_bytes_at", late)
    with SliceReader() as reader, pytest.raises(UnreadableError, match="changed since it was indexed"):
        reader.kspace(found, 1)


def test_a_file_that_comes_back_is_read(tmp_path, monkeypatch):
    path = volumes(tmp_path, "a") / "a.h5"
    (found,) = index_volumes(path).volumes
    shutil.move(path, tmp_path / "away")
    monkeypatch.setattr("tfrecon.data.lost.time.sleep", lambda _: shutil.move(tmp_path / "away", path))
    with SliceReader() as reader:
        assert reader.kspace(found, 0).any()


def test_a_slice_of_the_same_size_takes_the_place_of_a_lost_one():
    def read(number, i):
        if number == 0:
            raise UnreadableError("gone")
        return number, i

    names = set()
    samples = [(0, 0), (1, 0), (2, 0), (2, 1), *((3, i) for i in range(40))]
    there = LostSlices(samples, [False, True, False, False], False, names, [f"volume {k}" for k in range(4)])
    assert there(3, 5, read) == (3, 5) and not names
    assert there(0, 0, read) == (2, 0) and names == {("volume 0", 0)}
    alone = LostSlices([(0, 0), (1, 0)], [0, 1], False, None, "ab")
    with pytest.raises(DataError, match="gone. No other slice of its size"):
        alone(0, 0, read)
    with pytest.raises(DataError, match="By now 1 of 44 slices cannot be read"):
        LostSlices(samples, [False, True, False, False], True, None, "abcd")(0, 0, read)


@pytest.mark.parametrize("way", [vanish, replace_with_others])
def test_an_epoch_goes_on_without_a_file_and_ends_without_several(tmp_path, way, caplog):
    data, lost = volumes(tmp_path, MANY), set()
    pairs = create_paired_dataset(data, batch_size=4, target="kspace", crop=16, lost=lost)
    whole = np.concatenate([y for _, y in pairs])
    way(data / "d.h5")
    rest = np.concatenate([y for _, y in pairs])
    changed = [n for n, (one, other) in enumerate(zip(whole, rest, strict=True)) if not np.array_equal(one, other)]
    assert changed == [6, 7] and lost == {("d.h5", 0), ("d.h5", 1)}
    np.testing.assert_array_equal(rest[6], whole[8])
    assert len([r for r in caplog.records if "other slices take its place" in r.message]) == 1
    way(data / "e.h5")
    with pytest.raises(Exception, match="DataError: .*By now 3 of 52 slices cannot be read any more"):
        list(pairs)


def lose_after(monkeypatch, function, number, lose):
    """Lose files after that call of the reader."""
    plain, calls = getattr(SliceReader, function), []

    def read(self, *arguments):
        calls.append(1)
        values = plain(self, *arguments)
        if len(calls) == number:
            lose()
        return values

    monkeypatch.setattr(SliceReader, function, read)


def test_reconstruct_skips_one_lost_input_and_stops_at_several(capsys, tmp_path, monkeypatch):
    data = volumes(tmp_path / "data", "abcde")
    words = ("reconstruct", data, tmp_path / "out", "--model", "zero_filled", "--workers", "0")
    with monkeypatch.context() as patch:
        lose_after(patch, "kspace", 3, lambda: (data / "b.h5").unlink())
        one = call(capsys, *words)
    assert one.code == 3 and "b.h5: does not exist" in one.err and "4 volumes reconstructed" in one.out
    assert results(tmp_path / "out") == ["a.h5", "c.h5", "d.h5", "e.h5", "run.json"]
    lose_after(monkeypatch, "kspace", 1, lambda: [(data / f"{name}.h5").unlink() for name in "acd"])
    several = call(capsys, *words, "--overwrite")
    assert several.code == 3 and several.err.splitlines()[-1].endswith("bring them back, and go on with --resume")
    assert "By now 2 of 4 inputs vanished or changed" in several.err and not several.out


def test_convert_begins_anew_without_a_file_that_is_lost_while_it_writes(capsys, tmp_path, monkeypatch):
    data = volumes(tmp_path / "data", "abcd")
    words = ("convert", data, tmp_path / "out", "--shards", "2", "--key", "reconstruction_esc")
    with monkeypatch.context() as patch:
        lose_after(patch, "target", 8 + 5, lambda: replace_with_others(data / "c.h5"))  # after the first slice of c is written
        made = call(capsys, *words)
    assert made.code == 3 and "c.h5: changed since it was indexed" in made.err and "begun anew without it" in made.err
    (data / "c.h5").unlink()
    whole = call(capsys, "convert", data, tmp_path / "whole", "--shards", "2", "--key", "reconstruction_esc")
    assert whole.code == 0 and results(tmp_path / "out") == results(tmp_path / "whole")
    for name in results(tmp_path / "out"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    lose_after(monkeypatch, "target", 1, lambda: [vanish(data / "b.h5"), vanish(data / "d.h5")])
    several = call(capsys, *words, "--overwrite")
    assert several.code == 3 and "d.h5: does not exist" in several.err and several.err.count("Traceback") == 0

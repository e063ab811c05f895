"""Texts of any length in attributes: a heap that leads HDF5 round without end is refused, every sound one is read."""

import struct

import h5py
import pytest

from tfrecon.errors import DataError
from tfrecon.hdf5 import open_hdf5, read_attributes
from tfrecon.hdf5.texts import check_texts

LAYOUTS = {"oldest": {}, "newest": {"libver": "latest"}, "user block": {"userblock_size": 512}}


def labelled(path, labels, **options):
    """A file with its labels at the top and, again, at an array."""
    with h5py.File(path, "w", **options) as file:
        file["kspace"] = [1.0]
        for owner in (file, file["kspace"]):
            for name, text in labels.items():
                owner.attrs[name] = text
    return path


def damage(path, place, value):
    """Put a size at a place in every heap, counted from where its free space begins."""
    content = bytearray(path.read_bytes())
    heap = content.find(b"GCOL")
    while heap >= 0:
        at = heap + 16
        while struct.unpack_from("<H", content, at)[0]:
            at += 16 + (struct.unpack_from("<Q", content, at + 8)[0] + 7) // 8 * 8
        struct.pack_into("<Q", content, (at if place == "free" else heap + 16) + 8, value)
        heap = content.find(b"GCOL", heap + 4)
    path.write_bytes(content)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place, value", [("free", 0), ("free", 8), ("first", 2**64 - 16), ("first", 2**40)])
@pytest.mark.parametrize("count", [1, 7])
def test_heap_without_end(tmp_path, layout, place, value, count):
    path = labelled(tmp_path / "a.h5", {f"label {i}": f"text {i}" for i in range(count)} | {"max": 0.5}, **LAYOUTS[layout])
    damage(path, place, value)
    with open_hdf5(path) as file:
        for owner in (file, file["kspace"]):
            assert read_attributes(owner) == {"max": 0.5}
            with pytest.raises(DataError, match="texts in its attributes are damaged"):
                check_texts(owner, owner.attrs.get_id("label 0"))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("lengths", [[0], range(40), [4000] * 3, [4040, 4056, 4064, 4072, 4080, 4096], [60_000, 1]], ids=str)
def test_sound_heaps_of_any_size(tmp_path, layout, lengths):
    labels = {f"label {i}": "x" * length for i, length in enumerate(lengths)}
    path = labelled(tmp_path / "a.h5", labels, **LAYOUTS[layout])
    with h5py.File(path, "a") as file:  # leaves holes in the heaps
        for name in list(labels)[::2]:
            file.attrs[name] = labels[name] = "another"
    with open_hdf5(path) as file:
        assert read_attributes(file) == labels

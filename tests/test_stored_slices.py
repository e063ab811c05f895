"""Slices fetched past HDF5 are what h5py gives, whatever way they are stored; damaged ones are errors."""

import zlib

import h5py
import numpy as np
import pytest

from tfrecon.data import SliceReader, index_volumes
from tfrecon.data.stored_slices import fetcher
from tfrecon.errors import DataError
from tfrecon.hdf5 import open_hdf5

WAYS = {
    "one piece": {},
    "one chunk a slice": {"chunks": (1, 20, 13), "compression": "gzip"},
    "chunks over slices and edges": {"chunks": (2, 8, 5), "compression": "gzip"},
    "shuffled": {"chunks": (3, 7, 13), "compression": "gzip", "shuffle": True},
    "checksums": {"chunks": (1, 20, 13), "compression": "gzip", "fletcher32": True},
    "lzf": {"chunks": (1, 20, 13), "compression": "lzf"},
    "chunks not compressed": {"chunks": (1, 20, 13)},
}


def values(dtype):
    rng = np.random.default_rng(0)
    return (rng.standard_normal((5, 20, 13)) * 100 + 1j * rng.standard_normal((5, 20, 13))).astype(dtype)


def stored(path, array, userblock=0, **options):
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file.create_dataset("kspace", data=array, **options)
        file["before"] = np.zeros(3)
    return path


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["<c8", ">c8", "<c16"])
def test_every_slice_is_what_h5py_gives(tmp_path, way, dtype):
    array = values(dtype)
    with open_hdf5(stored(tmp_path / "a.h5", array, **WAYS[way])) as file:
        fetch = fetcher(file["kspace"], True)
        fetched = [fetch(i) for i in (3, 0, 4, 2, 1)]
    for i, slice_ in zip((3, 0, 4, 2, 1), fetched):  # after the file was closed
        np.testing.assert_array_equal(slice_(), array[i])


@pytest.mark.parametrize("way", ["one piece", "shuffled"])
def test_a_user_block_and_a_type_with_gaps_are_left_to_h5py(tmp_path, way):
    array = values("c8")
    with open_hdf5(stored(tmp_path / "a.h5", array, userblock=1024, **WAYS[way])) as file:
        np.testing.assert_array_equal(fetcher(file["kspace"], True)(2)(), array[2])
    spaced = np.zeros(array.shape, np.dtype({"names": ["r", "i"], "formats": ["<f4", "<f4"], "offsets": [0, 8], "itemsize": 16}))
    spaced["r"], spaced["i"] = array.real, array.imag
    index = index_volumes(stored(tmp_path / "b.h5", spaced, **WAYS[way]), "kspace")
    with SliceReader() as reader:
        np.testing.assert_array_equal(reader.kspace(index.volumes[0], 2), array[2])


def test_chunks_that_were_never_written_are_zeros(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("kspace", (5, 20, 13), "c8", chunks=(1, 20, 13), compression="gzip")
        dataset[1] = values("c8")[1]
    with open_hdf5(tmp_path / "a.h5") as file:
        fetch = fetcher(file["kspace"], True)
        np.testing.assert_array_equal(fetch(1)(), values("c8")[1])
        np.testing.assert_array_equal(fetch(2)(), np.zeros((20, 13)))


def test_a_chunk_that_was_left_uncompressed_is_read_all_the_same(tmp_path):
    array = values("c8")
    path = stored(tmp_path / "a.h5", array, **WAYS["one chunk a slice"])
    with h5py.File(path, "r+") as file:
        file["kspace"].id.write_direct_chunk((1, 0, 0), array[1].tobytes(), filter_mask=1)
    with open_hdf5(path) as file:
        np.testing.assert_array_equal(fetcher(file["kspace"], True)(1)(), array[1])


@pytest.mark.parametrize("packed", [b"no deflated bytes at all", b"x", zlib.compress(bytes(2**24)), zlib.compress(bytes(2**16)),
                                    zlib.compress(bytes(100))], ids=["nonsense", "cut", "large bomb", "bomb", "little"])
def test_damaged_chunks_are_an_error_of_ours(tmp_path, packed):
    path = stored(tmp_path / "a.h5", values("c8"), **WAYS["one chunk a slice"])
    _replace_chunk(path, packed)
    with SliceReader() as reader, pytest.raises(DataError, match="a.h5.*slice 1"):
        reader.kspace(index_volumes(path, "kspace").volumes[0], 1)


def test_a_file_cut_off_while_it_is_open_is_an_error_of_ours(tmp_path):
    path = stored(tmp_path / "a.h5", values("c8"))
    with open_hdf5(path) as file:
        fetch = fetcher(file["kspace"], True)
        with open(path, "r+b") as raw:
            raw.truncate(file["kspace"].id.get_offset() + 100)
        with pytest.raises(OSError, match="ends at byte"):
            fetch(4)


def _replace_chunk(path, packed):
    with h5py.File(path, "r+") as file:
        file["kspace"].id.write_direct_chunk((1, 0, 0), packed)

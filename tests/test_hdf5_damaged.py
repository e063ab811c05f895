"""Damage that libhdf5 and h5py do not survive or tell in their own way, made of sound files: found by `test_fuzz.py`."""

import h5py
import numpy as np
import pytest

from tfrecon.data import SliceReader, index_magnitudes
from tfrecon.errors import DataError
from tfrecon.hdf5 import check_tree, get_dataset, open_hdf5


def test_complex_type_whose_halves_lie_over_each_other(tmp_path):
    """An exponent where single precision has none makes h5py take the half for a double, in the room of a single."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = np.ones((2, 3, 4), np.complex64)
    content = bytearray(path.read_bytes())
    half = content.index(bytes.fromhex("04 00 00 00 00 00 20 00 17 08 00 17 7f"))
    content[half + 12] = 0x5F  # the exponent's bias
    path.write_bytes(content)
    with open_hdf5(path) as file:
        for call in (lambda: get_dataset(file, "kspace"), lambda: check_tree(file)):
            with pytest.raises(DataError, match="lie over each other"):
                call()


def test_compound_types_with_gaps_and_arrays_inside_are_sound(tmp_path):
    inner = np.dtype({"names": ["r", "i"], "formats": ["<f4", "<f4"], "offsets": [0, 8], "itemsize": 16})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(3, [("one", inner, (2, 2)), ("two", "<c8"), ("three", "S3")])
    with open_hdf5(tmp_path / "a.h5") as file:
        check_tree(file)
        assert get_dataset(file, "x")[()].shape == (3,)


def test_chunk_at_an_address_beyond_all_files(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("reconstruction_rss", data=np.ones((2, 8, 8), np.float32), chunks=(1, 8, 8), compression="gzip")
        address = file["reconstruction_rss"].id.get_chunk_info(1).byte_offset
    path.write_bytes(path.read_bytes().replace(address.to_bytes(8, "little"), (2**63 + 8).to_bytes(8, "little")))
    with SliceReader() as reader:
        (volume,) = index_magnitudes(path).volumes
        with pytest.raises(DataError, match="slice 1 of reconstruction_rss failed"):
            reader.target(volume, 1)

"""NumPy archives of arrays by name, checked before anything is unpacked; Python objects in them are refused."""

from __future__ import annotations

import math
import tokenize
import zipfile

import numpy as np

from .keras_files import archive_errors, check_unpacked_size
from .safetensors_file import damaged


def read_npz(path: str) -> dict[str, np.ndarray]:
    """All arrays of an `.npz`; arrays of objects, which would be unpickled, are refused.

    Raises:
        WeightsError: the archive is broken, or an entry is smaller than the array it declares.
    """
    with archive_errors(path), zipfile.ZipFile(path) as archive:
        names = npz_table(path)
        check_unpacked_size(path, sum(info.file_size for info in archive.infolist()))
        with damaged(path), np.load(path, allow_pickle=False) as arrays:
            if len(set(archive.namelist())) != len(names):
                raise ValueError("a name stands twice")
            return {name: arrays[name] for name, _, _ in names}


def npz_table(path: str) -> list[tuple[str, tuple[int, ...], str]]:
    """(name, shape, type) of the arrays, from their headers."""
    with archive_errors(path), damaged(path), zipfile.ZipFile(path) as archive:
        return [_npy_header(archive, info) for info in archive.infolist()]


def _npy_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[str, tuple[int, ...], str]:
    with archive.open(info) as handle:
        version = np.lib.format.read_magic(handle)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        try:
            shape, _, dtype = read(handle)
        except tokenize.TokenError as error:  # where NumPy takes a damaged header for one of Python 2
            raise ValueError(f"{info.filename} has a header that cannot be read: {error}") from error
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds Python objects, which are never unpickled here")
        if math.prod(shape) * dtype.itemsize > info.file_size - handle.tell():
            raise ValueError(f"{info.filename} declares more than it holds")
    return info.filename.removesuffix(".npy"), shape, str(dtype)

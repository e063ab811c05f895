"""Fetches single slices of a dataset as they are stored, past HDF5 where HDF5 is the slow part.

An array in one piece is read from the file directly, which takes half of h5py's time. A deflated one is fetched chunk by
chunk and inflated here: zlib lets other threads work, HDF5 holds one lock for all of them.
"""

from __future__ import annotations

import itertools
import math
import os
import zlib
from collections.abc import Callable

import h5py
import numpy as np

Slice = Callable[[], np.ndarray]

_DEFLATED, _SHUFFLED = [h5py.h5z.FILTER_DEFLATE], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]
_PLAIN_READS = hasattr(os, "preadv")  # not on Windows


def fetcher(dataset: h5py.Dataset, has_slice_axis: bool) -> Callable[[int], Slice]:
    """A function of a slice's number, to be called while the file is open; what it returns needs the file no more.

    Args:
        dataset: from `hdf5.get_dataset`, so nothing of it lies outside its file.
        has_slice_axis: whether the first axis counts slices; otherwise the whole is the one slice.
    """
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]
    plain = has_slice_axis and dataset.id.get_type() == h5py.h5t.py_create(dataset.dtype, logical=True)
    if plain and _PLAIN_READS and not dataset.file.userblock_size:  # whose bytes HDF5 has not always counted
        if properties.get_layout() == h5py.h5d.CONTIGUOUS:
            return _in_one_piece(dataset)
        if filters in (_DEFLATED, _SHUFFLED):
            return _in_deflated_chunks(dataset, filters == _SHUFFLED)
    return lambda i: _known(dataset[i if has_slice_axis else ()])


def _known(values: np.ndarray) -> Slice:
    return lambda: values


def _in_one_piece(dataset: h5py.Dataset) -> Callable[[int], Slice]:
    handle, start = dataset.file.id.get_vfd_handle(), dataset.id.get_offset()
    shape, dtype = dataset.shape[1:], dataset.dtype
    size = math.prod(shape) * dtype.itemsize
    return lambda i: _known(_bytes_at(handle, start + i * size, size).view(dtype).reshape(shape))


def _in_deflated_chunks(dataset: h5py.Dataset, shuffled: bool) -> Callable[[int], Slice]:
    (depth, *sides), shape, dtype = dataset.chunks, dataset.shape[1:], dataset.dtype
    corners = list(itertools.product(*(range(0, n, side) for n, side in zip(shape, sides))))
    handle, largest = dataset.file.id.get_vfd_handle(), 2 * math.prod(dataset.chunks) * dtype.itemsize

    def fetch(i: int) -> Slice:
        places = [dataset.id.get_chunk_info_by_coord((i - i % depth, *corner)) for corner in corners]
        if any(p.byte_offset is None or p.filter_mask for p in places):
            return _known(dataset[i])  # never written, or not deflated after all
        if any(p.size > largest for p in places):
            raise OSError(f"a chunk of {largest // 2} bytes is stored in {max(p.size for p in places)}")
        stored = [_bytes_at(handle, p.byte_offset, p.size) for p in places]

        def joined() -> np.ndarray:
            values = np.empty(shape, dtype)
            for corner, packed in zip(corners, stored):
                part = _inflated(packed, (depth, *sides), dtype, shuffled)[i % depth]
                inside = values[tuple(slice(low, low + side) for low, side in zip(corner, sides))]
                inside[...] = part[tuple(map(slice, inside.shape))]
            return values

        return joined

    return fetch


def _bytes_at(handle: int, place: int, size: int) -> np.ndarray:
    values = np.empty(size, np.uint8)
    rest = memoryview(values)
    while rest:
        count = os.preadv(handle, [rest], place)
        if not count:
            raise OSError(f"the file ends at byte {place}")
        rest, place = rest[count:], place + count
    return values


def _inflated(packed: np.ndarray, shape: tuple, dtype: np.dtype, shuffled: bool) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    try:
        data = zlib.decompressobj().decompress(packed, size + 1)  # not more than a chunk holds, whatever the file says
    except zlib.error as error:
        raise OSError(f"a chunk cannot be inflated: {error}") from error
    if len(data) != size:
        raise OSError(f"a chunk of {size} bytes inflates to {'more' if len(data) > size else len(data)}")
    data = np.frombuffer(data, np.uint8)
    if shuffled:
        data = np.ascontiguousarray(data.reshape(dtype.itemsize, -1).T)
    return data.reshape(-1).view(dtype).reshape(shape)

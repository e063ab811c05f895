"""Where the records of a TFRecord shard begin, found by their lengths alone, none of which may be longer than its slice needs:
TensorFlow asks for as much memory as a length says.

A record is its length as uint64, a checksum of that, the content, and a checksum of it, each checksum of four bytes. They are
checked by who reads the record.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ...errors import DataError, shown
from ...hdf5 import file_error
from .index import ShardIndex

_LENGTH, _FRAME = 8, 16  # bytes: of the length, and of all that is not content
_THREADS = 16  # they wait for the disk


def record_offsets(index: ShardIndex, shards: Iterable[int]) -> np.ndarray:
    """The byte at which the record of each slice of the folder begins, int64; -1 in shards that are not asked for.

    Raises:
        DataError: a shard does not hold as many records as the manifest says, one is too long, or it cannot be read.
    """
    counts = np.array([volume.slices for volume in index.contents])
    lies_in = np.repeat([volume.shard for volume in index.contents], counts)
    longest = np.repeat(index.longest, counts)
    offsets = np.full(len(lies_in), -1, np.int64)
    shards = sorted(shards)
    expected = [longest[lies_in == shard].tolist() for shard in shards]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(_offsets, [index.shards[shard].path for shard in shards], expected)
        for shard, places in zip(shards, found):
            offsets[lies_in == shard] = places
    return offsets


def _offsets(path: str, longest: list[int]) -> list[int]:
    """Of as many records as there are lengths that they may have."""
    places, end, count = [], 0, len(longest)
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            while end < size and len(places) < count:
                file.seek(end)
                length = int.from_bytes(file.read(_LENGTH), "little") + _FRAME
                if length > longest[len(places)]:
                    raise DataError(f"{shown(path)}: its record {len(places)} is said to take {length} bytes, expected at most "
                                    f"{longest[len(places)]}; copy it anew, or convert the data again")
                places.append(end)
                end += length
    except OSError as error:
        raise file_error(path, error) from error
    if (len(places), end) != (count, size):
        raise DataError(f"{shown(path)}: expected {count} records that fill its {size} bytes, found {len(places)} that end at "
                        f"byte {end}; copy it anew, or convert the data again")
    return places

"""Texts of any length in attributes: HDF5 keeps them in heaps, and goes round in a damaged one without end.

It steps through a heap by the sizes that the objects in it state, and a size of 0 leads to the same place again (seen in HDF5
1.14.6). The library gives no look at a heap that does not walk through it, so the few bytes are read here first.
"""

import os
import re
import struct
from typing import BinaryIO

import h5py

from ..errors import DataError, shown

# A message in an object's header that leads to more of it: type, size 16 and flags in the older layout; in the newer the same
# shorter, and with or without the order of making behind it.
_CONTINUED = [re.compile(start + rb"(?=(.{8}))", re.DOTALL)
              for start in (rb"\x10\0\x10\0.\0{3}", rb"\x10\x10\0.", rb"\x10\x10\0...")]
# Enough for every label a file may have; a damaged header must not send us through the whole file.
_MOST_BLOCKS, _BLOCK_BYTES, _HEAP_BYTES = 64, 2**16, 2**28
_OBJECT = 16  # bytes of an object's own header, and of the heap's


def check_texts(owner: h5py.HLObject, attribute: h5py.h5a.AttrID) -> None:
    """DataError if an attribute is of texts whose heap cannot be walked through; nothing is read of any other.

    Args:
        owner: the file, group or array that has the attribute; all heaps its header points to are looked at.
    """
    kind = attribute.get_type()
    if not isinstance(kind, h5py.h5t.TypeStringID) or not kind.is_variable_str():
        return
    path, header = owner.file.filename, h5py.h5o.get_info(owner.id)
    with open(path, "rb") as stream:
        for place in _heaps(stream, owner.file.userblock_size, header.addr, min(header.hdr.space.total, _BLOCK_BYTES)):
            if not _ends(stream, place):
                raise DataError(f"{shown(path)}: the texts in its attributes are damaged; download or copy it again")


def _heaps(stream: BinaryIO, base: int, header: int, size: int) -> set[int]:
    """Where the heaps lie that an object's header leads to: every number in it, or what continues it, may be an address."""
    end = os.fstat(stream.fileno()).st_size
    pending, seen, heaps = [base + header], set(), set()
    while pending and len(seen) < _MOST_BLOCKS:
        stream.seek(place := pending.pop())
        block = stream.read(size)
        seen.add(place)
        continued = [number for pattern in _CONTINUED for number in pattern.findall(block)]
        pending += [n for n in _numbers(continued, base) if n < end and n not in seen]
        for number in _numbers([block[i : i + 8] for i in range(len(block) - 7)], base) - heaps:
            if number < end:
                stream.seek(number)
                heaps |= {number} if stream.read(4) == b"GCOL" else set()
    return heaps


def _numbers(found: list[bytes], base: int) -> set[int]:
    return {int.from_bytes(number, "little") + base for number in found}


def _ends(stream: BinaryIO, place: int) -> bool:
    """Whether the objects of a heap lead to its end, each as long as its own header at least."""
    stream.seek(place + 8)
    size = int.from_bytes(stream.read(8), "little") - _OBJECT
    heap = stream.read(min(max(size, 0), _HEAP_BYTES))
    at = 0
    while at + _OBJECT <= len(heap):
        number, length = struct.unpack_from("<H6xQ", heap, at)
        step = length if number == 0 else _OBJECT + (length + 7) // 8 * 8  # number 0 is the rest that is free
        if not _OBJECT <= step <= len(heap) - at:
            return False
        at += step
    return len(heap) == size

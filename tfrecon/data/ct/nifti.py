"""NIfTI volumes: the header's meaning, and slices read in place or out of a gzip stream of bounded size.

Axes: of an array (x, y, z) slice k is [:, :, k] with y as rows and x as columns, (height, width) = (ny, nx), in the order
they are stored: nothing is flipped or resampled, so rows run as the file's orientation has them.
"""

from __future__ import annotations

import io
import os
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import DataError, shown
from ...hdf5 import MAX_COMPRESSION
from ...machine import free_memory
from ..index import file_stamp
from .extras import load, parsing, reading
from .find import unpacked_head
from .volumes import ImageVolume, check_sizes

_CHUNK = 2**20
_NUMBERS = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")


@dataclass(frozen=True)
class NiftiFile:
    """Where the numbers lie: `offset` in the (unpacked) file and their type with its byte order."""

    path: str
    packed: bool
    offset: int
    dtype: np.dtype
    header: Any = field(repr=False, compare=False)


def index_nifti(path: str, name: str) -> ImageVolume:
    """One file as a volume.

    Raises:
        DataError: not a 2-D or 3-D image of real numbers, or the file is shorter than its header says.
        ResourceError: nibabel is not installed.
    """
    nibabel, where = load("nibabel", "NIfTI"), shown(path)
    with parsing(path, "NIfTI header"):
        with open(path, "rb") as file:
            start = file.read(4096)
        packed = start.startswith(b"\x1f\x8b")
        start = unpacked_head(start) if packed else start
        second = start[4:8] == b"n+2\x00"
        kind, size = (nibabel.Nifti2Header, 540) if second else (nibabel.Nifti1Header, 348)
        start = _unpack(path, size) if packed else start
        header = kind.from_fileobj(io.BytesIO(start[:size]), check=False)
        dtype, shape, rescale = _numbers(header, where), _shape(header, where), _rescale(header)
        offset = int(header["vox_offset"]) if np.isfinite(float(header["vox_offset"])) else 0
    width, height, slices = shape
    check_sizes(where, slices, height, width)
    source = NiftiFile(path, packed, max(offset, size), dtype, header)
    _check_length(source, slices * height * width * dtype.itemsize)
    grey = dtype == np.uint8 and rescale == (1.0, 0.0)  # Hounsfield units do not fit into it
    return ImageVolume(
        paths=(path,), name=name, format="nifti", kind="grey" if grey else "hu", slices=slices, height=height, width=width,
        rescale=(rescale,) * slices, levels=f"{dtype.name} numbers", grey_range=(0.0, 255.0) if grey else None,
        notes=() if grey else ("NIfTI does not name its unit; the values are taken as Hounsfield units",),
        person=name, stamps=(file_stamp(path),), source=source,
    )


def _numbers(header: Any, where: str) -> np.dtype:
    code = int(header["datatype"])
    try:
        dtype = np.dtype(header.get_data_dtype())
    except Exception as error:
        raise DataError(f"{where}: NIfTI with the unknown datatype {code}; the header is damaged, get it again") from error
    if dtype.kind + str(dtype.itemsize) not in _NUMBERS:
        raise DataError(f"{where}: NIfTI with datatype {code} ({dtype}), expected real numbers of 8 to 32 bits or 64-bit "
                        "floats; convert it")
    return dtype


def _shape(header: Any, where: str) -> tuple[int, int, int]:
    count, *sizes = (int(n) for n in header["dim"])
    if not 1 <= count <= 7:
        raise DataError(f"{where}: NIfTI with {count} dimensions, expected 2 or 3; the header is damaged, get it again")
    shape = sizes[:count]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) not in (2, 3):
        raise DataError(f"{where}: NIfTI of shape {tuple(shape)}, expected (nx, ny) or (nx, ny, slices); store each volume "
                        "in a file of its own")
    return (*shape, 1) if len(shape) == 2 else tuple(shape)


def _rescale(header: Any) -> tuple[float, float]:
    """A slope of 0 or none means that the numbers are the values."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite(slope) or slope == 0:
        return 1.0, 0.0
    return slope, intercept if np.isfinite(intercept) else 0.0


def _check_length(file: NiftiFile, needed: int) -> None:
    """Whether the file can hold what it declares; a gzip stream at the most what gzip can pack."""
    size, where = os.path.getsize(file.path), shown(file.path)
    if file.packed and needed > MAX_COMPRESSION * size:
        raise DataError(f"{where}: {size} bytes cannot unpack to the {needed} its header declares; it is damaged or "
                        "hostile, get it again")
    if not file.packed and size - file.offset < needed:
        raise DataError(f"{where}: truncated, holds {max(0, size - file.offset)} bytes of images of the {needed} its header "
                        "declares; get it again")


def read_stored(file: NiftiFile, i: int, shape: tuple[int, int], unpacked: bytes | None = None) -> np.ndarray:
    """Slice i as stored, (height, width), in the machine's byte order; from `unpacked` for a packed file."""
    size = shape[0] * shape[1] * file.dtype.itemsize
    start = file.offset + i * size
    if unpacked is not None:
        content = unpacked[start : start + size]
    else:
        with reading(file.path, f"image of slice {i}"), open(file.path, "rb") as stream:
            stream.seek(start)
            content = stream.read(size)
    if len(content) < size:
        raise DataError(f"{shown(file.path)}: slice {i} ends after {len(content)} of {size} bytes; the file is truncated, "
                        "get it again")
    return np.frombuffer(content, file.dtype).reshape(shape).astype(file.dtype.newbyteorder("="))


def unpack_nifti(volume: ImageVolume) -> bytes:
    """The whole unpacked file, never more than its header declares; a gzip stream has no way to a slice in its middle."""
    file = volume.source
    needed = file.offset + volume.slices * volume.height * volume.width * file.dtype.itemsize
    free = free_memory()
    if free is not None and 2 * needed > free:
        raise DataError(f"{shown(file.path)}: unpacking it needs about {2 * needed / 2**30:.3g} GiB of memory and "
                        f"{free / 2**30:.3g} GiB are free; unpack it on disk (gunzip) and give the .nii")
    return _unpack(file.path, needed)


def _unpack(path: str, size: int) -> bytes:
    """The first `size` bytes of a gzip file of one or several members."""
    parts, left = [], size
    with reading(path, "gzip stream"), open(path, "rb") as stream:
        unpacker, packed = zlib.decompressobj(31), b""
        while left > 0:
            packed = packed or stream.read(_CHUNK)
            if not packed:
                break
            if unpacker.eof:
                unpacker = zlib.decompressobj(31)
            part = unpacker.decompress(packed, left)
            packed = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            parts.append(part)
            left -= len(part)
    return b"".join(parts)

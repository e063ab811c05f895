"""The safetensors format: a length, a JSON header, and the bytes of the tensors. Read by hand, nothing is run."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import WeightsError, shown

LARGEST_HEADER = 100_000_000  # the format's own limit
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
           "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1"}


def read_safetensors(path: str) -> dict[str, np.ndarray]:
    """All tensors of a `.safetensors` file; bfloat16 becomes float32, the rest keeps its type.

    Raises:
        WeightsError: the header does not describe exactly the bytes that follow it.
    """
    with open(path, "rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        entries, start = _header(path, handle, size)
        _check_cover(path, entries, size - start)
        return {name: _tensor(handle, start, *entry) for name, entry in entries.items()}


def safetensors_table(path: str) -> list[tuple[str, tuple[int, ...], str]]:
    """(name, shape, type) of the tensors, without reading them."""
    with open(path, "rb") as handle:
        entries, _ = _header(path, handle, os.fstat(handle.fileno()).st_size)
    return [(name, shape, kind) for name, (kind, shape, _, _) in entries.items()]


def _header(path: str, handle: Any, size: int) -> tuple[dict[str, tuple[str, tuple[int, ...], int, int]], int]:
    """{name: (type, shape, begin, end)} and where the data begin."""
    (length,) = struct.unpack("<Q", handle.read(8))
    if length > min(LARGEST_HEADER, size - 8):
        raise WeightsError(f"{shown(path)}: truncated, its header alone needs {length} bytes and the file has {size}; "
                           "download it again.")
    with damaged(path):
        header = json.loads(handle.read(length), object_pairs_hook=_unique)
        header.pop("__metadata__", None)
        return {name: _entry(value) for name, value in header.items()}, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _entry(value: dict[str, Any]) -> tuple[str, tuple[int, ...], int, int]:
    kind, shape, (begin, end) = value["dtype"], tuple(value["shape"]), value["data_offsets"]
    if kind not in _DTYPES:
        raise ValueError(f"the type {str(kind)[:20]} is not known here; float32 is")
    if any(type(n) is not int or n < 0 for n in (*shape, begin, end)):
        raise ValueError("sizes and offsets must be whole numbers of at least 0")
    if end - begin != math.prod(shape) * np.dtype(_DTYPES[kind]).itemsize:
        raise ValueError(f"a tensor of shape {shape} and type {kind} cannot have {end - begin} bytes")
    return kind, shape, begin, end


def _check_cover(path: str, entries: dict[str, tuple], size: int) -> None:
    """The tensors lie side by side and fill the file: nothing is read twice, nothing is hidden in between."""
    position = 0
    for _, _, begin, end in sorted(entries.values(), key=lambda entry: entry[2:]):
        if begin != position:
            raise WeightsError(f"{shown(path)}: its tensors overlap or leave gaps at byte {begin}; the file is damaged or "
                               "hostile, get it from its source.")
        position = end
    if position != size:
        raise WeightsError(f"{shown(path)}: truncated or damaged, holds {size} bytes of the {position} its header declares; "
                           "download it again.")


def _tensor(handle: Any, start: int, kind: str, shape: tuple[int, ...], begin: int, end: int) -> np.ndarray:
    handle.seek(start + begin)
    array = np.frombuffer(handle.read(end - begin), dtype=_DTYPES[kind])
    if kind == "BF16":  # the upper half of a float32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.reshape(shape)


@contextmanager
def damaged(path: str) -> Iterator[None]:
    """What a broken or hostile file makes Python raise, as one sentence."""
    try:
        yield
    except WeightsError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, EOFError) as error:
        raise WeightsError(f"{shown(path)}: damaged or hostile ({str(error)[:200] or type(error).__name__}); get it from "
                           "its source again.") from error

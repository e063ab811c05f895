"""Whether a volume fits into this machine's memory, asked before anything is allocated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import DataError, shown
from ..machine import free_memory
from .index import Volume

# k-space, its masked copy, the transform's input and output, magnitudes: what lives at once for one slice.
_COPIES = 6
_COMPLEX64 = 8


def memory_shortage(volume: Volume, slices_kept: int = 0) -> str:
    """A sentence with both numbers when the volume needs more memory than is free; empty when it fits.

    Args:
        volume: its header tells the sizes.
        slices_kept: slices whose k-space is held at the same time, beside the one being worked on.
    """
    one = volume.height * volume.width * (volume.coils or 1) * _COMPLEX64
    needed, free = one * (_COPIES + slices_kept), free_memory()
    if free is None or needed <= free:
        return ""
    return (f"its slices of {volume.height} x {volume.width} need about {needed / 2**30:.3g} GiB of memory and "
            f"{free / 2**30:.3g} GiB are free; use a machine with more, or cut the volume into smaller ones")


def check_volumes_fit(volumes: Iterable[Volume]) -> None:
    """DataError for the first volume a slice of which needs more memory than is free."""
    for volume in volumes:
        shortage = memory_shortage(volume)
        if shortage:
            raise DataError(f"{shown(volume.path)}: {shortage}")


def check_slices_fit(volumes: Iterable[Any], bytes_per_pixel: float) -> None:
    """DataError where the largest slice, worked on with so many bytes for each pixel, needs more memory than is free.

    Args:
        volumes: with `name`, `height` and `width`.
    """
    largest, free = max(volumes, key=lambda v: v.height * v.width), free_memory()
    needed = largest.height * largest.width * bytes_per_pixel
    if free is not None and needed > free:
        raise DataError(f"{shown(largest.name)}: its slices of {largest.height} x {largest.width} need about "
                        f"{needed / 2**30:.3g} GiB of memory and {free / 2**30:.3g} GiB are free; use a machine with more, "
                        "or cut them into smaller ones")

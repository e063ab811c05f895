"""What is wrong with single slices of k-space, told by `inspect` and `check`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any


def examine(volume: Any, reader: Any, i: int) -> tuple[list[str], list[str]]:
    """(why slice `i` or the stored images that belong to it cannot be used, what is odd about them), empty where all is well."""
    from ..data import examine_slice
    from ..errors import DataError

    unusable, images = [], []
    for key, shape in volume.image_keys.items():
        try:
            images.append(reader.target(replace(volume, target_key=key, target_shape=shape), i))
        except DataError as error:
            unusable.append(str(error))
    try:
        kspace = reader.kspace(volume, i)
    except DataError as error:
        return [*unusable, str(error)], []
    odd = [] if kspace.any() else ["empty: every sample is zero"]
    return unusable, [*odd, *examine_slice(kspace, images[0] if images else None)]

"""What is wrong with single slices of k-space, told by `inspect` and `check`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any


def _beside(volume: Any, reader: Any) -> list[Any]:
    """What reads the slice's own coil maps and mask, where the file has them."""
    from ..errors import DataError

    def maps_of(key: str) -> Any:
        def read(volume: Any, i: int) -> Any:
            maps = reader.coil_maps(volume, key, i)
            if not maps.any() and reader.kspace(volume, i).any():
                raise DataError(f"{key} is zero everywhere")
            return maps

        return read

    found = [maps_of(key) for key in ("sens_maps", "maps") if volume.coils and key in volume.extra_keys]
    return [*found, *([reader.sampling_mask] if "masks" in volume.extra_keys else [])]


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
    kspace = None
    for read in (reader.kspace, *_beside(volume, reader)):
        try:
            found = read(volume, i)
            kspace = found if kspace is None else kspace
        except DataError as error:
            return [*unusable, str(error)], []
    odd = [] if kspace.any() else ["empty: every sample is zero"]
    return unusable, [*odd, *examine_slice(kspace, images[0] if images else None)]

"""Fully sampled k-space written back undersampled, as test data are given to others: without images, without identifiers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from ..files import hdf5_when_complete
from .index import Volume, output_size
from .masking import Masking, choose_mask
from .memory import memory_shortage
from .slices import SliceReader

_MAPS = ("sens_maps", "maps")


def check_measured(mask: np.ndarray, acceleration: Any) -> None:
    """UsageError for a mask without a single sampled column."""
    if not mask.any():
        raise UsageError(f"At {acceleration}x none of {len(mask)} columns would be sampled. Take a smaller acceleration.")


def save_undersampled(volume: Volume, reader: SliceReader, masking: Masking, path: Any, patient: str) -> np.ndarray:
    """Write `kspace` complex64, 0 where not sampled, `mask` bool (W,), and the file's own coil maps.

    Args:
        volume, reader: fully sampled k-space.
        masking: the rule.
        path: the final name; appears when it is complete.
        patient: stands for the patient's identifier.

    Returns:
        The mask.

    Raises:
        DataError: the k-space is undersampled already or has masks of its own; a slice is unusable; memory is short.
        UsageError: the mask samples nothing.
        ResourceError: it could not be written.
    """
    own_maps = set(_MAPS) & set(volume.extra_keys if volume.coils else ())
    shortage = memory_shortage(volume, (2 + len(own_maps)) * volume.slices)  # what is read, and the file before it is written
    if shortage:
        raise DataError(f"{volume.name}: {shortage}")
    kspace = [reader.kspace(volume, i) for i in range(volume.slices)]
    mask, note = choose_mask(volume, kspace, masking)
    if "masks" in volume.extra_keys:
        note = "it has masks of its own for its slices"
    if note or mask is None:
        raise DataError(f"{volume.name}: expected fully sampled k-space; {note}")
    check_measured(mask, masking.accelerations)
    height, width = output_size(volume)
    with hdf5_when_complete(path) as file:
        stored = file.create_dataset("kspace", (len(kspace), *kspace[0].shape), np.complex64)
        for i, k in enumerate(kspace):
            stored[i] = k * mask
        file["mask"] = mask
        for key in own_maps:
            maps = file.create_dataset(key, stored.shape, np.complex64)
            for i in range(volume.slices):
                maps[i] = reader.coil_maps(volume, key, i)
        file.attrs.update({"patient_id": patient, "image_height": height, "image_width": width,
                           "sampled_fraction": float(mask.mean()),
                           **{f"mask_{name}": str(value) for name, value in masking.as_attributes().items()}})
        if volume.attributes.get("acquisition"):
            file.attrs["acquisition"] = volume.attributes["acquisition"]
    return mask

"""Reconstructions on disk: complete under their final name, or not there at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, ResourceError, UsageError, shown
from ..files import hdf5_when_complete
from ..hdf5 import get_dataset, open_hdf5

DATASET = "reconstruction"


def save_reconstruction(
    path: Any,
    reconstruction: np.ndarray,
    mask: np.ndarray | None = None,
    attributes: Mapping[str, Any] | None = None,
    alias: str | None = None,
) -> Path:
    """Write one volume as HDF5 with the dataset `reconstruction`.

    Args:
        path: the final name; an existing file is replaced only when the new one is complete.
        reconstruction: real (slices, H, W), finite; written as float32, in the units of the k-space.
        mask: bool (W,) that was applied, kept as dataset `mask`.
        attributes: plain values for the file's attributes; never patient identifiers.
        alias: a second name for the dataset, the same array: the course's `recon_4af` for `kspace_4af`.

    Raises:
        DataError: the array is not a finite volume.
        ResourceError: it could not be written; nothing is left behind.
    """
    reconstruction = np.asarray(reconstruction)
    if reconstruction.ndim != 3 or not np.isfinite(reconstruction).all():
        raise DataError(f"Expected a finite volume (slices, H, W) to save, received {reconstruction.shape} "
                        f"with {np.count_nonzero(~np.isfinite(reconstruction))} values that are not finite.")
    with hdf5_when_complete(path) as file:
        file[DATASET] = reconstruction.astype(np.float32, copy=False)
        if alias is not None:
            file[alias] = file[DATASET]  # a hard link: no second copy
        if mask is not None:
            file["mask"] = np.asarray(mask, bool)
        file.attrs.update(attributes or {})
    return Path(path)


def check_folder(folder: Any) -> None:
    """Refuse a folder nothing can be written to, before any work is done for it. Makes nothing.

    Raises:
        UsageError: the path, or what should be a folder above it, is a file.
        ResourceError: no permission to write there.
    """
    folder = Path(folder)
    nearest = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
    if not nearest.is_dir():
        raise UsageError(f"{shown(nearest)} is a file or a broken link, expected a folder for the results. Name another.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY
        why = "the disk is mounted read-only" if read_only else f"no permission to write there (user id {os.geteuid()})"
        raise ResourceError(f"{shown(nearest)}: {why}. Name another folder, or make this one writable.")


def is_complete(path: Any, slices: int | None = None, dataset: str = DATASET) -> bool:
    """Whether a readable result of ours, with that many slices, stands under that name."""
    try:
        with open_hdf5(path) as file:
            shape = get_dataset(file, dataset).shape
    except DataError:
        return False
    return shape is not None and len(shape) > 2 and slices in (None, shape[0])

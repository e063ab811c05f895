"""HDF5 files of images, (slices, H, W): our own results, and arrays somebody saved as `hu`."""

from __future__ import annotations

import h5py
import numpy as np

from ...errors import DataError, shown
from ...hdf5 import get_dataset, guard, keys_found, open_hdf5, read_attributes
from ..index import file_stamp
from .find import SUPPORTED
from .volumes import ImageVolume, check_sizes

KEYS = ("hu", "reconstruction")
_EXPECTED = "real images (slices, H, W)"


def index_arrays(path: str, name: str, key: str | None = None) -> ImageVolume:
    """One file as a volume.

    Args:
        key: of the images; None takes `hu`, else `reconstruction`.

    A file whose attribute `units` is "grey" holds grey levels; everything else is taken as Hounsfield units.

    Raises:
        DataError: no such images; raw k-space among them, with what to do.
    """
    with open_hdf5(path) as file, guard(path, "reading the header"):
        key = key or _key(file)
        dataset = get_dataset(file, key, _EXPECTED)
        shape, dtype, attributes = dataset.shape or (), dataset.dtype, read_attributes(file)
    where = f"{shown(path)}: {shown(key)}"
    if len(shape) not in (2, 3) or dtype.kind not in "fiu":
        raise DataError(f"{where} must be {_EXPECTED}, found {dtype} of shape {shape}; name the images with --key")
    slices, height, width = shape if len(shape) == 3 else (1, *shape)
    check_sizes(where, slices, height, width)
    grey = attributes.get("units") == "grey"
    named = grey or key == "hu" or attributes.get("units") == "HU"
    return ImageVolume(
        paths=(path,), name=name, format="hdf5", kind="grey" if grey else "hu", slices=slices, height=height, width=width,
        rescale=((1.0, 0.0),) * slices, levels=f"{dtype} numbers",
        notes=() if named else (f"{shown(key)} does not name its unit; the values are taken as Hounsfield units",),
        person=str(attributes.get("patient_id", "")), attributes=attributes, stamps=(file_stamp(path),), source=key,
    )


def _key(file: h5py.File) -> str:
    names = list(file)
    found = next((key for key in KEYS if key in names), None)
    if found:
        return found
    if "dataset" in names:
        what = "this looks like raw ISMRMRD data, which is k-space and not an image"
    elif any(name.startswith("kspace") for name in names):
        what = "this is k-space, for the task masked"
    else:
        what = "name its images with --key"
    raise DataError(f"{shown(file.filename)}: no key hu or reconstruction; {what}; images are read from {SUPPORTED}; found "
                    f"{keys_found(file)}")


def read_array(volume: ImageVolume, i: int) -> np.ndarray:
    """Slice i as it is stored, (height, width)."""
    path = volume.paths[0]
    with open_hdf5(path) as file, guard(path, f"reading slice {i}"):
        dataset = get_dataset(file, volume.source, _EXPECTED)
        if dataset.shape[-2:] != (volume.height, volume.width):
            raise DataError(f"{shown(path)}: changed since it was indexed; index the folder again")
        return np.asarray(dataset[i if len(dataset.shape) == 3 else ()])

"""Labels and arrays in HDF5 weight files whose type is looked at first: HDF5 crashes on some that are damaged."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from ..errors import WeightsError, shown
from ..hdf5 import MAX_ATTRIBUTE_BYTES, check_texts


def read_strings(owner: Any, key: str) -> list[str]:
    """The strings in an attribute that exists; none for an empty one.

    Raises:
        WeightsError: it holds something else, or more than 64 KiB.
    """
    attribute = owner.attrs.get_id(key)
    if attribute.shape is None or 0 in attribute.shape:  # HDF5 has no size for it and says so with an error
        return []
    kind = attribute.get_type().get_class()  # looked at before reading: a damaged type can end the process
    if kind != h5py.h5t.STRING or attribute.get_storage_size() > MAX_ATTRIBUTE_BYTES:
        raise WeightsError(f"{shown(owner.file.filename)}: {key} must be a short list of names; the file is damaged or "
                           "hostile, get it from its source.")
    check_texts(owner, attribute)
    values = np.asarray(owner.attrs[key]).reshape(-1)
    return [v.decode("utf-8", "surrogateescape") if isinstance(v, bytes) else str(v) for v in values]


def check_plain(dataset: h5py.Dataset) -> None:
    """WeightsError if the elements are lists, strings or references of their own; nothing is read."""
    if dataset.dtype.kind == "O":
        raise WeightsError(f"{shown(dataset.file.filename)}: {shown(dataset.name)} holds no numbers; expected an array of "
                           "float32. The file is damaged or no weights; get it from its source.")


def read_label(owner: Any, key: str) -> str | None:
    """A single string, None where there is none or it is something else."""
    if key not in owner.attrs:
        return None
    try:
        return "".join(read_strings(owner, key))
    except WeightsError:
        return None

"""What a file given as weights really is, told by its content; one clear sentence where it is not weights."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py

from ..errors import DataError, WeightsError, shown
from ..hdf5 import check_tree, file_error, guard, keys_found, open_hdf5
from .keras_files import ARCHIVE_MEMBER, archive_errors, keras_arrays
from .legacy_files import has_names
from .safetensors_file import LARGEST_HEADER
from .sources import hint, local_file

LEGACY = "Keras 2 weights (h5)"
LEGACY_MODEL = "Keras 2 whole model (h5)"
KERAS = "Keras 3 weights (.weights.h5)"
ARCHIVE = "Keras 3 whole model (.keras)"
TORCH = "PyTorch"
SAFETENSORS = "safetensors"
NPZ = "NumPy npz"
CHECKPOINT = "TensorFlow checkpoint"

_TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_TABLE_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_IMAGE_KEYS = ("kspace", "kspace_4af", "kspace_8af", "reconstruction", "reconstruction_esc", "reconstruction_rss")
_IMAGES = (
    (0, b"\x93NUMPY", "a single NumPy array (.npy)"),
    (128, b"DICM", "a DICOM image"),
    (344, b"n+1\x00", "a NIfTI image"),
)


@dataclass(frozen=True)
class Source:
    """A file of weights: `format` is one of the names above, `path` what its reader takes (a prefix for a checkpoint)."""

    format: str
    path: str


@contextmanager
def as_weights_error() -> Iterator[None]:
    """A broken file that was given as weights is an error of the weights."""
    try:
        yield
    except DataError as error:
        raise WeightsError(str(error).replace("not an HDF5 file but", "not a weight file but")) from error


def find_source(path: Any) -> Source:
    """Look at a path, or what a record's name or an address stands for, and tell what kind of weights it holds.

    Raises:
        WeightsError: it is missing, damaged, or something else than weights; the message says what.
        UsageError, ResourceError: see `sources.local_file`.
    """
    path = local_file(path)
    with as_weights_error():
        if not os.path.lexists(path) and os.path.isfile(f"{path}.index"):
            return Source(CHECKPOINT, path)
        try:
            mode = os.stat(path).st_mode
            if stat.S_ISDIR(mode):
                raise _folder(path)
            if stat.S_ISREG(mode):
                with open(path, "rb") as handle:
                    found = _by_first_bytes(path, handle.read(512), os.path.getsize(path))
                if found:
                    return found
        except OSError as error:
            raise DataError(f"{file_error(path, error)}{hint(path)}") from error
        return Source(_hdf5_format(path), path)


def _by_first_bytes(path: str, head: bytes, size: int) -> Source | None:
    if head.startswith(b"PK"):
        return Source(_zip_format(path), path)
    if head[:1] == b"\x80" and head[2:].startswith(_TORCH_MAGIC):
        return Source(TORCH, path)
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= LARGEST_HEADER:
        return Source(SAFETENSORS, path)
    for offset, magic, what in _IMAGES:
        if head[offset:].startswith(magic):
            raise WeightsError(f"{shown(path)}: {what}, not weights. Give the file with the network's weights.")
    return _checkpoint_part(path, size)


def _checkpoint_part(path: str, size: int) -> Source | None:
    with open(path, "rb") as handle:
        handle.seek(max(0, size - len(_TABLE_MAGIC)))
        is_index = handle.read() == _TABLE_MAGIC
    if is_index and path.endswith(".index"):
        return Source(CHECKPOINT, path.removesuffix(".index"))
    prefix, found, _ = path.rpartition(".data-")
    if found and os.path.isfile(f"{prefix}.index"):
        raise WeightsError(f"{shown(path)}: one part of a TensorFlow checkpoint. Give its prefix, {shown(prefix)}.")
    return None


def _zip_format(path: str) -> str:
    with archive_errors(path), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if ARCHIVE_MEMBER in names:
        return ARCHIVE
    if any(name.endswith("data.pkl") for name in names):
        return TORCH
    if names and all(name.endswith(".npy") for name in names):
        return NPZ
    listed = ", ".join(shown(name) for name in names[:3]) or "nothing"
    raise WeightsError(f"{shown(path)}: a zip archive without {ARCHIVE_MEMBER} (it holds {listed}); expected a .keras file "
                       "of Keras 3, a PyTorch file or an .npz. Unpack it and give the weights inside.")


def _hdf5_format(path: str) -> str:
    with open_hdf5(path) as file, guard(path, "looking for weights"):
        check_tree(file)
        if has_names(file):
            return LEGACY
        if isinstance(file.get("model_weights"), h5py.Group) and has_names(file["model_weights"]):
            return LEGACY_MODEL
        images = [key for key in _IMAGE_KEYS if key in file]
        if images:
            raise WeightsError(f"{shown(path)}: a volume of images (fastMRI layout, key {images[0]}), not weights. Give it "
                               "as data.")
        if keras_arrays(file):
            return KERAS
        raise WeightsError(f"{shown(path)}: an HDF5 file without weights of Keras; it holds {keys_found(file)}. Give the "
                           "file that save_weights wrote.")


def _folder(path: str) -> WeightsError:
    inside = os.path.join(path, "variables", "variables")
    if os.path.isfile(f"{inside}.index"):
        return WeightsError(f"{shown(path)}: a SavedModel folder. Give the checkpoint inside it: {shown(inside)}.")
    prefixes = sorted(name.removesuffix(".index") for name in os.listdir(path) if name.endswith(".index"))
    if prefixes:
        return WeightsError(f"{shown(path)}: a folder. Give the prefix of a checkpoint in it, for example "
                            f"{shown(os.path.join(path, prefixes[-1]))}.")
    return WeightsError(f"{shown(path)}: a folder, expected a file with weights. Give the file inside it.")

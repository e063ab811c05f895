"""Finds volumes of magnitude images under a path and reads their headers; k-space is not needed and not looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...errors import DataError, shown
from ...hdf5 import get_dataset, guard, keys_found, open_hdf5, read_attributes
from ..find import Paths, Skipped, find_files, reasons, skip
from ..index import file_stamp
from ..layout import target_layout

KEYS = ("reconstruction_rss", "reconstruction_esc", "reconstruction")


@dataclass(frozen=True)
class MagnitudeVolume:
    """One file of images, in the terms `SliceReader.target` reads by.

    Attributes:
        path, name: the file, and its path relative to the folder given.
        target_key: dataset of the images. target_shape: their (height, width).
        slices: how many there are.
        attributes: the file's plain attributes ("max", "patient_id", ...).
        notes: what the user should know about how the file is read.
        stamp: size and modification time, by which a reader notices that the file changed.
    """

    path: str
    name: str
    target_key: str
    target_shape: tuple[int, int]
    slices: int
    attributes: dict = field(default_factory=dict, compare=False)
    notes: tuple[str, ...] = ()
    stamp: tuple[int, int] | None = None

    @property
    def height(self) -> int:
        return self.target_shape[0]

    @property
    def width(self) -> int:
        return self.target_shape[1]

    @property
    def stamps(self) -> tuple[tuple[int, int], ...]:
        """The stamps of all files a volume lies in: one here, or none."""
        return (self.stamp,) if self.stamp else ()

    @property
    def patient(self) -> str:
        """What volumes of one person share, so that a split keeps them together."""
        return str(self.attributes.get("patient_id", "")).strip() or self.name


@dataclass(frozen=True)
class MagnitudeIndex:
    """The volumes found under a path and what was set aside."""

    volumes: tuple[MagnitudeVolume, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def slices(self) -> int:
        return sum(volume.slices for volume in self.volumes)


def index_magnitudes(path: Paths, key: str | None = None, strict: bool = False) -> MagnitudeIndex:
    """Read the headers of every HDF5 file of images under a path.

    Args:
        path: a file, a folder (with its subfolders) or a list of those.
        key: dataset of the images (slices, H, W); None takes `reconstruction_rss`, else `reconstruction_esc`, else
            `reconstruction`.
        strict: raise for the first file that cannot be used instead of setting it aside.

    Returns:
        The volumes sorted by name, at least one, and what was skipped.

    Raises:
        DataError: nothing usable.
    """
    files, skipped = find_files(path)
    if strict and skipped:
        raise DataError(f"{shown(skipped[0].name)}: {skipped[0].reason}")
    volumes = []
    for file_path, name in files:
        try:
            volumes.append(_read_header(file_path, name, key))
        except DataError as error:
            if strict:
                raise
            skipped.append(skip(name, file_path, error))
    if not volumes:
        raise DataError(f"no usable volume among {len(skipped)} files: {reasons(skipped)}")
    return MagnitudeIndex(tuple(volumes), tuple(skipped))


def calculate_slices(path: Paths, key: str | None = None) -> int:
    """How many slices the files under a path hold, from their headers alone; arguments and errors of `index_magnitudes`."""
    return index_magnitudes(path, key).slices


def _read_header(path: str, name: str, key: str | None) -> MagnitudeVolume:
    stamp = file_stamp(path)
    with open_hdf5(path) as file, guard(path, "reading the header"):
        names = list(file)  # `key in file` would follow links out of the file
        key = key or next((k for k in KEYS if k in names), None)
        if key is None:
            raise DataError(f"{shown(path)}: no key {', '.join(KEYS)}; {_advice(names)}; found {keys_found(file)}")
        dataset = get_dataset(file, key, "real images (slices, H, W)")
        slices = dataset.shape[0] if dataset.shape and len(dataset.shape) == 3 else 1
        where = f"{shown(path)}: {shown(key)}"
        if not slices:
            raise DataError(f"{where} has no slices (shape {dataset.shape}); leave the file out")
        shape, notes = target_layout(dataset, where, slices)
        attributes = read_attributes(file)
    return MagnitudeVolume(path, name, key, shape, slices, attributes, notes, stamp)


def _advice(names: list[str]) -> str:
    if any(name.startswith("kspace") for name in names):
        return "it holds k-space without images: reconstruct it first, as with --model zero_filled"
    return "name the images (--target, or --key of reconstruct)"

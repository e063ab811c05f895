"""Finds the volumes under a path and reads their headers, so that a whole folder is known before any work starts.

Only attributes, shapes, types and the small mask are read. A file that cannot be used is set aside with the reason;
`strict=True` raises it instead.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from ..errors import DataError, shown
from ..hdf5 import file_error, get_dataset, guard, keys_found, open_hdf5, read_attributes
from ..transforms import crop_size
from .find import Paths, Skipped, find_files, reasons, skip
from .layout import KSPACE_EXPECTED, check_complex_axis, kspace_layout, read_mask, target_layout

# Keys of the coursework test files, which hold k-space that is already undersampled.
_IMAGE_KEYS = ("reconstruction_esc", "reconstruction_rss")
_EXTRA_KEYS = ("sens_maps", "maps", "masks")
_UNDERSAMPLED_KEYS = ("kspace_4af", "kspace_8af")


@dataclass(frozen=True)
class Volume:
    """One usable file: where it is, what it holds and in which sizes.

    Attributes:
        path: the file.
        name: its path relative to the folder given, "sub/file1.h5", or its bare name.
        kspace_key, slices, coils, height, width: the k-space; `coils` is None for single-coil data.
        target_key, target_shape: the target images and their (height, width), None when none are asked for.
        attributes: the file's plain attributes ("max", "patient_id", ...).
        mask: bool (width,) where the file has one.
        notes: what the user should know about how the file is read.
        stamp: size and modification time, by which a reader notices that the file changed.
        image_keys: stored reconstructions by key with their (height, width), asked for or not.
        extra_keys: which of sens_maps, maps, masks the file has; they are checked when they are read.
    """

    path: str
    name: str
    kspace_key: str
    slices: int
    coils: int | None
    height: int
    width: int
    target_key: str | None = None
    target_shape: tuple[int, int] | None = None
    attributes: dict = field(default_factory=dict, compare=False)
    mask: np.ndarray | None = field(default=None, compare=False, repr=False)
    notes: tuple[str, ...] = ()
    stamp: tuple[int, int] | None = None
    image_keys: dict = field(default_factory=dict, compare=False)
    extra_keys: tuple[str, ...] = ()

    @property
    def undersampled(self) -> bool:
        """Whether the key says that columns were left out already (the course's `kspace_4af`, `kspace_8af`)."""
        return self.kspace_key in _UNDERSAMPLED_KEYS

    @property
    def stamps(self) -> tuple[tuple[int, int], ...]:
        """The stamps of all files a volume lies in: one here, or none."""
        return (self.stamp,) if self.stamp else ()

    @property
    def patient(self) -> str:
        """What volumes of one person share, so that a split keeps them together."""
        return str(self.attributes.get("patient_id", "")).strip() or self.name


@dataclass(frozen=True)
class Index:
    """The volumes found under a path and what was set aside."""

    volumes: tuple[Volume, ...]
    skipped: tuple[Skipped, ...]

    @property
    def slices(self) -> int:
        return sum(volume.slices for volume in self.volumes)


def output_size(volume: Volume, crop: Any = None) -> tuple[int, int]:
    """(h, w) a volume's images have: `crop` if given, else the stored target's size, else fastMRI's rule."""
    stored = volume.target_shape or next(iter(volume.image_keys.values()), None) or _noted_size(volume)
    if stored and (stored[0] > volume.height or stored[1] > volume.width):
        stored = None  # interpolated beyond the k-space: not a size these samples can fill
    if crop is None:
        return stored or crop_size(volume.height, volume.width)
    size = (int(crop), int(crop)) if np.isscalar(crop) else tuple(int(n) for n in crop)
    limit = volume.target_shape or (volume.height, volume.width)
    if len(size) != 2 or not all(0 < s <= n for s, n in zip(size, limit)):
        raise DataError(f"{volume.name}: the crop {size} does not fit into its images {limit}. Ask for a smaller one.")
    return size


def _noted_size(volume: Volume) -> tuple[int, int] | None:
    """The size of the images whose k-space `undersampled.save_undersampled` has written."""
    size = tuple(volume.attributes.get(name) for name in ("image_height", "image_width"))
    return size if all(isinstance(n, int) and n > 0 for n in size) else None


def check_single_coil(volume: Volume) -> None:
    """DataError for k-space of several coils, where one is expected."""
    if volume.coils is not None:
        raise DataError(
            f"{volume.name} has a coil axis ({volume.coils} coils); this model takes single-coil k-space (slices, H, W). Use one "
            "that knows coils (cg_sense, modl, deep_basis_pursuit), or combine them (--combine rss or --combine sense)"
        )


def file_stamp(path: str) -> tuple[int, int]:
    """Size and modification time of a file."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise file_error(path, error) from error
    return status.st_size, status.st_mtime_ns


def index_volumes(
    path: Paths,
    target: str | None = None,
    kspace_key: str | None = None,
    strict: bool = False,
    complex_axis: str | None = None,
) -> Index:
    """Reads the headers of every HDF5 file under a path.

    Args:
        path: a file, a folder (with its subfolders) or a list of those.
        target: None for no target, "kspace" when it will be computed from the full k-space, or the key of the target
            images, for example "reconstruction_esc".
        kspace_key: the key of the k-space; None takes `kspace`, else the one of `kspace_4af` and `kspace_8af` present.
        strict: raise for the first file that cannot be used instead of setting it aside.
        complex_axis: "last" reads real arrays whose last axis is (real, imaginary).

    Returns:
        The volumes sorted by name, at least one, and what was skipped.
    """
    check_complex_axis(complex_axis)
    files, skipped = find_files(path)
    if strict and skipped:
        raise DataError(f"{shown(skipped[0].name)}: {skipped[0].reason}")
    volumes = []
    for file_path, name in files:
        try:
            volumes.append(_read_header(file_path, name, target, kspace_key, complex_axis))
        except DataError as error:
            if strict:
                raise
            skipped.append(skip(name, file_path, error))
    if not volumes:
        raise DataError(f"no usable volume among {len(skipped)} files: {reasons(skipped)}")
    return Index(tuple(volumes), tuple(skipped))


def _read_header(path: str, name: str, target: str | None, kspace_key: str | None, complex_axis: str | None) -> Volume:
    stamp = file_stamp(path)
    with open_hdf5(path) as file, guard(path, "reading the header"):
        key = kspace_key or _kspace_key(file)
        where = f"{shown(path)}: {shown(key)}"
        layout = kspace_layout(get_dataset(file, key, KSPACE_EXPECTED), where, complex_axis)
        target_key = None if target == "kspace" else target
        target_shape, target_notes = _target(file, target_key, layout.slices)
        mask, mask_notes = _mask(file, layout.height, layout.width)
        notes = layout.notes + target_notes + mask_notes
        attributes, images = read_attributes(file), _stored_images(file, layout.slices)
        extra = tuple(name for name in _EXTRA_KEYS if name in list(file))
    return Volume(path, name, key, *layout.sizes, target_key, target_shape, attributes, mask, notes, stamp, images, extra)


def _stored_images(file: h5py.File, slices: int) -> dict[str, tuple[int, int]]:
    """Sizes of the reconstructions a file holds; an unusable one counts as absent until it is asked for as target."""
    found = {}
    for key in _IMAGE_KEYS:
        with suppress(DataError):
            found[key] = target_layout(get_dataset(file, key, "real images"), key, slices)[0]
    return found


def _kspace_key(file: h5py.File) -> str:
    names = list(file)
    undersampled = [key for key in _UNDERSAMPLED_KEYS if key in names]
    if "kspace" in names:
        return "kspace"
    if len(undersampled) == 1:
        return undersampled[0]
    where = f"{shown(file.filename)}: no key kspace"
    if undersampled:
        raise DataError(f"{where}, but both {' and '.join(undersampled)}; name one of them with --key")
    raise DataError(f"{where}; {_known_layout(file, set(names))}; found {keys_found(file)}")


def _known_layout(file: h5py.File, names: set[str]) -> str:
    """What a file without k-space probably is, and what to do with it."""
    if names & {"model_weights", "layers", "_layer_checkpoint_dependencies"} or "layer_names" in file.attrs:
        return "this is a Keras weight file: give it as weights, not as data"
    if names >= {"imgs", "ksp"}:
        return "this is the DeepInPy layout (imgs, ksp, maps, masks): name its k-space with --key ksp"
    if "dataset" in names:
        return "this looks like raw ISMRMRD data: convert it to fastMRI's layout (kspace) first"
    if "#refs#" in names:
        return "this looks like a MATLAB file: name its k-space with --key"
    if any(name.startswith(("reconstruction", "recon_")) for name in names):
        return ("it holds images only, as a result of reconstruct does: they can be evaluated, and enlarged by four with "
                "--model srrescycgan, but not reconstructed")
    return "name its k-space with --key"


def _target(file: h5py.File, key: str | None, slices: int) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
    if key is None:
        return None, ()
    where = f"{shown(file.filename)}: {shown(key)}"
    try:
        dataset = get_dataset(file, key, "real images")
    except DataError as error:
        names = list(file)  # `key in file` would follow links out of the file
        if key in names:
            raise
        raise DataError(f"{error}; {_target_advice(names)}") from error
    return target_layout(dataset, where, slices)


def _target_advice(names: list[str]) -> str:
    others = [name for name in names if name.startswith("reconstruction")]
    if others:
        return f"choose {' or '.join(others)} as the target"
    return "looks like a test split: no target; use reconstruct, not train"


def _mask(file: h5py.File, height: int, width: int) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if "mask" not in list(file):
        return None, ()
    return read_mask(get_dataset(file, "mask", "a mask"), f"{shown(file.filename)}: mask", height, width)

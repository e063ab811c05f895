"""Results in the format of their input: only what the network changed is changed, in the file's own numbers.

The stored numbers are moved by the difference between output and input, so that a network that changes nothing gives back
the file's numbers exactly, and padding stays as it was.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, UsageError, shown
from ...files import write_whole
from ..output import is_complete, save_reconstruction
from .dicom_output import write_derived
from .dicom_pixels import encode_frame
from .extras import load, reading
from .find import sniff, stem
from .reader import ImageReader, StoredSlice
from .volumes import ImageVolume

FORMATS = ("same", "hdf5", "dicom", "nifti", "png")
_ENDINGS = {"nifti": (".nii", ".nii.gz"), "png": (".png",), "dicom": ("",)}
_DESCRIPTION = 79  # of the 80 bytes a NIfTI header has for it


def result_path(volume: ImageVolume, folder: Any, format: str = "hdf5") -> Path:
    """Where the result of a volume goes: a file, or the folder of a DICOM series.

    Raises:
        UsageError: no such format, or one the volume cannot be written in.
    """
    wanted = _format(volume, format)
    if wanted == "hdf5":
        return Path(folder) / f"{stem(volume.name)}.h5"
    packed = volume.format == "nifti" and volume.source.packed
    endings = (".nii.gz",) if packed else _ENDINGS[wanted]
    fits = volume.name.lower().endswith(endings) and (packed or not volume.name.lower().endswith(".gz"))
    return Path(folder) / (volume.name if fits else volume.name + endings[0])


def _format(volume: ImageVolume, format: str) -> str:
    if format not in FORMATS:
        raise UsageError(f"The format must be one of {', '.join(FORMATS)}, received {format!r}.")
    wanted = volume.format if format == "same" else format
    if wanted not in ("hdf5", volume.format):
        raise UsageError(f"{shown(volume.name)} is {volume.format} and can be written as {volume.format} or hdf5, received "
                         f"{format!r}: another format would lose its header. Use --format same or hdf5.")
    return wanted


def is_saved(volume: ImageVolume, folder: Any, format: str = "hdf5") -> bool:
    """Whether the whole result of a volume stands in the folder."""
    path, wanted = result_path(volume, folder, format), _format(volume, format)
    if wanted == "hdf5":
        return is_complete(path, volume.slices)
    try:
        return all(sniff(str(file)) == wanted for file in result_files(volume, folder, format))
    except DataError:
        return False


def result_files(volume: ImageVolume, folder: Any, format: str = "hdf5") -> list[Path]:
    """The files of the result: a DICOM series has its folder, everything else is one file."""
    path, series = result_path(volume, folder, format), len(volume.paths) > 1 and _format(volume, format) == "dicom"
    return [path / Path(p).name for p in volume.paths] if series else [path]


def save_volume(
    volume: ImageVolume,
    reader: ImageReader,
    output: np.ndarray,
    folder: Any,
    format: str = "hdf5",
    attributes: Mapping[str, Any] | None = None,
    software: str | None = None,
) -> tuple[Path, str]:
    """Write the result for a volume under its relative name; every file appears when it is complete.

    Args:
        volume, reader: the input, read again slice by slice.
        output: real (slices, H, W) in the volume's HU or grey levels, finite.
        folder: for the results, see `result_path`.
        format: "hdf5" writes dataset `reconstruction`, float32; "same", or the input's own: DICOM as a derived series, NIfTI
            with the same affine and type, PNG with the same bits.
        attributes: facts about how it was made, plain values; never patient identifiers.
        software: name and version, for formats with a place for it; None: this package's.

    Returns:
        (path, a note where numbers did not fit into the format, else "").

    Raises:
        UsageError: see `result_path`. DataError: the output is not a finite volume of that size.
        ResourceError: it could not be written.
    """
    path, wanted = result_path(volume, folder, format), _format(volume, format)
    output = np.asarray(output)
    if output.shape != (volume.slices, volume.height, volume.width) or not np.isfinite(output).all():
        raise DataError(f"{shown(volume.name)}: expected a finite result of {volume.slices} x {volume.height} x "
                        f"{volume.width}, received {output.shape} with {np.count_nonzero(~np.isfinite(output))} values that "
                        "are not finite.")
    facts = {"units": "HU" if volume.kind == "hu" else "grey", **(attributes or {})}
    if wanted == "hdf5":
        padded = [np.where(reader.padding(volume, i), np.float32(volume.air), image) for i, image in enumerate(output)]
        return save_reconstruction(path, np.stack(padded), None, facts), ""
    write = {"dicom": _save_dicom, "nifti": _save_nifti, "png": _save_png}[wanted]
    clipped = write(volume, reader, output, path, software or _this_software(), facts)
    return path, f"{clipped} values did not fit into {volume.levels} and were clipped" if clipped else ""


def _this_software() -> str:
    try:
        return f"tfrecon {version('tfrecon')}"
    except PackageNotFoundError:  # a copy that was never installed
        return "tfrecon"


def moved_numbers(stored: StoredSlice, output: np.ndarray, slope: float, limits: Any) -> tuple[np.ndarray, int]:
    """The file's numbers of a slice, moved by what changed; padding as it was.

    Args:
        limits: smallest and largest whole number, or None for floats.

    Returns:
        (numbers float64 or int64, how many were clipped to the limits).
    """
    change = np.where(stored.padding, 0.0, (output.astype(np.float64) - stored.values) / slope)
    if limits is None:
        return np.where(change == 0, stored.numbers, stored.numbers + change), 0
    moved = stored.numbers.astype(np.int64) + np.rint(np.clip(change, -(2.0**40), 2.0**40)).astype(np.int64)
    fitting = np.clip(moved, *limits)
    return np.where(stored.padding, stored.numbers, fitting), int(((moved != fitting) & ~stored.padding).sum())


def _save_dicom(
    volume: ImageVolume, reader: ImageReader, output: np.ndarray, path: Path, software: str, facts: Mapping[str, Any]
) -> int:
    series, clipped = load("pydicom", "DICOM").uid.generate_uid(), 0
    files = [path / Path(p).name for p in volume.paths] if len(volume.paths) > 1 else [path]
    told = "; ".join(f"{key} {value}" for key, value in facts.items())
    for target, source in zip(files, volume.paths):
        coded = []
        for i, (file, _) in enumerate(volume.source):
            if file.path == source:
                stored = reader.stored(volume, i)
                numbers, more = moved_numbers(stored, output[i], volume.rescale[i][0], file.written_range)
                clipped += more
                coded.append(encode_frame(numbers, stored.frame, file))
                described = file
        write_derived(target, described, coded, series, software, f"Made by {software}, research software: {told}")
    return clipped


def _save_nifti(
    volume: ImageVolume, reader: ImageReader, output: np.ndarray, path: Path, software: str, facts: Mapping[str, Any]
) -> int:
    file, parts, clipped = volume.source, [], 0
    limits = (int(np.iinfo(file.dtype).min), int(np.iinfo(file.dtype).max)) if file.dtype.kind in "iu" else None
    for i, image in enumerate(output):
        numbers, more = moved_numbers(reader.stored(volume, i), image, volume.rescale[i][0], limits)
        parts.append(numbers.astype(file.dtype).tobytes())
        clipped += more
    header = _nifti_header(file.header, software)
    content = b"".join([header, *parts])
    write_whole(path, gzip.compress(content, 6, mtime=0) if file.packed else content)
    return clipped


def _nifti_header(header: Any, software: str) -> bytes:
    """The source's header up to the first number, without its extensions and free texts, which may name the patient."""
    header = header.copy()
    header["descrip"] = f"derived by {software}".encode("ascii", "replace")[:_DESCRIPTION]
    for field in ("aux_file", "db_name"):
        if field in header.keys():
            header[field] = b""
    block = header.binaryblock
    header["vox_offset"] = offset = -(-(len(block) + 4) // 16) * 16
    return header.binaryblock.ljust(offset, b"\0")


def _save_png(
    volume: ImageVolume, reader: ImageReader, output: np.ndarray, path: Path, software: str, facts: Mapping[str, Any]
) -> int:
    limits = tuple(int(n) for n in volume.grey_range)
    numbers, clipped = moved_numbers(reader.stored(volume, 0), output[0], 1.0, limits)
    image = load("PIL.Image", "PNG").fromarray(numbers.astype(np.uint8 if limits[1] < 256 else np.uint16))
    content = io.BytesIO()  # or a full disk would pass for a damaged input
    with reading(volume.paths[0], "PNG image"):
        image.save(content, format="PNG")
    write_whole(path, content.getvalue())
    return clipped

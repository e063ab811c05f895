"""Finds the image volumes under a path and reads their headers, so that a whole folder is known before any work starts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...errors import DataError, shown
from ..find import Paths, Skipped, reasons, skip
from .arrays import index_arrays
from .dicom import read_dicom_header
from .dicom_series import check_grey, group_series
from .find import find_images
from .nifti import index_nifti
from .png import index_png
from .volumes import ImageIndex, ImageVolume
from .window import choose_window, parse_window


def index_images(path: Paths, window: Any = None, strict: bool = False, key: str | None = None) -> ImageIndex:
    """Read the headers of every DICOM, NIfTI, PNG and HDF5 image under a path.

    Args:
        path: a file, a folder (with its subfolders) or a list of those. The content tells the format, not the name.
        window: the window the volumes are wanted for, see `choose_window`; volumes it does not fit are set aside. None
            takes every volume, to look at.
        strict: raise for the first file that cannot be used instead of setting it aside.
        key: dataset of HDF5 files; None takes `hu`, else `reconstruction`.

    Returns:
        The volumes sorted by name, at least one, and what was skipped. The single-frame DICOM files of one series in one
        folder are one volume, ordered by position, under the folder's name.

    Raises:
        UsageError: no such window. DataError: nothing usable. ResourceError: the package for a format is missing.
    """
    if window is not None:
        parse_window(window)
    found, skipped = find_images(path)
    files = len(found) + len(skipped)
    if strict and skipped:
        raise DataError(f"{shown(skipped[0].name)}: {skipped[0].reason}")
    volumes, frames = [], []
    for file_path, name, kind in found:
        try:
            if kind == "dicom":
                frames.append((name, _checked_header(file_path)))
            else:
                volumes.append(_read_header(file_path, name, kind, key))
        except DataError as error:
            if strict:
                raise
            skipped.append(skip(name, file_path, error))
    series, copies = group_series(frames)
    volumes, unfit = _fitting(volumes + series, window, strict)
    skipped = [*skipped, *copies, *unfit]
    if not volumes:
        raise DataError(f"no usable image among {files} files: {reasons(skipped)}")
    _check_names(volumes)
    return ImageIndex(tuple(sorted(volumes, key=lambda volume: volume.name)), tuple(skipped), window)


def _checked_header(path: str) -> Any:
    header = read_dicom_header(path)
    check_grey(header)
    return header


def _read_header(path: str, name: str, kind: str, key: str | None) -> ImageVolume:
    if kind == "hdf5":
        return index_arrays(path, name, key)
    return (index_nifti if kind == "nifti" else index_png)(path, name)


def _fitting(volumes: list[ImageVolume], window: Any, strict: bool) -> tuple[list[ImageVolume], list[Skipped]]:
    """The volumes a window means something for, and the others with the reason."""
    if window is None:
        return volumes, []
    fitting, unfit = [], []
    for volume in volumes:
        try:
            choose_window(window, volume)
            fitting.append(volume)
        except DataError as error:
            if strict:
                raise
            unfit.append(Skipped(volume.name, str(error).removeprefix(f"{shown(volume.name)}: ")))
    return fitting, unfit


def _check_names(volumes: list[ImageVolume]) -> None:
    twice = [name for name, count in Counter(volume.name for volume in volumes).items() if count > 1]
    if twice:
        raise DataError(f"{len(twice)} names stand for two volumes each, first {shown(twice[0])}, so their results would "
                        "overwrite each other; move one of them to another folder")

"""Finds image files under a path, told by their first bytes and not by their names."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterable

from ...errors import DataError, shown
from ...hdf5 import file_error
from ..find import EXTENSIONS, Paths, Skipped, Walk, named, skip
from ..kaggle import path_error

SUPPORTED = "DICOM, NIfTI (.nii, .nii.gz), PNG and HDF5 with `hu` or `reconstruction`"
ENDINGS = (".dcm", ".dicom", ".ima", ".nii", ".nii.gz", ".png", *EXTENSIONS)
_HEAD = 352
_NIFTI = {(344, b"n+1\x00"), (4, b"n+2\x00")}
_PAIRED_NIFTI = {(344, b"ni1\x00"), (4, b"ni2\x00")}
_PNG = b"\x89PNG\r\n\x1a\n"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_BARE_DICOM = (b"\x02\x00\x00\x00UL", b"\x02\x00\x00\x00\x04\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00",
               b"\x08\x00\x00\x00")
_OTHERS = (
    (b"\xff\xd8\xff", "a JPEG image, whose grey levels were changed to save space; give the original"),
    (b"II*\x00", "a TIFF image; save it as 16-bit PNG"), (b"MM\x00*", "a TIFF image; save it as 16-bit PNG"),
    (b"version https://git-lfs", "a git-LFS pointer, not the file itself; run `git lfs pull` in its repository"),
    (b"NRRD", "an NRRD image; convert it to NIfTI"), (b"ObjectType", "a MetaImage header; convert it to NIfTI"),
)


def stem(name: str) -> str:
    """A volume's name without the ending of its format, by which results and targets find each other."""
    lower = name.lower()
    ending = max((e for e in ENDINGS if lower.endswith(e)), key=len, default="")
    return name[: len(name) - len(ending)] if len(ending) < len(name.rsplit("/", 1)[-1]) else name


def find_images(path: Paths) -> tuple[list[tuple[str, str, str]], list[Skipped]]:
    """The image files under a path as (path, name, format), sorted by name, and what was set aside while looking.

    A file that is named outright must be one; in folders others are passed over, and set aside with the reason where
    their name promises an image. `kaggle://owner/dataset` is that dataset's folder (see `data/kaggle.py`);
    patterns as in `data.find.find_files`.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        return _from_list(path)
    path, matched = named(path)
    if matched:
        return _from_list(matched)
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return _ImageWalk(path).images()
        return [(path, os.path.basename(path), sniff(path))], []
    except OSError as error:
        raise path_error(path, error) from error


def _from_list(paths: Iterable) -> tuple[list[tuple[str, str, str]], list[Skipped]]:
    found: dict[str, tuple[str, str, str]] = {}
    skipped: list[Skipped] = []
    for path in paths:
        files, more = find_images(path)
        skipped += more
        for item in files:
            if item[1] in found:
                raise DataError(f"{shown(found[item[1]][0])} and {shown(item[0])} share the name {shown(item[1])}, so their "
                                "results would overwrite each other; give their common folder instead")
            found[item[1]] = item
    if not found:
        raise DataError("no files given; expected a file, a folder or a list of files")
    return sorted(found.values(), key=lambda item: item[1]), skipped


class _ImageWalk(Walk):
    """The walk of the HDF5 index, with the content of every file deciding instead of its ending."""

    def __init__(self, top: str):
        self.formats: list[tuple[str, str, str]] = []
        super().__init__(top)

    def images(self) -> tuple[list[tuple[str, str, str]], list[Skipped]]:
        if not self.formats:
            raise DataError(f"no images in {shown(self.top)}, expected {SUPPORTED} ({self._contents()})")
        return sorted(self.formats, key=lambda item: item[1]), sorted(self.skipped, key=lambda item: item.name)

    def _entry(self, entry: os.DirEntry) -> None:
        try:
            self._sort_in(entry, os.path.splitext(entry.name)[1].lower(), entry.stat().st_mode)
        except OSError as error:
            self.skipped.append(skip(self._name(entry.path), entry.path, file_error(entry.path, error)))

    def _sort_in(self, entry: os.DirEntry, ending: str, mode: int) -> None:
        if stat.S_ISDIR(mode):
            (self.pending.append if entry.is_symlink() else self.pending.appendleft)(entry.path)
            return
        try:
            self.formats.append((entry.path, self._name(entry.path), sniff(entry.path)))
        except DataError as error:
            if entry.name.lower().endswith(ENDINGS) or not ending:
                self.skipped.append(skip(self._name(entry.path), entry.path, error))
            else:
                packed = ".tar" + ending  # ".tar.gz" says more than ".gz"
                self.others[packed if entry.name.lower().endswith(packed) else ending] += 1


def sniff(path: str) -> str:
    """dicom, nifti, png or hdf5, from the first bytes; DataError with what the file is instead."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise DataError(f"{shown(path)}: not a regular file ({stat.filemode(mode)}), expected {SUPPORTED}; give a file")
        with open(path, "rb") as file:
            head = file.read(4096)
            found = _format(head) or _format(unpacked_head(head)) or ("hdf5" if _has_hdf5_signature(file) else None)
    except OSError as error:
        raise file_error(path, error) from error
    if found is None:
        raise DataError(f"{shown(path)}: {_what_it_is(head)}; expected {SUPPORTED}")
    return found


def unpacked_head(head: bytes) -> bytes:
    """The first bytes of what a gzip file holds; empty when it is none."""
    if not head.startswith(b"\x1f\x8b"):
        return b""
    try:
        return zlib.decompressobj(31).decompress(head, 2 * _HEAD)
    except zlib.error:
        return b""


def _format(head: bytes) -> str | None:
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(_PNG):
        return "png"
    return "nifti" if any(head[at : at + 4] == magic for at, magic in _NIFTI) else None


def _has_hdf5_signature(file) -> bool:
    """At byte 0, 512, 1024 and so on, as HDF5 allows."""
    size, offset = os.fstat(file.fileno()).st_size, 0
    while offset + len(_HDF5) <= size:
        file.seek(offset)
        if file.read(len(_HDF5)) == _HDF5:
            return True
        offset = max(512, 2 * offset)
    return False


def _what_it_is(head: bytes) -> str:
    if not head:
        return "empty file (0 bytes)"
    if head.startswith(_BARE_DICOM):
        return ("a DICOM dataset without the preamble and the letters DICM at byte 128; write it again as a DICOM file, for "
                "example with dcmconv or gdcmconv")
    if any(head[at : at + 4] == magic for at, magic in _PAIRED_NIFTI):
        return "the header of a NIfTI pair (.hdr, .img); convert it to one .nii file"
    if head.startswith(b"\x1f\x8b"):
        return "a gzip file without a NIfTI image in it; unpack it"
    known = next((what for magic, what in _OTHERS if head.startswith(magic)), None)
    return known or f"no image this software reads (first bytes {head[:8].hex(' ')})"

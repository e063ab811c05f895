"""DICOM headers: what one file holds, where its pixels lie and what they mean, checked before any are read."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ...errors import DataError, shown
from .dicom_tags import (
    GREY,
    bit_layout,
    check_colour,
    code,
    finite,
    inversion,
    meaning,
    padding_range,
    palette_levels,
    place_in_series,
    whole,
)
from .extras import load, parsing
from .volumes import check_sizes

_DEFLATED = "1.2.840.10008.1.2.1.99"
_PIXEL_DATA, _FLOAT_PIXELS = (0x7FE0, 0x0010), ((0x7FE0, 0x0008), (0x7FE0, 0x0009))
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True)
class DicomFile:
    """One DICOM image file: sizes, the coding of its pixels, and what puts it in its place in a series.

    `bits` and `signed` describe the numbers that count; `slopes` has (slope, intercept) of every frame; `padding` the range
    of stored numbers that mark pixels outside of the image; `inverted` says that the smallest number is white; `lut` turns
    a palette into grey levels.
    """

    path: str
    compressed: bool
    big_endian: bool
    offset: int
    frames: int
    rows: int
    columns: int
    samples: int
    photometric: str
    planar: bool
    allocated: int
    bits: int
    signed: bool
    slopes: tuple[tuple[float, float], ...]
    kind: str
    padding: tuple[int, int] | None
    inverted: bool
    lut: Any = field(compare=False)
    series: str = field(repr=False)
    instance: str = field(repr=False)
    number: float
    position: float | None
    series_number: float
    person: str = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def stored_range(self) -> tuple[int, int]:
        """Smallest and largest number the bits can hold."""
        return (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if self.signed else (0, 2**self.bits - 1)

    @property
    def written_bits(self) -> tuple[int, int]:
        """(allocated, stored) bits of a grey copy: a palette's copy needs those of its entries."""
        if self.lut is None:
            return self.allocated, self.bits
        wide = 16 if self.lut.max() > 255 else 8
        return wide, wide

    @property
    def written_range(self) -> tuple[int, int]:
        """Smallest and largest number of a grey copy."""
        return self.stored_range if self.lut is None else (0, 2 ** self.written_bits[1] - 1)

    @property
    def frame_bytes(self) -> int:
        return self.rows * self.columns * self.samples * self.allocated // 8


def read_dicom_header(path: str) -> DicomFile:
    """Everything but the pixels of one file.

    Raises:
        DataError: not an image this software can read without changing its grey levels; the sentence names the tags.
        ResourceError: pydicom is not installed.
    """
    pydicom = load("pydicom", "DICOM")
    with parsing(path, "DICOM header") as warned, open(path, "rb") as file:
        syntax = _syntax(pydicom, path)
        header = pydicom.dcmread(file, stop_before_pixels=True)
        found = _describe(header, path, syntax, file, pydicom)
    note = (f"{len(warned)} values of its header break the DICOM standard; they were read as they are",) if warned else ()
    return DicomFile(**{**vars(found), "notes": found.notes + note})


def _syntax(pydicom: Any, path: str) -> Any:
    meta = pydicom.filereader.read_file_meta_info(path)
    syntax = meta.get("TransferSyntaxUID")
    if not syntax:
        raise DataError(f"{shown(path)}: DICOM without a transfer syntax (0002,0010), so its bytes have no meaning; get it "
                        "again")
    if syntax == _DEFLATED:  # the whole dataset would be unpacked before its size is known
        raise DataError(f"{shown(path)}: DICOM in the deflated transfer syntax; unpack it, for example with dcmconv +te")
    return syntax


def _describe(header: Any, path: str, syntax: Any, file: BinaryIO, pydicom: Any) -> DicomFile:
    where = shown(path)
    offset, length, big_endian = _pixel_element(header, file, where)
    coding = _coding(header, where)
    frames = int(header.get("NumberOfFrames") or 1)
    check_sizes(where, frames, coding["rows"], coding["columns"])
    colour = coding["photometric"] not in GREY
    kind, slopes = ("grey", ((1.0, 0.0),) * frames) if colour else meaning(header, frames, where)
    inverted, notes = inversion(coding["photometric"], slopes)
    found = DicomFile(
        path=path, compressed=bool(syntax.is_compressed), big_endian=big_endian, offset=offset, frames=frames, **coding,
        slopes=slopes, kind=kind, inverted=inverted, notes=notes,
        padding=padding_range(header, coding["allocated"], coding["signed"]),
        lut=palette_levels(header, where) if coding["photometric"] == "PALETTE COLOR" else None, **_identity(header),
    )
    _check_pixels(found, length, os.fstat(file.fileno()).st_size, pydicom, syntax)
    return found


def _coding(header: Any, where: str) -> dict[str, Any]:
    """How a frame is laid out, checked."""
    coding = {
        "rows": whole(header, "Rows", where), "columns": whole(header, "Columns", where),
        "samples": whole(header, "SamplesPerPixel", where), "planar": header.get("PlanarConfiguration") == 1,
        "photometric": str(header.get("PhotometricInterpretation", "")).strip(), **bit_layout(header, where),
    }
    check_colour(coding["photometric"], coding["samples"], coding["allocated"], where)
    return coding


def _identity(header: Any) -> dict[str, Any]:
    """What groups files into series and series into people."""
    distance, instance = place_in_series(header)
    return {
        "series": str(header.get("SeriesInstanceUID") or ""), "instance": str(header.get("SOPInstanceUID") or ""),
        "number": instance, "position": distance, "series_number": finite(header.get("SeriesNumber"), math.inf),
        "person": str(header.get("PatientID") or header.get("StudyInstanceUID") or ""),
    }


def _pixel_element(header: Any, file: BinaryIO, where: str) -> tuple[int, int, bool]:
    """Where the pixels begin, their declared length and byte order, from the element pydicom stopped at."""
    implicit, little = header.original_encoding
    order = "little" if little else "big"
    head = file.read(12)
    tag = tuple(int.from_bytes(head[i : i + 2], order) for i in (0, 2))
    if tag in _FLOAT_PIXELS:
        raise DataError(f"{where}: DICOM with floating-point pixels (7FE0,0008), expected whole numbers in Pixel Data "
                        "(7FE0,0010); convert it to NIfTI")
    if tag != _PIXEL_DATA or len(head) < 12:
        raise DataError(f"{where}: DICOM without pixel data (7FE0,0010), Modality {code(header.get('Modality'))}; leave "
                        "the file out")
    skip, at = (8, 4) if implicit else (12, 8)
    return file.tell() - 12 + skip, int.from_bytes(head[at : at + 4], order), not little


def _check_pixels(found: DicomFile, length: int, size: int, pydicom: Any, syntax: Any) -> None:
    """The declared images must be in the file; nothing is read or allocated for the answer."""
    where, needed = shown(found.path), found.frames * found.frame_bytes
    if found.compressed:
        return _check_codec(where, pydicom, syntax)
    if length == _UNDEFINED or min(length, size - found.offset) < needed:
        held = max(0, min(length, size - found.offset))
        raise DataError(f"{where}: truncated, holds {held} bytes of pixel data of the {needed} that {found.frames} frames "
                        f"of {found.rows} x {found.columns} need; get it again")
    if found.big_endian and found.allocated == 8:
        raise DataError(f"{where}: DICOM with 8-bit pixels in big-endian order; convert it, for example with dcmconv +te")


def _check_codec(where: str, pydicom: Any, syntax: Any) -> None:
    name = str(syntax.name) if str(syntax) in pydicom.uid.UID_dictionary else "an unknown transfer syntax"
    try:
        available = pydicom.pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise DataError(f"{where}: DICOM compressed as {name}, for which no codec is installed; decompress it, for example "
                        "with dcmdjpeg or gdcmconv --raw, or install one (pip install pylibjpeg[all])")

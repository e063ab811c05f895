"""The numbers of one DICOM frame: read where the header said they lie, made grey and upright, and coded back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import DataError, shown
from .dicom import DicomFile
from .extras import load, parsing, reading

_NO_COLOUR = 128  # the chroma of grey in YBR


@dataclass(frozen=True)
class Frame:
    """One image as it is stored: `numbers` int (rows, columns), grey, small is dark; `padding` bool, True outside of the
    image; `raw` the unsigned integers of the file, None where a conversion to grey came between."""

    numbers: np.ndarray
    padding: np.ndarray
    raw: np.ndarray | None


def read_frame(file: DicomFile, frame: int) -> Frame:
    """Read and decode one frame.

    Raises:
        DataError: the pixels cannot be decoded, or hold colours.
    """
    with (parsing if file.compressed else reading)(file.path, f"image of frame {frame}"):
        raw = _decoded(file, frame) if file.compressed else _native(file, frame)
        grey = _to_grey(raw, file).astype(np.int64) & (2**file.allocated - 1)
    numbers = _significant(grey, file.bits, file.signed)
    if file.lut is not None:
        return Frame(file.lut[np.clip(numbers, 0, len(file.lut) - 1)], np.zeros(grey.shape, bool), None)
    return Frame(_turned(numbers, file), _padding(grey, numbers, file), grey if file.samples == 1 else None)


def encode_frame(numbers: np.ndarray, frame: Frame, file: DicomFile) -> np.ndarray:
    """The reverse: numbers like `frame.numbers` as little-endian unsigned integers, padding as it was in the file."""
    allocated = file.written_bits[0]
    coded = _turned(np.asarray(numbers, np.int64), file) & (2**allocated - 1)
    if frame.raw is not None:
        coded = np.where(frame.padding, frame.raw, coded)
    return coded.astype(f"<u{allocated // 8}")


def _padding(grey: np.ndarray, numbers: np.ndarray, file: DicomFile) -> np.ndarray:
    """Where the file's padding value stands, in the bits that count or in all that are allocated."""
    if file.padding is None:
        return np.zeros(grey.shape, bool)
    low, high = file.padding
    whole = _significant(grey, file.allocated, file.signed)
    return ((numbers >= low) & (numbers <= high)) | ((whole >= low) & (whole <= high))


def _turned(numbers: np.ndarray, file: DicomFile) -> np.ndarray:
    return sum(file.stored_range) - numbers if file.inverted else numbers


def _native(file: DicomFile, frame: int) -> np.ndarray:
    with open(file.path, "rb") as stream:
        stream.seek(file.offset + frame * file.frame_bytes)
        content = stream.read(file.frame_bytes)
    if len(content) < file.frame_bytes:
        raise DataError(f"{shown(file.path)}: frame {frame} ends after {len(content)} of {file.frame_bytes} bytes; the file "
                        "was cut, get it again")
    values = np.frombuffer(content, f"{'>' if file.big_endian else '<'}u{file.allocated // 8}")
    if file.samples == 1:
        return values.reshape(file.rows, file.columns)
    if file.planar:
        return np.moveaxis(values.reshape(3, file.rows, file.columns), 0, -1)
    return values.reshape(file.rows, file.columns, 3)


def _decoded(file: DicomFile, frame: int) -> np.ndarray:
    pixels = load("pydicom.pixels", "DICOM")
    values = np.asarray(pixels.pixel_array(file.path, index=frame, raw=True))
    if values.shape[:2] != (file.rows, file.columns) or values.ndim != (2 if file.samples == 1 else 3):
        raise DataError(f"{shown(file.path)}: frame {frame} decodes to {values.shape}, its header declares {file.rows} x "
                        f"{file.columns}; the file is damaged, get it again")
    return values


def _to_grey(values: np.ndarray, file: DicomFile) -> np.ndarray:
    """One channel of a colour image that has no colour; a conversion that weighs channels would invent grey levels."""
    if values.ndim == 2:
        return values
    if file.photometric == "YBR_FULL":
        grey = bool((values[..., 1:] == _NO_COLOUR).all())
    else:
        grey = bool((values[..., 1:] == values[..., :1]).all())
    if not grey:
        raise DataError(f"{shown(file.path)}: DICOM with PhotometricInterpretation {file.photometric}, SamplesPerPixel 3 "
                        "and colours in it; expected grey images; convert it to grey, or leave it out")
    return values[..., 0]


def _significant(values: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """The lowest bits, sign extended: overlays and scanners leave anything in those above."""
    numbers = values & (2**bits - 1)
    return np.where(numbers >= 2 ** (bits - 1), numbers - 2**bits, numbers) if signed else numbers

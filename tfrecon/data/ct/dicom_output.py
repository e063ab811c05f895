"""Writes derived DICOM images: the source's header with the new pixels, marked as what they are."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...files import write_whole
from .dicom import DicomFile
from .extras import load, parsing

# Set from the old pixels or describing how they were coded.
_STALE = ("SmallestImagePixelValue", "LargestImagePixelValue", "IconImageSequence", "PlanarConfiguration",
          "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
          "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
          "BluePaletteColorLookupTableData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths")
_LONG_STRING, _SHORT_TEXT = 64, 1024
_SERIES_STEP = 1000


def write_derived(path: Path, file: DicomFile, coded: Sequence[np.ndarray], series: str, software: str, how: str) -> None:
    """Write one file; it appears when it is complete.

    The patient and study of the source stay, as an image without them could not be filed; instance and series are new, the
    image type becomes DERIVED, and the source is referenced.

    Args:
        coded: frames from `dicom_pixels.encode_frame`.
        series: UID of the new series.
        software: name and version, the series' description. how: what was done, in a sentence.
    """
    pydicom = load("pydicom", "DICOM")
    with parsing(file.path, "DICOM header"):
        dataset = pydicom.dcmread(file.path)
        _reference(pydicom, dataset)
        _identify(pydicom, dataset, series)
        _describe(dataset, software, how)
        _put_pixels(pydicom, dataset, file, b"".join(frame.tobytes() for frame in coded))
    content = io.BytesIO()  # or a full disk would pass for a damaged input
    with parsing(file.path, "DICOM header"):
        pydicom.dcmwrite(content, dataset, enforce_file_format=True)
    write_whole(path, content.getvalue())


def _reference(pydicom: Any, dataset: Any) -> None:
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    dataset.SourceImageSequence = [item]


def _identify(pydicom: Any, dataset: Any, series: str) -> None:
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.SeriesInstanceUID = series
    if isinstance(dataset.get("SeriesNumber"), int):  # viewers sort by it: the result comes after the source
        dataset.SeriesNumber += _SERIES_STEP


def _describe(dataset: Any, software: str, how: str) -> None:
    types = dataset.get("ImageType") or []
    rest = list(types[2:]) if not isinstance(types, str) else []
    dataset.ImageType = ["DERIVED", "SECONDARY", *rest]
    dataset.SeriesDescription = software[:_LONG_STRING]
    dataset.DerivationDescription = how[:_SHORT_TEXT]


def _put_pixels(pydicom: Any, dataset: Any, file: DicomFile, content: bytes) -> None:
    for keyword in _STALE:
        if keyword in dataset:
            delattr(dataset, keyword)
    allocated, bits = file.written_bits
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, bits, bits - 1
    dataset.SamplesPerPixel = 1
    dataset.PixelRepresentation = int(file.signed and file.lut is None)
    if not file.photometric.startswith("MONOCHROME"):
        dataset.PhotometricInterpretation = "MONOCHROME2"
    if file.compressed or file.big_endian:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB" if allocated == 8 else "OW"
    dataset["PixelData"].is_undefined_length = False

"""What the tags of a DICOM header mean: bits, rescale, padding, colours, place in the series; odd ones refused by name."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from ...errors import DataError

GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "PALETTE COLOR")
_HU_TYPES = ("", "HU", "HU_MOD", "US")


def meaning(header: Any, frames: int, where: str) -> tuple[str, tuple[tuple[float, float], ...]]:
    """hu or grey, and the rescale of every frame: from the file, or for enhanced files from their functional groups."""
    shared = _rescale_in(header) or _rescale_in(_group(header.get("SharedFunctionalGroupsSequence"), 0))
    each = [shared or _rescale_in(_group(header.get("PerFrameFunctionalGroupsSequence"), i)) for i in range(frames)]
    modality = str(header.get("Modality", ""))
    types = {kind for _, _, kind in filter(None, each)}
    if modality != "CT" and not types & {"HU", "HU_MOD"}:
        return "grey", ((1.0, 0.0),) * frames
    if not all(each) or not types <= set(_HU_TYPES):
        return "grey", ((1.0, 0.0),) * frames
    slopes = tuple((slope, intercept) for slope, intercept, _ in each)
    if not all(math.isfinite(s) and s != 0 and math.isfinite(b) for s, b in slopes):
        raise DataError(f"{where}: RescaleSlope and RescaleIntercept are {slopes[0]}, expected finite numbers and a slope "
                        "other than 0; the header is damaged, get the file again")
    return "hu", slopes


def _group(sequence: Any, i: int) -> Any:
    """The item that holds a frame's pixel value transformation."""
    items = sequence[i].get("PixelValueTransformationSequence") if sequence is not None and len(sequence) > i else None
    return items[0] if items else None


def _rescale_in(item: Any) -> tuple[float, float, str] | None:
    if item is None or "RescaleSlope" not in item or "RescaleIntercept" not in item:
        return None
    return (finite(item.RescaleSlope, math.nan), finite(item.RescaleIntercept, math.nan),
            str(item.get("RescaleType", "") or "").strip().upper())


def inversion(photometric: str, slopes: tuple) -> tuple[bool, tuple[str, ...]]:
    """Whether small numbers are white and must be turned round, and a note about it."""
    if photometric != "MONOCHROME1":
        return False, ()
    if slopes[0][0] < 0:
        return False, ("MONOCHROME1 with a negative RescaleSlope, which inverts already; read as it is",)
    return True, ("MONOCHROME1 (small numbers are white): inverted when read, and again when written",)


def padding_range(header: Any, allocated: int, signed: bool) -> tuple[int, int] | None:
    """The padding range in the signedness of the pixels; scanners write -2000 as 63536 and the reverse."""
    value, limit = header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")
    given = [int(v) for v in (value, limit) if isinstance(v, (int, np.integer))]
    if value is None or not given or not all(-(2 ** (allocated - 1)) <= v < 2**allocated for v in given):
        return None
    ends = [v % 2**allocated for v in given]
    if signed:
        ends = [v - 2**allocated if v >= 2 ** (allocated - 1) else v for v in ends]
    return min(ends), max(ends)


def bit_layout(header: Any, where: str) -> dict[str, Any]:
    """Allocated and used bits and the sign of the stored numbers."""
    allocated, stored = whole(header, "BitsAllocated", where), whole(header, "BitsStored", where)
    high, signed = int(header.get("HighBit", stored - 1)), whole(header, "PixelRepresentation", where)
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated or high != stored - 1 or signed not in (0, 1):
        raise DataError(f"{where}: DICOM with BitsAllocated {allocated}, BitsStored {stored}, HighBit {high}, "
                        f"PixelRepresentation {signed}; expected 8, 16 or 32 bits with the lowest ones in use; convert it")
    return {"allocated": allocated, "bits": stored, "signed": bool(signed)}


def check_colour(photometric: str, samples: int, allocated: int, where: str) -> None:
    """DataError for pixels that are neither grey nor a colour which may turn out to be grey."""
    expected = 3 if photometric in ("RGB", "YBR_FULL") else 1
    if photometric not in (*GREY, *_COLOUR) or samples != expected or (expected == 3 and allocated != 8):
        raise DataError(f"{where}: DICOM with PhotometricInterpretation {code(photometric)}, SamplesPerPixel {samples}, "
                        f"BitsAllocated {allocated}; expected grey images (MONOCHROME1, MONOCHROME2) or 8-bit colour with "
                        "equal channels; convert it to grey")


def palette_levels(header: Any, where: str) -> np.ndarray:
    """The grey level of every entry of a palette whose three colours are equal, beginning at its first number."""
    tables = [header.get(f"{colour}PaletteColorLookupTableData") for colour in ("Red", "Green", "Blue")]
    descriptor = header.get("RedPaletteColorLookupTableDescriptor")
    if None in (*tables, descriptor) or not tables[0] == tables[1] == tables[2]:
        raise DataError(f"{where}: DICOM with PhotometricInterpretation PALETTE COLOR whose tables are not equal greys; "
                        "expected grey images; convert it to grey")
    count, first, bits = (int(v) for v in descriptor)
    wide = len(tables[0]) >= 2 * (count or 2**16)
    entries = np.frombuffer(tables[0], "<u2" if wide else "u1")[: count or 2**16].astype(np.int32)
    if not entries.size or first < 0 or bits not in (8, 16):
        raise DataError(f"{where}: DICOM with a palette of {entries.size} entries from {first} with {bits} bits; expected 8 "
                        "or 16 bits; convert it to grey")
    return np.concatenate([np.full(first, entries[0], np.int32), entries])


def place_in_series(header: Any) -> tuple[float | None, float]:
    """Distance along the slice normal, and the instance number."""
    number = finite(header.get("InstanceNumber"), math.inf)
    try:
        place = np.array([float(v) for v in header.ImagePositionPatient])
        across = np.array([float(v) for v in header.ImageOrientationPatient])
        distance = float(np.cross(across[:3], across[3:6]) @ place)
    except (AttributeError, TypeError, ValueError):
        return None, number
    return (distance if math.isfinite(distance) else None), number


def whole(header: Any, keyword: str, where: str) -> int:
    """A whole number the header must have."""
    value = header.get(keyword)
    if value is None or isinstance(value, str) or not isinstance(value, (int, np.integer)):
        raise DataError(f"{where}: DICOM without a usable {keyword}; the header is damaged, get the file again")
    return int(value)


def finite(value: Any, otherwise: float) -> float:
    """The value as a finite number, else what is given."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return otherwise
    return value if math.isfinite(value) else otherwise


def code(value: Any) -> str:
    """A code as it can be shown: in a damaged file a value may run on into the next element, the patient's name perhaps."""
    return str(value) if re.fullmatch("[A-Z0-9_ ]{1,16}", str(value or "")) else "missing or unreadable"

"""What is known about image volumes before any pixel is read: the records the index makes and everything else uses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from ...errors import DataError
from ..find import Skipped

# A slice of 16384 x 16384 is the largest a detector gives; more is a damaged or a hostile header.
MAX_PIXELS = 2**28
MAX_SLICES = 2**16
# What stands where nothing was measured: the air around the patient, in HU.
AIR = -1024.0
# Nothing real is this far below air: what is, marks pixels outside of the scanner's circle (-2000, -3024, -32768).
PADDING_BELOW = -1500.0


@dataclass(frozen=True)
class ImageVolume:
    """Images that belong together, all of one size: one file, or the files of one DICOM series.

    Attributes:
        paths: the file of every slice in order, or the one file of them all.
        name: relative to the folder given: of the file, or of the folder for a series.
        format: dicom, nifti, png or hdf5.
        kind: "hu" for Hounsfield units, "grey" for grey levels.
        slices, height, width: sizes.
        rescale: (slope, intercept) of every slice, from stored numbers to HU or grey levels.
        levels: the stored numbers in words, "8 bits" for example.
        grey_range: smallest and largest grey level the format can hold; None for floats and for HU.
        notes: what the user should know about how the file is read.
        person: what volumes of one person share; never shown.
        attributes: an HDF5 file's plain attributes.
        stamps: size and modification time of every path, by which a reader notices that a file changed.
        source: what the format's reader needs to find the slices.
    """

    paths: tuple[str, ...]
    name: str
    format: str
    kind: str
    slices: int
    height: int
    width: int
    rescale: tuple[tuple[float, float], ...] = field(repr=False)
    levels: str
    grey_range: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    person: str = field(default="", repr=False)
    attributes: dict = field(default_factory=dict, compare=False, repr=False)
    stamps: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    source: Any = field(default=None, compare=False, repr=False)

    @property
    def patient(self) -> str:
        """What volumes of one person share, so that a split keeps them together."""
        return self.person.strip() or self.name

    @property
    def air(self) -> float:
        """What stands in place of padding and around the image: -1024 HU, or the lowest grey level."""
        if self.kind == "hu":
            return AIR
        return self.grey_range[0] if self.grey_range else 0.0

    def path(self, i: int) -> str:
        """The file slice `i` lies in."""
        return self.paths[i if len(self.paths) > 1 else 0]


@dataclass(frozen=True)
class ImageIndex:
    """The image volumes found under a path, what was set aside, and the window they were chosen for."""

    volumes: tuple[ImageVolume, ...]
    skipped: tuple[Skipped, ...] = ()
    window: Any = None

    @property
    def slices(self) -> int:
        return sum(volume.slices for volume in self.volumes)


def check_sizes(where: str, slices: int, height: int, width: int) -> None:
    """Refuse empty images and declared sizes no file can mean, before anything is allocated for them."""
    found = f"{where} declares {slices} slices of {height} x {width}"
    if slices < 1:
        raise DataError(f"{found}: no slices; leave the file out")
    if min(height, width) < 1:
        raise DataError(f"{found}: it is empty; leave the file out")
    if height * width > MAX_PIXELS or slices > MAX_SLICES:
        raise DataError(f"{found}, the limits are {MAX_SLICES} and {math.isqrt(MAX_PIXELS)} x {math.isqrt(MAX_PIXELS)}; the "
                        "header is damaged, get the file again")

"""Reads single slices of image volumes in Hounsfield units or grey levels, whatever way they were stored."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DataError, NonFiniteError, UnreadableError, UsageError, shown
from ..index import file_stamp
from ..lost import SecondTry
from .arrays import read_array
from .dicom_pixels import read_frame
from .nifti import read_stored, unpack_nifti
from .png import read_png
from .volumes import PADDING_BELOW, ImageVolume

_KEPT_BYTES = 2**31


@dataclass(frozen=True)
class StoredSlice:
    """One slice as its file has it.

    Attributes:
        numbers: (height, width) in the file's type, DICOM as integers with small ones dark.
        padding: bool (height, width), True where nothing was measured.
        values: float32 (height, width) in HU or grey levels, finite, air in place of padding.
        frame: the DICOM frame it came from.
    """

    numbers: np.ndarray
    padding: np.ndarray
    values: np.ndarray
    frame: Any = None


class ImageReader(AbstractContextManager):
    """Reads slices of indexed volumes; use it in a `with` statement or call `close`.

    Args:
        nan: "refuse" raises for a slice with NaN or infinite values; "air" takes them for padding, and how many there were
            is kept in `replaced`, by (volume name, slice).
    """

    def __init__(self, nan: str = "refuse"):
        if nan not in ("refuse", "air"):
            raise UsageError(f'nan must be "refuse" or "air", received {nan!r}')
        self.nan = nan
        self.replaced: dict[tuple[str, int], int] = {}
        self._unpacked: OrderedDict[tuple, bytes] = OrderedDict()
        # tf.data calls from several threads, and two must not unpack the same volume.
        self._lock = threading.RLock()
        self._second_try = SecondTry()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget unpacked files; the reader can be used again afterwards."""
        with self._lock:
            self._unpacked.clear()

    def take_replaced(self, name: str) -> dict[int, int]:
        """How many values were replaced in the slices of the volume of that name, which are forgotten."""
        with self._lock:
            own = [place for place in self.replaced if place[0] == name]
            return {place[1]: self.replaced.pop(place) for place in own}

    def slice(self, volume: ImageVolume, i: int) -> np.ndarray:
        """Slice `i`: float32 (height, width) in HU or grey levels, finite, padding replaced by `volume.air`."""
        return self.stored(volume, i).values

    def padding(self, volume: ImageVolume, i: int) -> np.ndarray:
        """Where nothing was measured: bool (height, width). The file's padding value, HU below -1500, NaN on request."""
        return self.stored(volume, i).padding

    def stored(self, volume: ImageVolume, i: int) -> StoredSlice:
        """Slice `i` with everything that is needed to write it back.

        Raises:
            UsageError: no such slice. NonFiniteError: NaN or infinity in it. UnreadableError: the file vanished or changed
            since it was indexed, at a second look too. DataError: it cannot be read.
        """
        if not 0 <= i < volume.slices:
            raise UsageError(f"slice must be 0 to {volume.slices - 1} for {shown(volume.name)}, received {i}")
        frame, numbers = self._second_try(volume.path(i), lambda: self._read_once(volume, i))
        slope, intercept = volume.rescale[i]
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found below
            values = (numbers.astype(np.float64) * slope + intercept).astype(np.float32)
        finite = self._finite(values, volume, i)
        padding = ~finite | (frame.padding if frame else False)
        if volume.kind == "hu":
            padding |= ~(values > PADDING_BELOW)
        return StoredSlice(numbers, padding, np.where(padding, np.float32(volume.air), values), frame)

    def _read_once(self, volume: ImageVolume, i: int) -> tuple[Any, np.ndarray]:
        """The DICOM frame, if it is one, and the numbers."""
        _check_unchanged(volume, i)
        try:
            frame = read_frame(*volume.source[i]) if volume.format == "dicom" else None
            return frame, frame.numbers if frame else self._numbers(volume, i)
        finally:  # bytes of a file that was written to meanwhile may be anything
            _check_unchanged(volume, i)

    def _numbers(self, volume: ImageVolume, i: int) -> np.ndarray:
        if volume.format == "png":
            return read_png(volume)
        if volume.format == "hdf5":
            return read_array(volume, i)
        unpacked = self._unpacked_bytes(volume) if volume.source.packed else None
        return read_stored(volume.source, i, (volume.height, volume.width), unpacked)

    def _unpacked_bytes(self, volume: ImageVolume) -> bytes:
        """The whole of a packed file, kept while there is room: every slice would need it again."""
        with self._lock:
            key = (volume.paths, volume.stamps)
            if key not in self._unpacked:
                self._unpacked[key] = unpack_nifti(volume)
            self._unpacked.move_to_end(key)
            while len(self._unpacked) > 1 and sum(map(len, self._unpacked.values())) > _KEPT_BYTES:
                self._unpacked.popitem(last=False)
            return self._unpacked[key]

    def _finite(self, values: np.ndarray, volume: ImageVolume, i: int) -> np.ndarray:
        finite = np.isfinite(values)
        bad = values.size - int(finite.sum())
        if bad and self.nan == "refuse":
            raise NonFiniteError(f"{shown(volume.name)}: slice {i} has {bad} values of {values.size} that are NaN or "
                                 'infinite; leave the file out, or put air in their place with nan="air" (--nan zero)')
        if bad:
            with self._lock:
                self.replaced[volume.name, i] = bad
        return finite


def _check_unchanged(volume: ImageVolume, i: int) -> None:
    stamps = volume.stamps
    if not stamps:
        return
    try:
        stamp = file_stamp(volume.path(i))
    except DataError as error:
        raise UnreadableError(str(error)) from error
    if stamp != stamps[i if len(stamps) > 1 else 0]:
        raise UnreadableError(f"{shown(volume.path(i))}: changed since it was indexed (its size or modification time "
                              "differs); index the folder again")

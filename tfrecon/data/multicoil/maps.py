"""Coil maps of slices: from the file that holds them, or estimated from the sampled centre and kept for the next epoch."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from ...errors import DataError, UsageError, shown
from ...physics.coil_maps import METHODS, calibration_area, estimate_maps
from ..index import Volume
from ..slices import SliceReader

_KEYS = ("sens_maps", "maps")
_LIMIT = 512 * 2**20  # bytes of estimated maps that are kept


class CoilMapSource:
    """The coil maps of a slice.

    Args:
        how: "auto": the file's `sens_maps` or `maps`, normalised to a sum of |map|^2 of 1, else "espirit"; "file": the file's
            exactly as they are, or an error; a method of `physics.coil_maps`.
        reader: reads the files.

    Raises:
        UsageError: unknown `how`.
    """

    def __init__(self, how: str, reader: SliceReader):
        if how not in ("auto", "file", *METHODS):
            raise UsageError(f"The coil maps must come from one of auto, file, {', '.join(METHODS)}; received {how!r}.")
        self.how, self.reader = how, reader
        self._kept: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()

    def key(self, volume: Volume) -> str | None:
        """The key of the volume's own maps, None where they are to be estimated or missing."""
        return next((k for k in _KEYS if k in volume.extra_keys), None) if self.how in ("auto", "file") else None

    def check(self, volume: Volume) -> None:
        """DataError where the volume's own maps do not have the k-space's size; nothing but headers is read."""
        if volume.coils and (key := self.key(volume)):
            self.reader.check_coil_maps(volume, key)

    def __call__(self, volume: Volume, i: int, kspace: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """complex64 (coils, H, W); ones for a single coil.

        Args:
            kspace: complex (coils, H, W) of the slice, of which only what the mask keeps is looked at.
            mask: bool (W,) or (H, W).

        Raises:
            DataError: the file's maps have another size, are zero or not finite; or none are there and the sampled centre is
                too small to estimate them.
        """
        if len(kspace) == 1:
            return np.ones(kspace.shape, np.complex64)
        key = self.key(volume)
        if key is not None:
            maps = self.reader.coil_maps(volume, key, i)
            if maps.any():
                return maps if self.how == "file" else _normalized(maps)
            if kspace.any():
                raise DataError(f"{shown(volume.name)}: {key} is zero everywhere in slice {i}; remove {key} to have the maps "
                                "estimated")
            return _equal(kspace.shape)
        if self.how == "file":
            raise DataError(f"{shown(volume.name)}: no coil maps ({' or '.join(_KEYS)}) in the file; store them, or estimate "
                            'them (coil_maps="espirit", --coil-maps espirit)')
        return self._estimated(volume, i, kspace, mask)

    def _estimated(self, volume: Volume, i: int, kspace: np.ndarray, mask: np.ndarray) -> np.ndarray:
        # The centre decides, not the rest of the mask: a fresh mask of the same centre needs no new maps.
        place = (volume.path, i, calibration_area(mask, kspace.shape[-2:]))
        with self._lock:
            if place in self._kept:
                self._kept.move_to_end(place)
                return self._kept[place]
        if not kspace.any():
            return _equal(kspace.shape)
        try:
            maps = estimate_maps(kspace, mask, "espirit" if self.how == "auto" else self.how)
        except DataError as error:
            raise DataError(f"{shown(volume.name)}, slice {i}: {error}") from error
        with self._lock:
            self._kept[place] = maps
            self._bytes += maps.nbytes
            while self._bytes > _LIMIT and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return maps


def _equal(shape: tuple[int, ...]) -> np.ndarray:
    """Maps for a slice without signal, whatever its coils would have seen."""
    return np.full(shape, 1 / np.sqrt(shape[0]), np.complex64)


def _normalized(maps: np.ndarray) -> np.ndarray:
    power = np.sqrt((np.abs(maps) ** 2).sum(axis=0))
    return np.divide(maps, power, out=np.zeros_like(maps), where=power > 0).astype(np.complex64)

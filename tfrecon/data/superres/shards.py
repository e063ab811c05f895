"""Magnitude images in TFRecord shards: written and found again.

Records hold, beside the numbers of `shards.writing`:

    image       float32 (height, width), in the file's units
    stated      float64, what value_range="volume" makes 255: the attribute `max`, else `maximum`
    maximum     float64, the largest value of the volume
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import NonFiniteError
from ..find import Paths
from ..shards import Layout, ShardIndex, ShardKind, Surveyed, read_shards, shard_folder, write_all
from ..slices import SliceReader
from ..stream import FiniteSlices
from .value_range import trusted_maximum
from .volumes import MagnitudeIndex, MagnitudeVolume, index_magnitudes


def _record_bytes(row: dict[str, Any]) -> tuple[int, int]:
    pixels = 4 * row["height"] * row["width"]
    return pixels, pixels


_LAYOUT = Layout("superres", _record_bytes)


@dataclass(frozen=True)
class ShardVolume(MagnitudeVolume):
    """One volume in a shard: a `MagnitudeVolume` whose file is the shard; the maximum it states is in its records.

    Attributes:
        number: what its records call it. shard: number of the shard that holds all of it.
    """

    number: int = 0
    shard: int = 0

    @property
    def record_bytes(self) -> int:
        return 4 * self.height * self.width


def index_superres(path: Paths, key: str | None = None, strict: bool = False) -> MagnitudeIndex | ShardIndex:
    """The index of what lies under a path: shards where there is a `shards.json`, else HDF5 files (`index_magnitudes`)."""
    folder = shard_folder(path)
    return index_magnitudes(path, key, strict) if folder is None else index_shards(folder, key)


def index_shards(folder: Any, key: str | None = None) -> ShardIndex:
    """The volumes in a folder of shards of images, written by `write_shards` (`tfrecon convert`); see `read_shards`."""

    def volume(number: int, row: dict, patient: str, path: str, stamp: tuple[int, int]) -> ShardVolume:
        return ShardVolume(path, row["name"], row["key"], (row["height"], row["width"]), row["slices"], {"patient_id": patient},
                           tuple(row["notes"]), stamp, number, row["shard"])

    return read_shards(folder, _LAYOUT, volume, key)


def write_shards(
    index: MagnitudeIndex, out: Any, shards: int | None = None, *, strict: bool = False, overwrite: bool = False,
    progress: Callable[[str], Any] = lambda text: None,
) -> ShardIndex:
    """Write the images of an index as shards; arguments and errors of `shards.write_all`.

    A slice with NaN or infinity is replaced by the nearest finite one of its volume, as the readers do.

    Returns:
        What was written, `skipped` being what was left out.
    """
    with SliceReader() as reader:
        skipped = write_all(_Pictures(reader, strict), index.volumes, out, shards, strict=strict, overwrite=overwrite,
                            progress=progress)
    return replace(index_shards(out), skipped=(*index.skipped, *skipped))


class _Pictures(ShardKind):
    """Images of `MagnitudeVolume`s as records."""

    layout = _LAYOUT

    def __init__(self, reader: SliceReader, strict: bool):
        self._reader, self._strict, self._finite = reader, strict, FiniteSlices("skip")

    def survey(self, volume: MagnitudeVolume) -> Surveyed:
        maxima, replaced, middle = {}, 0, volume.slices // 2
        for i in range(volume.slices):
            try:
                maxima[i] = float(self._reader.target(volume, i).max())
            except NonFiniteError:
                replaced += 1
                if self._strict or replaced == volume.slices:
                    raise
        # As the files' own stream: of slices that are not finite, the volume's counts 0 and the middle one is its neighbour.
        maximum, notes = max([*maxima.values(), *[0.0] * replaced]), list(volume.notes)
        nearest = min(maxima, key=lambda i: (abs(i - middle), i))
        stated, note = trusted_maximum(volume, maxima[nearest], lambda: maximum)
        if replaced:
            notes.append(f"{replaced} of {volume.slices} slices have NaN or infinity; the nearest finite one replaces each")
        return Surveyed(volume, volume.slices * 4 * volume.height * volume.width, (*notes, *filter(None, [note])),
                        {"stated": stated, "maximum": maximum})

    def arrays(self, volume: MagnitudeVolume, i: int) -> dict[str, np.ndarray]:
        return {"image": self._finite(volume, i, self._reader.target).astype(np.float32)}

    def row(self, volume: MagnitudeVolume) -> dict[str, Any]:
        return {"key": volume.target_key}

"""Writes single-coil k-space and its targets as TFRecord shards.

Records hold, beside the numbers of `shards.writing`:

    columns     complex64 (width, height): the k-space with its columns as rows, DC in the centre, in the file's units
    target      float32 (image_height, image_width) in the file's units; empty where it is to be computed
    mask        uint8 (width,), 0 or 1, where the file says which columns were measured; empty where the rule shall draw it
    maximum     float64, the largest value of the volume's targets
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import NonFiniteError
from ...physics import columns_of
from ..index import Index, Volume, check_single_coil, output_size
from ..masking import Masking
from ..shards import ShardIndex, ShardKind, Surveyed, write_all
from ..slices import SliceReader
from ..splits import all_samples
from ..stream import EpochClock, FiniteSlices, SliceStream, masked_by_columns
from .volumes import COMPUTED, LAYOUT, index_kspace_shards


def write_kspace_shards(
    index: Index, out: Any, shards: int | None = None, *, complex_axis: str | None = None, shift: bool = False,
    strict: bool = False, overwrite: bool = False, progress: Callable[[str], Any] = lambda text: None,
) -> ShardIndex:
    """Write the slices of an index as shards; `out` to `progress` and the errors are those of `shards.write_all`.

    A slice with NaN or infinity is replaced by the nearest finite one of its volume, as the readers do.

    Args:
        index: single-coil k-space from `index_volumes`, with the targets that training shall have.
        complex_axis, shift: see `masked_pairs`; done here once.

    Returns:
        What was written, `skipped` being what was left out.

    Raises:
        DataError: k-space of several coils; undersampled k-space whose target would be computed from it.
    """
    for volume in index.volumes:
        check_single_coil(volume)
    with SliceReader(complex_axis, shift=shift) as reader:
        kind = _Kspace(index, reader, strict)
        skipped = write_all(kind, index.volumes, out, shards, strict=strict, overwrite=overwrite, progress=progress)
    return replace(index_kspace_shards(out), skipped=(*index.skipped, *skipped))


class _Kspace(ShardKind):
    """K-space and targets of `Volume`s as records."""

    layout = LAYOUT

    def __init__(self, index: Index, reader: SliceReader, strict: bool):
        crops = [output_size(volume) for volume in index.volumes]
        nan = "refuse" if strict else "skip"
        self._finite, self._strict = FiniteSlices(nan), strict
        self._stream = SliceStream(index, all_samples(index), crops, reader, Masking(), False, 0, EpochClock(), True, nan)
        self._stream.check_first_slice()
        self._numbers = {volume.name: number for number, volume in enumerate(index.volumes)}

    def survey(self, volume: Volume) -> Surveyed:
        replaced, notes = 0, list(volume.notes)
        for i in range(volume.slices):
            try:
                self._stream.read(volume, i)
                self._stream.own_mask(volume, i)
            except NonFiniteError:
                replaced += 1
                if self._strict or replaced == volume.slices:
                    raise
        if replaced:
            notes.append(f"{replaced} of {volume.slices} slices have NaN or infinity; the nearest finite one replaces each")
        least, _ = LAYOUT.record_bytes({"height": volume.height, "width": volume.width, **self.row(volume)})
        maximum = self._stream.maximum(self._numbers[volume.name])
        return Surveyed(volume, volume.slices * least, tuple(notes), {"maximum": maximum})

    def arrays(self, volume: Volume, i: int) -> dict[str, np.ndarray]:
        kspace, target, read = self._finite(volume, i, self._stream.read)
        mask = self._stream.own_mask(volume, read)
        if mask is not None:
            kspace, mask = masked_by_columns(kspace, mask)
        return {"columns": columns_of(kspace), "target": target, "mask": np.array([] if mask is None else mask, np.uint8)}

    def row(self, volume: Volume) -> dict[str, Any]:
        height, width = volume.target_shape or output_size(volume)
        return {"key": volume.target_key or COMPUTED, "kspace_key": volume.kspace_key, "image_height": height,
                "image_width": width}

"""Small pictures of 256 grey levels, as the spline flow is trained on, cut out of volumes of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import DataError, UsageError, shown
from ...transforms import center_crop
from ..batching import batched, check_batch_size, check_nan, elements
from ..lost import LostSlices
from ..slices import SliceReader
from ..splits import Sample, all_samples
from ..stream import EpochClock, FiniteSlices, visits_of
from ..superres.volumes import MagnitudeIndex, MagnitudeVolume, index_magnitudes
from .knees import bit_scale, resize_area

_BITS = 8


def to_picture(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A slice as a picture: the middle, scaled so that its smallest value is 0 and its largest 255, then shrunk by area.

    Args:
        image: real (H, W), the magnitude; at least as large as the picture.
        size: (h, w). The middle is the largest whole multiple of it.

    Returns:
        uint8 (h, w).

    Raises:
        DataError: the slice is smaller than the picture.

    Reference: SamiKhandker/ImprovingMRIQuality@9f53d9e cell 5, of slices that are a whole multiple of the picture: the same
        numbers. Others are cropped here, so that nothing is stretched.
    """
    times = _times(image.shape, size)
    return resize_area(bit_scale(center_crop(image, [times * n for n in size]), _BITS), 1 / times)


def picture_batches(
    path: Any,
    batch_size: int = 9,
    target: str | None = None,
    *,
    size: tuple[int, int] = (80, 64),
    shuffle: bool = False,
    seed: int = 0,
    clock: EpochClock | None = None,
    drop_remainder: bool = False,
    samples: Sequence[Sample] | None = None,
    nan: str = "skip",
    strict: bool = False,
    lost: set | None = None,
) -> Any:
    """Stream slices as pictures, without pairs.

    Args:
        path: HDF5 file, folder, list of them, or a `MagnitudeIndex`.
        batch_size: at least 1 (the seed's is 9).
        target: dataset of the images; None: `reconstruction_rss`, else `reconstruction_esc`, else `reconstruction`; `imgs` for
            what `prepare_knees` wrote.
        size: (h, w) of the pictures.
        shuffle: a new order every epoch, from `seed`; the seed's loader keeps one order.
        seed, clock, drop_remainder, samples, nan, strict, lost: as in `superres_pairs`.

    Returns:
        `tf.data.Dataset` of float32 (N, h, w, 1), whole numbers in 0..255, cardinality known from headers.

    Raises:
        UsageError: an argument is out of range. DataError: no usable volume, or slices smaller than the pictures.
    """
    import tensorflow as tf

    check_batch_size(batch_size)
    check_nan(nan)
    index = path if isinstance(path, MagnitudeIndex) else index_magnitudes(path, target, strict)
    chosen = [(int(v), int(i)) for v, i in (all_samples(index) if samples is None else samples)]
    stream = _Stream(index, chosen, _whole(size), SliceReader(nan="zero" if nan == "zero" else "refuse"), nan,
                     seed if shuffle else None, clock or EpochClock(), strict, lost)
    stream.check_volumes()
    spec = tf.TensorSpec((*stream.size, 1), tf.float32)
    pictures = elements(stream, (spec,)).map(lambda picture: picture)  # out of their tuples of one
    return batched(pictures, Counter({stream.size: len(chosen)}), batch_size, drop_remainder)


class _Stream:
    """What `batching.elements` reads."""

    def __init__(self, index: MagnitudeIndex, samples: list[Sample], size: tuple[int, int], reader: SliceReader, nan: str,
                 seed: int | None, clock: EpochClock, strict: bool, lost: set | None):
        if not samples:
            raise DataError("No slices were chosen; expected at least one (volume number, slice number).")
        self.index, self.samples, self.size, self.reader, self.seed, self.clock = index, samples, size, reader, seed, clock
        self._finite = FiniteSlices(nan)
        self._there = LostSlices(samples, [size] * len(index.volumes), strict, lost, [v.name for v in index.volumes])

    def visits(self) -> np.ndarray:
        """(volume number, slice number, epoch) of every sample of the next pass, in its order."""
        return visits_of(self.samples, self.clock.start_pass(), self.seed)

    def element(self, visit: np.ndarray) -> tuple[np.ndarray]:
        """One picture (h, w, 1)."""
        number, i, _ = (int(n) for n in visit)
        return (self._there(number, i, lambda number, i: self._picture(self.index.volumes[number], i)),)

    def check_volumes(self) -> None:
        """DataError for volumes of slices smaller than the pictures; and one slice is read now, where errors are plain."""
        for volume in self.index.volumes:
            _times(volume.target_shape, self.size, f"{shown(volume.name)}: ")
        number, i = self.samples[0]
        self._picture(self.index.volumes[number], i)

    def _picture(self, volume: MagnitudeVolume, i: int) -> np.ndarray:
        image = self._finite(volume, i, self.reader.target)
        return to_picture(image, self.size).astype(np.float32)[..., None]


def _times(shape: tuple[int, ...], size: tuple[int, int], where: str = "") -> int:
    """How often the picture fits into a slice in both directions; DataError for not once."""
    times = min(n // m for n, m in zip(shape, size))
    if times < 1:
        raise DataError(f"{where}slices of {shape[0]} x {shape[1]} are smaller than pictures of {size[0]} x {size[1]}; "
                        "build a flow of smaller pictures (image_shape), or leave the file out")
    return times


def _whole(size: Any) -> tuple[int, int]:
    try:
        height, width = (int(n) for n in size)
    except (TypeError, ValueError) as error:
        raise UsageError(f"The size must be (height, width), received {size!r}.") from error
    if min(height, width) < 1:
        raise UsageError(f"The size must be of at least 1 x 1, received {size!r}.")
    return height, width

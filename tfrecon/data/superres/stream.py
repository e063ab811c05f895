"""Whole batches of scaled slices in the order of an epoch: the part of the pipeline that is Python."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from ...errors import NonFiniteError, shown
from ...transforms import crop_or_pad
from ..lost import LostSlices
from ..slices import SliceReader
from ..splits import Sample, check_samples
from ..stream import EpochClock, FiniteSlices, epoch_order
from .value_range import Scale, choose_scale, stated_maximum, trusted_maximum
from .volumes import MagnitudeIndex, MagnitudeVolume

NOBODY = -1  # fills up the row of an incomplete batch


@dataclass
class SuperresStream:
    """Everything one pass over the data needs; whatever is random depends on `seed`, the epoch and the visit alone.

    Attributes:
        sizes: (height, width) every volume's slices are cropped or padded to. patch: side of the random crop, or None.
        value_range, strict, lost: see `superres_pairs`.
    """

    index: MagnitudeIndex
    samples: list[Sample]
    sizes: list[tuple[int, int]]
    patch: int | None
    reader: SliceReader
    value_range: str
    batch_size: int
    drop_remainder: bool
    shuffle: bool
    seed: int
    clock: EpochClock
    metadata: bool
    nan: str
    strict: bool
    lost: set | None

    def __post_init__(self) -> None:
        self._maxima: dict[int, float] = {}
        self._trusted: dict[int, float] = {}
        self._finite = FiniteSlices(self.nan)
        volumes = self.index.volumes
        check_samples(self.samples, volumes)
        self._there = LostSlices(self.samples, [self.size(number) for number in range(len(volumes))], self.strict, self.lost,
                                 [volume.name for volume in volumes])

    def size(self, number: int) -> tuple[int, int]:
        """(height, width) of the images a volume gives."""
        return (self.patch, self.patch) if self.patch else self.sizes[number]

    def visits(self) -> np.ndarray:
        """The batches of the next pass, each of images of one size: int64 (batches, batch size x 4).

        Of every image (volume number, slice number, epoch, place in the samples); -1 where a batch is incomplete.
        """
        epoch = self.clock.start_pass()
        order = epoch_order(len(self.samples), epoch, self.seed if self.shuffle else None)
        open_batches: dict[tuple[int, int], list] = {}
        batches = []
        for place in map(int, order):
            number, i = self.samples[place]
            batch = open_batches.setdefault(self.size(number), [])
            batch.append((number, i, epoch, place))
            if len(batch) == self.batch_size:
                batches.append(open_batches.pop(self.size(number)))
        if not self.drop_remainder:
            batches += open_batches.values()
        rows = np.full((len(batches), self.batch_size, 4), NOBODY, np.int64)
        for row, batch in zip(rows, batches):
            row[: len(batch)] = batch
        return rows.reshape(len(batches), -1)

    def element(self, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One batch: images float32 (N, h, w) in the network's units; scale, offset and data range float32 (N, 3)."""
        visits = [visit for visit in row.reshape(-1, 4).tolist() if visit[0] != NOBODY]
        images = np.empty((len(visits), *self.size(visits[0][0])), np.float32)
        facts = np.empty((len(visits), 3), np.float32)
        for image, fact, (number, i, epoch, place) in zip(images, facts, visits):
            image[...], fact[:] = self._there(
                number, i, lambda number, i, epoch=epoch, place=place: self._one(number, i, epoch, place))
        return images, facts

    def _one(self, number: int, i: int, epoch: int, place: int) -> tuple[np.ndarray, tuple[float, float, float]]:
        """An image of a batch with its scale, offset and data range."""
        values = self._slice(number, i)
        scale = self._scale(number, values)
        image = scale.to_network(self._cut(values, number, i, epoch, place))
        return image, (scale.scale, scale.offset, self._maximum(number) / scale.scale if self.metadata else 0.0)

    def _slice(self, number: int, i: int) -> np.ndarray:
        return self._finite(self.index.volumes[number], i, self.reader.target)

    def _cut(self, values: np.ndarray, number: int, i: int, epoch: int, place: int) -> np.ndarray:
        """A slice at its volume's size, or a random patch of it."""
        if not self.patch:
            return crop_or_pad(values, self.sizes[number])
        values = crop_or_pad(values, self.uncut(number))
        top, left = self.corner(number, i, epoch, place)
        return values[top : top + self.patch, left : left + self.patch]

    def uncut(self, number: int) -> tuple[int, int]:
        """(height, width) of a volume's slices before a patch is cut from them, which must not be larger."""
        height, width = self.sizes[number]
        return max(self.patch or 0, height), max(self.patch or 0, width)

    def corner(self, number: int, i: int, epoch: int, place: int) -> tuple[int, int]:
        """(top, left) of the patch of a visit; of whole slices (0, 0)."""
        if not self.patch:
            return 0, 0
        rng = np.random.default_rng((self.seed, epoch, place, number, i))
        top, left = (int(rng.integers(n - self.patch, endpoint=True)) for n in self.uncut(number))
        return top, left

    def _scale(self, number: int, values: np.ndarray) -> Scale:
        return choose_scale(self.value_range, values, lambda: self._trusted.get(number) or self._maximum(number))

    def _maximum(self, number: int) -> float:
        """The largest value of a volume, read once."""
        if number not in self._maxima:
            volume = self.index.volumes[number]
            self._maxima[number] = max(self._slice_maximum(volume, i) for i in range(volume.slices))
        return self._maxima[number]

    def _slice_maximum(self, volume: MagnitudeVolume, i: int) -> float:
        try:
            return float(self.reader.target(volume, i).max())
        except NonFiniteError:
            if self.nan != "skip":
                raise
            return 0.0  # not a maximum: the other slices decide

    def trust_maxima(self) -> None:
        """Look at what the volumes state as their maximum, warning of what is not believed, and at one slice at least: what
        cannot be read is told better now than by TensorFlow.
        """
        self._slice(*self.samples[0])
        for number in sorted({number for number, _ in self.samples}):
            volume = self.index.volumes[number]
            if self.value_range == "volume" and stated_maximum(volume) is not None:
                middle = float(self._slice(number, volume.slices // 2).max())
                self._trusted[number], note = trusted_maximum(volume, middle, lambda number=number: self._maximum(number))
                if note:
                    warnings.warn(f"{shown(volume.name)}: {note}.", stacklevel=4)

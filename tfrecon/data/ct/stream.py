"""Single slices in the order of an epoch, with their blur kernels and crops: the part of the pipeline that is Python."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import DataError, UsageError, shown
from ..lost import LostSlices
from ..splits import Sample
from ..stream import EpochClock, epoch_order
from .blurring import Blurring
from .reader import ImageReader
from .volumes import ImageIndex, ImageVolume
from .window import Window


@dataclass
class BlurStream:
    """Everything one pass over the data needs; whatever is random depends on `seed`, the epoch and the visit alone.

    Attributes:
        windows: of every volume of the index. patch: side of the random crop, None for whole slices.
        strict, lost: see `blur_pairs`.
    """

    index: ImageIndex
    samples: list[Sample]
    windows: list[Window]
    reader: ImageReader
    blurring: Blurring
    patch: int | None
    flip: bool
    shuffle: bool
    seed: int
    clock: EpochClock
    strict: bool
    lost: set | None

    def __post_init__(self) -> None:
        if not self.samples:
            raise DataError("No slices were chosen; expected at least one (volume number, slice number).")
        for number, i in self.samples:
            if not (0 <= number < len(self.index.volumes) and 0 <= i < self.index.volumes[number].slices):
                raise UsageError(f"There is no slice {i} of a volume {number}; expected (volume number, slice number) of "
                                 f"the {len(self.index.volumes)} volumes of the index.")
            self._check_patch(self.index.volumes[number])
        volumes = self.index.volumes
        self._there = LostSlices(self.samples, [self.size(number) for number in range(len(volumes))], self.strict, self.lost,
                                 [volume.name for volume in volumes])

    def size(self, number: int) -> tuple[int, int]:
        """(height, width) of the images a volume gives."""
        volume = self.index.volumes[number]
        return (self.patch, self.patch) if self.patch else (volume.height, volume.width)

    def _check_patch(self, volume: ImageVolume) -> None:
        if self.patch is not None and self.patch > min(volume.height, volume.width):
            raise DataError(f"{shown(volume.name)}: its slices of {volume.height} x {volume.width} are smaller than the "
                            f"patch of {self.patch}; take a patch of at most {min(volume.height, volume.width)}, or None "
                            "for whole slices")

    def visits(self) -> np.ndarray:
        """(volume number, slice number, epoch, place in the samples) of the next pass in its order: int64 (samples, 4)."""
        epoch = self.clock.start_pass()
        order = epoch_order(len(self.samples), epoch, self.seed if self.shuffle else None)
        return np.array([(*self.samples[place], epoch, place) for place in order], np.int64)

    def element(self, visit: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One slice with what is drawn for it.

        Returns:
            values float32 (H, W) in HU or grey levels, kernel float32 (canvas, canvas), geometry int32 (top, left, flip)
            and levels float32 (air, centre, half width of the window).
        """
        number, i, epoch, place = (int(n) for n in visit)
        return self._there(number, i, lambda number, i: self._element(number, i, epoch, place))

    def _element(
        self, number: int, i: int, epoch: int, place: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        volume, window = self.index.volumes[number], self.windows[number]
        values = self.reader.slice(volume, i)
        kernel = self.blurring.draw(volume.name, (self.seed, epoch, place, number, i))
        geometry = self._geometry(volume, (self.seed, epoch, place, number, i))
        return values, kernel, geometry, np.array([volume.air, window.centre, window.half], np.float32)

    def _geometry(self, volume: ImageVolume, position: tuple[int, ...]) -> np.ndarray:
        """Crop and flip; the offsets are the original's, which never takes the last possible one."""
        rng = np.random.default_rng(position)
        sizes = (volume.height, volume.width)
        ends = [max(0, n - self.patch - 1) if self.patch else 0 for n in sizes]
        top, left = (rng.integers(0, end, endpoint=True) for end in ends)
        return np.array([top, left, self.flip and rng.random() < 0.5], np.int32)

"""Single slices in the order of an epoch, with their masks: the part of the pipeline that is Python."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, NonFiniteError
from ..physics import columns_of, ifft2c
from ..transforms import center_crop
from .checks import examine_slice
from .index import Index, Volume, output_size
from .lost import LostSlices
from .masking import Masking
from .slices import SliceReader
from .splits import Sample, check_samples

_log = logging.getLogger("tfrecon")


class EpochClock:
    """Says which epoch's order and masks come next, so that a resumed run sees what the uninterrupted one saw.

    Every pass over the dataset takes the present `epoch` and adds one; set `epoch` before a pass to choose it
    (`tfrecon.training.callbacks.SetClock` does at each epoch's beginning).
    """

    def __init__(self, epoch: int = 0):
        self._epoch, self._variable = epoch, None

    @property
    def epoch(self) -> int:
        return self._epoch if self._variable is None else int(self._variable.numpy())

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        if self._variable is None:
            self._epoch = epoch
        else:
            self._variable.assign(epoch)

    def start_pass(self) -> int:
        self.epoch += 1
        return self.epoch - 1

    def start_pass_in_graph(self) -> Any:
        """`start_pass` as an operation, int64, for input without Python: the epoch lives in a variable from now on."""
        import tensorflow as tf

        if self._variable is None:
            with tf.init_scope(), tf.device("CPU:0"):
                self._variable = tf.Variable(self._epoch, dtype=tf.int64, trainable=False)
        return self._variable.assign_add(1) - 1


class StillClock(EpochClock):
    """For validation data, which are cut the same way in every epoch."""

    def start_pass(self) -> int:
        return self.epoch

    def start_pass_in_graph(self) -> Any:
        import tensorflow as tf

        return tf.constant(self.epoch, tf.int64)


class FiniteSlices:
    """Reads a slice or, with "skip", the nearest finite one of its volume in its place.

    Args:
        nan: "skip"; anything else raises for a slice that is not finite.
    """

    def __init__(self, nan: str):
        self.nan = nan
        self._told: set[str] = set()

    def __call__(self, volume: Any, i: int, read: Callable[[Any, int], Any]) -> Any:
        nearest = sorted(range(volume.slices), key=lambda j: (abs(j - i), j)) if self.nan == "skip" else [i]
        for j in nearest:
            try:
                return read(volume, j)
            except NonFiniteError as error:
                if j == nearest[-1]:
                    raise
                if str(error) not in self._told:  # once, not in every epoch
                    self._told.add(str(error))
                    _log.warning("note: %s; a neighbour takes its place", str(error).split(";")[0])
        raise AssertionError("unreachable: the last candidate either returns or raises")


def visits_of(samples: Sequence[Sample], epoch: int, seed: int | None) -> np.ndarray:
    """(volume number, slice number, epoch) of every sample in the order of `epoch_order`: int64 (samples, 3)."""
    return np.array([(*samples[number], epoch) for number in epoch_order(len(samples), epoch, seed)], np.int64)


def epoch_order(count: int, epoch: int, seed: int | None) -> np.ndarray:
    """0 to count - 1, shuffled by a seed and the epoch's number; None leaves the order."""
    order = np.arange(count)
    return order if seed is None else np.random.default_rng([seed, epoch]).permutation(order)


@dataclass
class SliceStream:
    """Everything the generator needs to yield single slices in the order of an epoch.

    `combining` makes one coil of several (`multicoil.Combining`); `strict` and `lost` are for `LostSlices`.
    """

    index: Index
    samples: list[Sample]
    crops: list[tuple[int, int]]
    reader: SliceReader
    masking: Masking
    shuffle: bool
    seed: int
    clock: EpochClock
    metadata: bool
    nan: str
    combining: Callable[[Volume, int, np.ndarray, np.ndarray | None], np.ndarray] | None = None
    strict: bool = False
    lost: set | None = None

    def __post_init__(self) -> None:
        check_samples(self.samples, self.index.volumes)
        self._maxima: dict[int, float] = {}
        self._finite = FiniteSlices(self.nan)
        self._there = LostSlices(self.samples, self.crops, self.strict, self.lost, [v.name for v in self.index.volumes])

    @property
    def computed_target(self) -> bool:
        """Whether the target is left to be computed from the k-space yielded, which of combined coils is masked already."""
        return self.index.volumes[0].target_key is None and self.combining is None

    def visits(self) -> np.ndarray:
        """(volume number, slice number, epoch) of every sample of the next pass, in its order: int64 (samples, 3)."""
        return visits_of(self.samples, self.clock.start_pass(), self.seed if self.shuffle else None)

    def element(self, visit: np.ndarray) -> tuple:
        """Columns of k-space, mask, target, crop and the volume's maximum, in the types of `_signature`.

        The columns are those of `physics.columns_of`: the measured ones, all of them where the target is computed too.
        """
        number, i, epoch = (int(n) for n in visit)
        return self._there(number, i, lambda number, i: self._element(number, i, epoch))

    def _element(self, number: int, i: int, epoch: int) -> tuple:
        volume = self.index.volumes[number]
        kspace, target, read = self._finite(volume, i, self.read)
        mask = self.own_mask(volume, read)
        if mask is None:
            mask = self.drawn_mask(number, i, epoch)
        if self.combining:
            kspace, mask = self.combining(volume, read, kspace, mask), np.ones(volume.width, bool)
        kspace, mask = masked_by_columns(kspace, mask)
        maximum = self.maximum(number) if self.metadata else 0.0
        columns = columns_of(kspace, None if self.computed_target else mask)
        return columns, mask, target, np.array(self.crops[number], np.int32), np.float32(maximum)

    def read(self, volume: Volume, i: int) -> tuple[np.ndarray, np.ndarray, int]:
        """K-space and target of a slice as the file has them, and its number; NonFiniteError as the reader's."""
        kspace = self.reader.kspace(volume, i)
        if self.computed_target:
            return kspace, np.zeros((0, 0), np.float32), i
        return kspace, self.reader.target(volume, i) if volume.target_key else self._combined_image(volume, i, kspace), i

    def own_mask(self, volume: Volume, i: int) -> np.ndarray | None:
        """The mask the file has for a slice, bool (width,) or (height, width); None where the rule draws one."""
        if "masks" in volume.extra_keys:
            return self.reader.sampling_mask(volume, i)
        return np.ones(volume.width, bool) if volume.undersampled else volume.mask

    def drawn_mask(self, number: int, i: int, epoch: int) -> np.ndarray:
        """The mask by the rule, bool (width,), of a visit."""
        volume = self.index.volumes[number]
        return self.masking.draw(volume.width, volume.name, (self.seed, epoch, number, i))

    def _combined_image(self, volume: Volume, i: int, kspace: np.ndarray) -> np.ndarray:
        return np.abs(ifft2c(self.combining(volume, i, kspace, None)))

    def maximum(self, number: int) -> float:
        """The largest target value of a volume, read once."""
        if number not in self._maxima:
            volume = self.index.volumes[number]
            self._maxima[number] = max(self._slice_maximum(volume, i) for i in range(volume.slices))
        return self._maxima[number]

    def _slice_maximum(self, volume: Volume, i: int) -> float:
        if volume.target_key is None:
            kspace, target, _ = self._finite(volume, i, self.read)
            image = np.abs(ifft2c(kspace)) if self.computed_target else target
            return float(center_crop(image, output_size(volume)).max())
        try:
            return float(self.reader.target(volume, i).max())
        except NonFiniteError:
            if self.nan != "skip":
                raise
            return 0.0  # not a maximum: the other slices decide

    def check_first_slice(self) -> None:
        """Warn about what looks wrong in the middle slice of the first volume; refuse targets that equal the input."""
        for number in sorted({number for number, _ in self.samples}):
            if self.index.volumes[number].target_key is None:
                self._check_measured(self.index.volumes[number])
        volume = self.index.volumes[self.samples[0][0]]
        kspace, target, _ = self._finite(volume, volume.slices // 2, self.read)
        if volume.undersampled or volume.mask is not None:
            return  # known to have gaps, and unlike its target for that reason
        for sentence in examine_slice(kspace, target if volume.target_key else None):
            warnings.warn(f"{volume.name}, slice {volume.slices // 2}: {sentence}.", stacklevel=3)

    def _check_measured(self, volume: Volume) -> None:
        """DataError for a target that would equal the input, looking at a slice only where the file has a mask."""
        if self.computed_target and "masks" in volume.extra_keys:
            raise DataError(f"{volume.name}: it has masks for every slice, so a target computed from the k-space would be masked "
                            "too. Name stored images as the target, or remove masks.")
        if volume.undersampled or volume.mask is not None:
            kspace, *_ = self._finite(volume, volume.slices // 2, self.read)
            if _is_masked(volume, kspace):
                raise DataError(f"{volume.name}: its k-space is undersampled, so a target computed from it would equal the "
                                "input. Name stored images as the target, or use reconstruct.")


def masked_by_columns(kspace: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """K-space and its mask of columns, where a mask of single points, which the graph cannot take, is applied here."""
    if mask.ndim == 1:
        return kspace, mask
    return np.where(mask, kspace, np.zeros((), kspace.dtype)), np.ones(mask.shape[-1], bool)


def _is_masked(volume: Volume, kspace: np.ndarray) -> bool:
    """Whether the file says that columns were left out and they are."""
    gaps = volume.mask is not None and not volume.mask.all() and not kspace[..., ~volume.mask].any()
    return volume.undersampled or gaps

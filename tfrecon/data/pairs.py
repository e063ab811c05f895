"""Streams (input, target) pairs from HDF5 volumes as a `tf.data.Dataset`.

Python reads slices and draws masks; Fourier transforms, cropping and scaling run in TensorFlow on all cores. Nothing but
indices is shuffled, so memory holds a few batches whatever the size of the data.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, NonFiniteError, UsageError
from ..physics import ifft2c, masked_and_full
from ..transforms import center_crop, crop_size
from .checks import examine_slice
from .index import Index, Volume, index_volumes
from .masking import Masking
from .memory import memory_shortage
from .slices import SliceReader
from .splits import Sample, all_samples

TASKS = ("masked",)
SCALINGS = ("zero_filled_max", "zero_filled_max_uncropped", "none")
_ORIGINAL_FLOOR = 1e-6

_log = logging.getLogger("tfrecon")


class EpochClock:
    """Says which epoch's order and masks come next, so that a resumed run sees what the uninterrupted one saw.

    Every pass over the dataset takes the present `epoch` and adds one; set `epoch` before a pass to choose it
    (`tfrecon.training.callbacks.SetClock` does at each epoch's beginning).
    """

    def __init__(self, epoch: int = 0):
        self.epoch = epoch

    def start_pass(self) -> int:
        self.epoch += 1
        return self.epoch - 1


def create_paired_dataset(
    path: Any,
    task: str = "masked",
    batch_size: int = 8,
    target: str | None = None,
    *,
    accelerations: Any = 4,
    center_fractions: Any = None,
    mask_type: str = "random",
    mask_seed: Any = "file",
    crop: Any = None,
    scaling: str = "zero_filled_max",
    shuffle: bool = False,
    seed: int = 0,
    clock: EpochClock | None = None,
    drop_remainder: bool = False,
    metadata: bool = False,
    samples: Sequence[Sample] | None = None,
    kspace_key: str | None = None,
    complex_axis: str | None = None,
    shift: bool = False,
    nan: str = "skip",
    strict: bool = False,
) -> Any:
    """Stream slices as (zero-filled, target) pairs.

    Args:
        path: HDF5 file, folder, list of them, or an `Index` (from `index_volumes`, `split`, `folds`).
        task: "masked": undersampled single-coil k-space against the full image.
        batch_size: at least 1.
        target: key of the target images, or "kspace" to compute them; None: `reconstruction_esc`.
        accelerations, center_fractions, mask_type, mask_seed: see `Masking`; `mask_seed=None` draws a fresh mask for
            every slice and epoch from `seed`. A file with a mask of its own keeps it.
        crop: (h, w) or a number; None: the stored target's size, else 320 or the smaller side.
        scaling: "zero_filled_max" divides input and target by the largest value of the cropped input of the slice;
            "zero_filled_max_uncropped" by that of the whole zero-filled slice, at least 1e-6 (seed 001);
            "none" leaves the file's units. An empty slice is divided by 1.
        shuffle: a new order of slices every epoch, from `seed`.
        seed: of order and fresh masks.
        clock: see `EpochClock`; None counts passes.
        drop_remainder: leave out the last incomplete batch (needed on TPU and under tf.distribute).
        metadata: yield a third element, a dict of (N,) float32: `scale` (output times scale is in the file's units)
            and `data_range` (the target volume's maximum divided by `scale`, fastMRI's range for SSIM and PSNR).
        samples: (volume number, slice number) to use instead of all slices.
        kspace_key: of the k-space; None: `kspace`, else `kspace_4af` or `kspace_8af`.
        complex_axis: "last" for real arrays ending in (real, imaginary).
        shift: move the k-space centre from the corner to the middle.
        nan: "skip" takes the nearest finite slice of the volume in place of one with NaN or infinity, so the count of
            slices from the headers holds; "refuse" raises; "zero" sets them to 0.
        strict: raise for the first unusable file instead of leaving it out.

    Returns:
        `tf.data.Dataset` of float32 (N, h, w, 1) pairs, cardinality known from headers. Slices of different sizes come
        in batches of their own.

    Raises:
        UsageError: an argument is out of range. DataError: no usable volume, or none of the wanted kind.
    """
    _check_arguments(task, batch_size, scaling, nan)
    index = path
    if not isinstance(path, Index):
        index = index_volumes(path, target or "reconstruction_esc", kspace_key, strict, complex_axis)
    chosen = list(all_samples(index) if samples is None else samples)
    masking = Masking(accelerations, center_fractions, mask_type, mask_seed)
    reader = SliceReader(complex_axis, "zero" if nan == "zero" else "refuse", shift)
    _check_memory(index)
    crops = [output_size(v, crop) for v in index.volumes]
    stream = _Stream(index, chosen, crops, reader, masking, shuffle, seed, clock or EpochClock(), metadata, nan)
    stream.check_first_slice()
    return _pipeline(stream, batch_size, scaling, drop_remainder, metadata)


def output_size(volume: Volume, crop: Any = None) -> tuple[int, int]:
    """(h, w) a volume's images have: `crop` if given, else the stored target's size, else fastMRI's rule."""
    if volume.coils is not None:
        raise DataError(
            f"{volume.name} has {volume.coils} coils; the masked task takes single-coil k-space (slices, H, W). "
            "Combine the coils first."
        )
    stored = volume.target_shape or next(iter(volume.image_keys.values()), None)
    if stored and (stored[0] > volume.height or stored[1] > volume.width):
        stored = None  # interpolated beyond the k-space: not a size these samples can fill
    if crop is None:
        return stored or crop_size(volume.height, volume.width)
    size = (int(crop), int(crop)) if np.isscalar(crop) else tuple(int(n) for n in crop)
    limit = volume.target_shape or (volume.height, volume.width)
    if len(size) != 2 or not all(0 < s <= n for s, n in zip(size, limit)):
        raise DataError(f"{volume.name}: the crop {size} does not fit into its images {limit}. Ask for a smaller one.")
    return size


@dataclass
class _Stream:
    """Everything the generator needs to yield single slices in the order of an epoch."""

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

    def __post_init__(self) -> None:
        self._maxima: dict[int, float] = {}
        self._told: set[str] = set()
        if not self.samples:
            raise DataError("No slices were chosen; expected at least one (volume number, slice number).")

    @property
    def computed_target(self) -> bool:
        return self.index.volumes[0].target_key is None

    def visits(self) -> np.ndarray:
        """(volume number, slice number, epoch) of every sample of the next pass, in its order: int64 (samples, 3)."""
        epoch = self.clock.start_pass()
        order = np.arange(len(self.samples))
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(order)
        return np.array([(*self.samples[number], epoch) for number in order], np.int64)

    def element(self, visit: np.ndarray) -> tuple:
        """K-space, mask, target, crop and the volume's maximum, in the types of `_signature`."""
        number, i, epoch = (int(n) for n in visit)
        volume = self.index.volumes[number]
        kspace, target = self._finite_slice(volume, i)
        mask = volume.mask
        if mask is None:
            mask = self.masking.draw(volume.width, volume.name, (self.seed, epoch, number, i))
        maximum = self._maximum(number) if self.metadata else 0.0
        return kspace, mask, target, np.array(self.crops[number], np.int32), np.float32(maximum)

    def _finite_slice(self, volume: Volume, i: int) -> tuple[np.ndarray, np.ndarray]:
        nearest = sorted(range(volume.slices), key=lambda j: (abs(j - i), j)) if self.nan == "skip" else [i]
        for j in nearest:
            try:
                return self._read(volume, j)
            except NonFiniteError as error:
                if j == nearest[-1]:
                    raise
                if str(error) not in self._told:  # once, not in every epoch
                    self._told.add(str(error))
                    _log.warning("note: %s; a neighbour takes its place", str(error).split(";")[0])
        raise AssertionError("unreachable: the last candidate either returns or raises")

    def _read(self, volume: Volume, i: int) -> tuple[np.ndarray, np.ndarray]:
        kspace = self.reader.kspace(volume, i)
        if self.computed_target:
            return kspace, np.zeros((0, 0), np.float32)
        return kspace, self.reader.target(volume, i)

    def _maximum(self, number: int) -> float:
        """The largest target value of a volume, read once."""
        if number not in self._maxima:
            volume = self.index.volumes[number]
            self._maxima[number] = max(self._slice_maximum(volume, i) for i in range(volume.slices))
        return self._maxima[number]

    def _slice_maximum(self, volume: Volume, i: int) -> float:
        kspace, target = self._finite_slice(volume, i)
        if self.computed_target:
            target = center_crop(np.abs(ifft2c(kspace)), output_size(volume))
        return float(target.max())

    def check_first_slice(self) -> None:
        """Warn about what looks wrong in the middle slice of the first volume."""
        volume = self.index.volumes[self.samples[0][0]]
        kspace, target = self._finite_slice(volume, volume.slices // 2)
        for sentence in examine_slice(kspace, None if self.computed_target else target):
            if volume.mask is None or "already undersampled" not in sentence:
                warnings.warn(f"{volume.name}, slice {volume.slices // 2}: {sentence}.", stacklevel=3)


def _pipeline(stream: _Stream, batch_size: int, scaling: str, drop_remainder: bool, metadata: bool) -> Any:
    import tensorflow as tf

    sizes = {stream.crops[number] for number, _ in stream.samples}
    static = sizes.pop() if len(sizes) == 1 else None

    def to_pair(kspace: Any, mask: Any, target: Any, crop: Any, maximum: Any) -> tuple:
        return _scaled_pair(kspace, mask, target, static or crop, maximum, scaling, stream.computed_target, metadata)

    dataset = _elements(stream, tf).map(to_pair, num_parallel_calls=tf.data.AUTOTUNE)
    if static:
        dataset = dataset.batch(batch_size, drop_remainder=drop_remainder)
    else:
        dataset = dataset.group_by_window(
            key_func=lambda image, *_: tf.cast(tf.shape(image)[0] * 2**20 + tf.shape(image)[1], tf.int64),
            reduce_func=lambda _, window: window.batch(batch_size, drop_remainder=drop_remainder),
            window_size=batch_size,
        )
    count = _batches(stream, batch_size, drop_remainder)
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(tf.data.AUTOTUNE)


def _elements(stream: _Stream, tf: Any) -> Any:
    """One pass over the stream as a dataset.

    Not `Dataset.from_generator`: on Python 3.11 and later its kernel tells glibc, for the whole process and whatever was
    set before, to return every buffer above 128 KiB to the kernel at once. Page faults then cost a third of the
    pipeline's time, and the training step's allocations suffer as well.
    """
    signature = _signature(stream, tf)

    def visits(_: Any) -> Any:
        rows = tf.numpy_function(stream.visits, [], tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(rows, (len(stream.samples), 3)))

    def read(visit: Any) -> tuple:
        values = tf.numpy_function(stream.element, [visit], [spec.dtype for spec in signature])
        return tuple(tf.ensure_shape(value, spec.shape) for value, spec in zip(values, signature))

    return tf.data.Dataset.range(1).flat_map(visits).map(read)


def _scaled_pair(
    kspace: Any, mask: Any, target: Any, crop: Any, maximum: Any, scaling: str, computed: bool, metadata: bool
) -> tuple:
    import tensorflow as tf

    rows = tf.shape(kspace) if scaling == "zero_filled_max_uncropped" else crop
    image, full = masked_and_full(kspace, mask, rows, full=computed)
    largest = tf.reduce_max(image)
    if scaling == "zero_filled_max_uncropped":
        scale = tf.maximum(largest, _ORIGINAL_FLOOR)
    else:
        scale = tf.where(largest > 0, largest, 1.0) if scaling == "zero_filled_max" else tf.ones(())
    target = full if computed else target
    pair = tuple(_crop_tensor(x, crop)[..., None] / scale for x in (image, target))
    return (*pair, {"scale": scale, "data_range": maximum / scale}) if metadata else pair


def _crop_tensor(x: Any, crop: Any) -> Any:
    """center_crop for sizes known only when the graph runs; a static crop gives a static shape."""
    import tensorflow as tf

    top, left = ((tf.shape(x)[axis] - crop[axis]) // 2 for axis in (0, 1))
    return tf.slice(x, [top, left], [crop[0], crop[1]])


def _signature(stream: _Stream, tf: Any) -> tuple:
    volumes = stream.index.volumes
    height, width = (n.pop() if len(n) == 1 else None for n in ({v.height for v in volumes}, {v.width for v in volumes}))
    return (
        tf.TensorSpec((height, width), tf.complex64),
        tf.TensorSpec((width,), tf.bool),
        tf.TensorSpec((None, None), tf.float32),
        tf.TensorSpec((2,), tf.int32),
        tf.TensorSpec((), tf.float32),
    )


def _batches(stream: _Stream, batch_size: int, drop_remainder: bool) -> int:
    counts: dict[tuple[int, int], int] = {}
    for number, _ in stream.samples:
        counts[stream.crops[number]] = counts.get(stream.crops[number], 0) + 1
    batches = sum(n // batch_size if drop_remainder else -(-n // batch_size) for n in counts.values())
    if not batches:
        raise UsageError(
            f"A batch of {batch_size} is larger than the {len(stream.samples)} slices there are and the incomplete "
            "last batch is dropped. Take a smaller batch size."
        )
    return batches


def _check_memory(index: Index) -> None:
    for volume in index.volumes:
        shortage = memory_shortage(volume)
        if shortage:
            raise DataError(f"{volume.path}: {shortage}")


def _check_arguments(task: str, batch_size: Any, scaling: str, nan: str) -> None:
    if task not in TASKS:
        raise UsageError(f"The task must be one of {', '.join(TASKS)}, received {task!r}.")
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise UsageError(f"The batch size must be a whole number of at least 1, received {batch_size!r}.")
    if scaling not in SCALINGS:
        raise UsageError(f"The scaling must be one of {', '.join(SCALINGS)}, received {scaling!r}.")
    if nan not in ("skip", "refuse", "zero"):
        raise UsageError(f"nan must be skip, refuse or zero, received {nan!r}.")

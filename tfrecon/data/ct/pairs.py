"""Streams (blurred, sharp) pairs from CT images as a `tf.data.Dataset`.

Python reads slices and draws paths; the blur, the crop and the window run in TensorFlow on all cores. Only the part of a
slice that reaches into the crop is blurred, which gives the same numbers for a third of the work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import UsageError
from ...physics import blur
from ..batching import PARALLEL, batched, elements
from ..memory import check_slices_fit
from ..splits import Sample, all_samples
from ..stream import EpochClock
from .blurring import Blurring, blur_slice
from .index import index_images
from .reader import ImageReader
from .stream import BlurStream
from .volumes import ImageIndex
from .window import Window, choose_window, parse_window

# The slice, its spectrum, the kernel's, their product, two images and their copies in channels.
_BYTES_PER_PIXEL = 4 * 16


def blur_pairs(
    path: Any,
    batch_size: int = 8,
    target: str | None = None,
    *,
    window: Any = None,
    patch: int | None = 256,
    flip: bool = True,
    channels: int = 3,
    blurring: Blurring | None = None,
    stretch: bool = False,
    shuffle: bool = False,
    seed: int = 0,
    clock: EpochClock | None = None,
    drop_remainder: bool = False,
    metadata: bool = False,
    samples: Sequence[Sample] | None = None,
    nan: str = "refuse",
    strict: bool = False,
    lost: set | None = None,
) -> Any:
    """Stream slices as (blurred, sharp) pairs.

    Args:
        path: DICOM, NIfTI, PNG or HDF5 file, folder, list of them, or an `ImageIndex` (from `index_images`, `split`).
        batch_size: at least 1.
        target: dataset of HDF5 files; None: `hu`, else `reconstruction`.
        window: what becomes [-1, 1], a name or (centre, width), see `choose_window`; None: that of the index, else soft
            tissue for Hounsfield units. Grey levels need one named.
        patch: side of the random square crop, the same for both images, offsets as in the original; None: whole slices
            without flip, for validation.
        flip: mirror left and right with probability 1/2.
        channels: the grey image is repeated in as many.
        blurring: kernels, see `Blurring`, whose seed None draws a fresh one for every slice and epoch; None: its defaults.
        stretch: blur the WINDOWED slice and stretch input and output to their whole range, as the original does, instead of
            blurring HU with air all around: this changes the contrast between the two images.
        shuffle: a new order of slices every epoch, from `seed`.
        seed: of order, crops and fresh kernels, from 0.
        clock: see `EpochClock`; None counts passes.
        drop_remainder: leave out the last incomplete batch.
        metadata: yield a third element, a dict of (N,) float32: `data_range` (1: the range of the images once mapped from
            [-1, 1] to [0, 1]) and `scale` (the network's units times scale are HU).
        samples: (volume number, slice number) to use instead of all slices; one may come several times.
        nan: "refuse" or "air", see `ImageReader`.
        strict: raise for the first unusable file instead of leaving it out.
        lost: a set that (volume name, slice number) of those are put into whose file vanished or changed meanwhile. Each is
            read once more, then another slice of its size takes its place; more than 5 % of them, or one with `strict`, are
            a DataError.

    Returns:
        `tf.data.Dataset` of float32 pairs (N, patch, patch, channels) in [-1, 1], or of whole slices, those of different
        sizes in batches of their own; cardinality known from headers.

    Raises:
        UsageError: an argument is out of range. DataError: no usable volume, or one smaller than the patch.

    Reference: KupynOrest/DeblurGAN@2499a87 data/aligned_dataset.py (crop, flip, range) and motion_blur/ (blur).
    """
    _check_arguments(batch_size, patch, channels, seed)
    index = path if isinstance(path, ImageIndex) else index_images(path, window, strict, target)
    windows = _windows(index, window)
    chosen = [(int(v), int(i)) for v, i in (all_samples(index) if samples is None else samples)]
    flip = flip and patch is not None
    stream = BlurStream(index, chosen, windows, ImageReader(nan), blurring or Blurring(), patch, flip, shuffle, seed,
                        clock or EpochClock(), strict, lost)
    check_slices_fit(index.volumes, _BYTES_PER_PIXEL)
    return _pipeline(stream, batch_size, channels, stretch, drop_remainder, metadata)


def _windows(index: ImageIndex, window: Any) -> list[Window]:
    """Of every volume; another window than the index was made for would change which volumes are in it."""
    if None not in (window, index.window) and parse_window(window) != parse_window(index.window):
        raise UsageError(f"The index was made for the window {index.window}, received window={window!r}. Give index_images "
                         "the window wanted.")
    return [choose_window(window if window is not None else index.window, volume) for volume in index.volumes]


def _pipeline(
    stream: BlurStream, batch_size: int, channels: int, stretch: bool, drop_remainder: bool, metadata: bool
) -> Any:
    import tensorflow as tf

    def to_pair(values: Any, kernel: Any, geometry: Any, levels: Any) -> tuple:
        make = _stretched_pair if stretch else _pair
        pair = make(values, kernel, geometry, levels, stream.patch)
        pair = tuple(tf.repeat(_mirrored(x, geometry[2])[..., None], channels, axis=-1) for x in pair)
        facts = {"data_range": tf.ones(()), "scale": levels[2]}
        return (*pair, facts) if metadata else pair

    dataset = elements(stream, _signature(stream, tf)).map(to_pair, num_parallel_calls=PARALLEL)
    return batched(dataset, _sizes(stream), batch_size, drop_remainder)


def _signature(stream: BlurStream, tf: Any) -> tuple:
    volumes, canvas = stream.index.volumes, stream.blurring.canvas
    height, width = (n.pop() if len(n) == 1 else None for n in ({v.height for v in volumes}, {v.width for v in volumes}))
    return (tf.TensorSpec((height, width), tf.float32), tf.TensorSpec((canvas, canvas), tf.float32),
            tf.TensorSpec((3,), tf.int32), tf.TensorSpec((3,), tf.float32))


def _pair(values: Any, kernel: Any, geometry: Any, levels: Any, patch: int | None) -> tuple[Any, Any]:
    """(blurred, sharp) in [-1, 1], blurred in HU with air all around, so that what lies beyond the window counts."""
    import tensorflow as tf

    if patch is None:
        return _windowed(blur_slice(values, kernel, levels[0]), levels), _windowed(values, levels)
    reach = kernel.shape[0] - 1
    after = reach // 2
    before = reach - after
    surrounded = tf.pad(values - levels[0], [(before, after)] * 2)
    part = tf.slice(surrounded, geometry[:2], [patch + reach] * 2)
    inside = slice(before, before + patch)
    return tuple(_windowed(x[inside, inside] + levels[0], levels) for x in (blur(part, kernel), part))


def _stretched_pair(values: Any, kernel: Any, geometry: Any, levels: Any, patch: int | None) -> tuple[Any, Any]:
    import tensorflow as tf

    sharp = _windowed(values, levels)
    blurred = 2 * blur(sharp, kernel, stretch=True) - 1
    return (blurred, sharp) if patch is None else tuple(tf.slice(x, geometry[:2], [patch] * 2) for x in (blurred, sharp))


def _windowed(values: Any, levels: Any) -> Any:
    import tensorflow as tf

    return tf.clip_by_value((values - levels[1]) / levels[2], -1.0, 1.0)


def _mirrored(image: Any, flip: Any) -> Any:
    import tensorflow as tf

    return tf.where(flip > 0, image[:, ::-1], image)


def _sizes(stream: BlurStream) -> Counter:
    """How many slices of each size one pass yields."""
    return Counter(stream.size(number) for number, _ in stream.samples)


def _check_arguments(batch_size: Any, patch: Any, channels: Any, seed: Any) -> None:
    for name, value, least in (("batch size", batch_size, 1), ("patch", 1 if patch is None else patch, 1),
                               ("number of channels", channels, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value < 2**32:
            raise UsageError(f"The {name} must be a whole number of at least {least}, received {value!r}.")

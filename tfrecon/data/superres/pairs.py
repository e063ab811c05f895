"""Streams (small, large) pairs of magnitude images as a `tf.data.Dataset`.

Python reads whole batches of slices; reducing them runs in TensorFlow. One channel travels; a network that wants three
repeats it on its device. Nothing but indices is shuffled, so memory holds a few batches whatever the size of the data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...errors import DataError, UsageError, shown
from ...transforms import reduce_by_four
from ..batching import PARALLEL, Share, check_nan, count_batches, elements, shareable, without_python
from ..memory import check_slices_fit
from ..shards import ShardIndex
from ..slices import SliceReader
from ..splits import Sample, all_samples
from ..stream import EpochClock
from .shards import index_superres
from .stream import SuperresStream
from .value_range import check_value_range
from .volumes import MagnitudeIndex, MagnitudeVolume

FACTOR = 4
_BYTES_PER_PIXEL = 4 * 8  # a slice as it is stored, finite, cut, scaled, in a batch, and TensorFlow's copies


def superres_pairs(
    path: Any,
    batch_size: int = 8,
    target: str | None = None,
    *,
    value_range: str = "volume",
    size: Any = None,
    patch: int | None = None,
    shuffle: bool = False,
    seed: int = 0,
    clock: EpochClock | None = None,
    drop_remainder: bool = False,
    metadata: bool = False,
    samples: Sequence[Sample] | None = None,
    nan: str = "skip",
    strict: bool = False,
    lost: set | None = None,
) -> Any:
    """Stream slices as (a quarter of the size, full size) pairs, the small one by `transforms.reduce_by_four`.

    Args:
        path: HDF5 file, folder, list of them, or a `MagnitudeIndex` (from `index_magnitudes`, `split`, `folds`); or a folder
            of shards (`write_shards`, `tfrecon convert`) or `ShardIndex`, which give the same batches. On a TPU, or under its
            strategy, they are read without Python: shuffled by shard and through a buffer, and with other patches.
        batch_size: at least 1.
        target: dataset of the images; None: `reconstruction_rss`, else `reconstruction_esc`, else `reconstruction`.
        value_range: "volume": the volume's maximum, from the file's attribute `max` or, where it has none, by reading it,
            becomes 255; "slice": each slice's smallest value becomes 0 and its largest 255; "raw": the file's values as
            they are, as the original, which learns nothing from fastMRI's 1e-4.
        size: (h, w) or a number, multiples of 4: every slice is cropped about its centre where it is larger and padded with
            zeros where it is smaller (320 is the original's); None: each volume's own size, cropped to a multiple of 4.
        patch: side of a random square crop of that, a multiple of 4; slices smaller than it are padded with zeros first.
        shuffle: a new order of slices every epoch, from `seed`.
        seed: of order and patches, from 0.
        clock: see `EpochClock`; None counts passes.
        drop_remainder: leave out the last incomplete batch (needed on TPU and under tf.distribute).
        metadata: yield a third element, a dict of (N,) float32: `scale` and `offset` (network value x scale + offset is in
            the file's units) and `data_range` (the volume's maximum divided by `scale`, fastMRI's range for SSIM and PSNR).
        samples: (volume number, slice number) to use instead of all slices; one may come several times.
        nan: "skip" takes the nearest finite slice of the volume in place of one with NaN or infinity; "refuse" raises;
            "zero" sets them to 0.
        strict: raise for the first unusable file instead of leaving it out.
        lost: a set that (volume name, slice number) of those are put into whose file vanished or changed meanwhile. Each is
            read once more, then another slice of its size takes its place; more than 5 % of them, or one with `strict`, are
            a DataError (not of shards).

    Returns:
        `tf.data.Dataset` of float32 pairs (N, h / 4, w / 4, 1) and (N, h, w, 1) of about [0, 255], cardinality known from
        headers. Slices of different sizes come in batches of their own.

    Raises:
        UsageError: an argument is out of range. DataError: no usable volume.

    Reference: JanPanjan/SRResCycGAN_MRI (seed 002) src, whose pairs `value_range="raw"` with size=320 gives.
    """
    _check_arguments(batch_size, patch, seed, nan)
    check_value_range(value_range)
    index = path if isinstance(path, MagnitudeIndex | ShardIndex) else index_superres(path, target, strict)
    _check_volumes(index, target)
    chosen = [(int(v), int(i)) for v, i in (all_samples(index) if samples is None else samples)]
    sizes = [image_size(volume, size, patch) for volume in index.volumes]
    reader = SliceReader(nan="zero" if nan == "zero" else "refuse")
    stream = SuperresStream(index, chosen, sizes, patch, reader, value_range, int(batch_size), drop_remainder, shuffle,
                            int(seed), clock or EpochClock(), metadata, nan, strict, lost)
    if isinstance(index, ShardIndex):
        _check_nan_of_shards(nan)
        if without_python():
            return _in_sequence(stream)
    else:
        stream.trust_maxima()
    return _pipeline(stream)


def image_size(volume: MagnitudeVolume, size: Any = None, patch: int | None = None) -> tuple[int, int]:
    """(h, w) a volume's slices are cropped or padded to: `size`, else its own cut to a multiple of 4.

    With a patch nothing needs to be a multiple of 4 but that.
    """
    if size is not None:
        return _whole_size(size)
    own = volume.target_shape
    if patch is not None:
        return own
    if min(own) < FACTOR:
        raise DataError(f"{shown(volume.name)}: its slices of {own[0]} x {own[1]} are too small to be reduced by {FACTOR}; "
                        "leave the file out")
    return own[0] // FACTOR * FACTOR, own[1] // FACTOR * FACTOR


def _pipeline(stream: SuperresStream) -> Any:
    import tensorflow as tf

    sizes = Counter(stream.size(number) for number, _ in stream.samples)
    count = count_batches(sizes, stream.batch_size, stream.drop_remainder)
    one_size = next(iter(sizes)) if len(sizes) == 1 else (None, None)

    def make(share: Share) -> Any:
        batch = stream.batch_size // share.count if stream.drop_remainder else None
        signature = tf.TensorSpec((batch, *one_size), tf.float32), tf.TensorSpec((batch, 3), tf.float32)

        def chosen(rows: np.ndarray) -> np.ndarray:
            """The visits of this part in each batch, which is one row."""
            return rows.reshape(len(rows), stream.batch_size, -1)[:, share.within(stream.batch_size)].reshape(len(rows), -1)

        dataset = _batches(stream, signature, chosen).apply(tf.data.experimental.assert_cardinality(count))
        return _to_pairs(dataset, stream.metadata)

    return shareable(make, stream.drop_remainder or all(n % stream.batch_size == 0 for n in sizes.values()))


def _batches(stream: SuperresStream, signature: tuple, chosen: Callable[[np.ndarray], np.ndarray]) -> Any:
    if not isinstance(stream.index, ShardIndex):
        return elements(stream, signature, together=1, chosen=chosen)
    from .shard_records import batches_by_place  # imports TensorFlow, which listing files does not need

    return batches_by_place(stream, signature, chosen)


def _in_sequence(stream: SuperresStream) -> Any:
    from .shard_records import batches_in_sequence  # imports TensorFlow

    sizes = Counter(stream.size(number) for number, _ in stream.samples)
    return shareable(lambda share: _to_pairs(batches_in_sequence(stream, share), stream.metadata),
                     len(sizes) == 1 and (stream.drop_remainder or sizes.total() % stream.batch_size == 0))


def _to_pairs(batches: Any, metadata: bool) -> Any:
    import tensorflow as tf

    def to_pair(images: Any, facts: Any) -> tuple:
        large = images[..., None]
        pair = reduce_by_four(large), large
        return (*pair, dict(zip(("scale", "offset", "data_range"), tf.unstack(facts, axis=1)))) if metadata else pair

    return batches.map(to_pair, num_parallel_calls=PARALLEL).prefetch(tf.data.AUTOTUNE)


def _whole_size(size: Any) -> tuple[int, int]:
    try:
        height, width = (size, size) if np.isscalar(size) else size
        pair = int(height), int(width)
    except (TypeError, ValueError) as error:
        raise UsageError(f"The size must be a number or (height, width), received {size!r}.") from error
    if pair != (height, width) or any(n < FACTOR or n % FACTOR for n in pair):
        raise UsageError(f"The size must be of whole multiples of {FACTOR}, received {size!r}.")
    return pair


def _check_volumes(index: MagnitudeIndex | ShardIndex, target: str | None) -> None:
    for volume in index.volumes:
        if target not in (None, volume.target_key):
            raise UsageError(f"The index was made for {volume.target_key}, received target={target!r}. Give "
                             "index_magnitudes the key wanted.")
    check_slices_fit(index.volumes, _BYTES_PER_PIXEL)


def _check_nan_of_shards(nan: str) -> None:
    if nan != "skip":
        raise UsageError(f"The slices of shards were made finite when they were converted, received nan={nan!r}. Leave it "
                         "out, or convert again with strict=True (--strict), which refuses others.")


def _check_arguments(batch_size: Any, patch: Any, seed: Any, nan: str) -> None:
    for name, value, least in (("batch size", batch_size, 1), ("patch", FACTOR if patch is None else patch, FACTOR),
                               ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value < 2**32:
            raise UsageError(f"The {name} must be a whole number of at least {least}, received {value!r}.")
    if patch is not None and patch % FACTOR:
        raise UsageError(f"The patch must be a multiple of {FACTOR}, received {patch}.")
    check_nan(nan)

"""Streams pairs of zero-filled and full images from HDF5 volumes as a `tf.data.Dataset`.

Python reads slices and draws masks; Fourier transforms, cropping and scaling run in TensorFlow on all cores. Nothing but
indices is shuffled, so memory holds a few batches whatever the size of the data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from ..physics import masked_and_full
from .batching import PARALLEL, Share, batched, check_batch_size, check_nan, elements, shareable
from .index import Index, check_single_coil, output_size
from .kspace_shards import index_masked
from .masking import Masking
from .memory import check_volumes_fit
from .multicoil.combined import Combining
from .scaling import check_scaling, tensor_scale, to_network
from .shards import ShardIndex, check_decided
from .slices import SliceReader
from .splits import Sample, all_samples
from .stream import EpochClock, SliceStream


def masked_pairs(
    path: Any,
    batch_size: int = 8,
    target: str | None = None,
    *,
    accelerations: Any = 4,
    center_fractions: Any = None,
    mask_type: str = "random",
    mask_seed: Any = "file",
    combine: str | None = None,
    crop: Any = None,
    channels: int = 1,
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
    lost: set | None = None,
) -> Any:
    """Stream slices as (zero-filled, target) pairs.

    Args:
        path: HDF5 file, folder, list of them, an `Index` (from `index_volumes`, `split`, `folds`), or a folder of shards (from
            `tfrecon convert --task masked`), which give the same batches. On a TPU, or under its strategy, they are read
            without Python: shuffled by shard and through a buffer, and `mask_seed=None` draws from 1024 masks. What was
            decided when they were converted (`kspace_key`, `complex_axis`, `shift`, `nan`) is left out.
        batch_size: at least 1.
        target: key of the target images, or "kspace" to compute them; None: `reconstruction_esc`, of combined coils
            `reconstruction_rss`.
        accelerations, center_fractions, mask_type, mask_seed: see `Masking`; `mask_seed=None` draws a fresh mask for
            every slice and epoch from `seed`. A file with a mask of its own keeps it.
        combine: makes one image of several coils, each undersampled: "rss" or "sense" (see `multicoil.Combining`). Done in
            NumPy. None: k-space of several coils is an error.
        crop: (h, w) or a number; None: the stored target's size, else 320 or the smaller side.
        channels: 3 repeats the magnitude to three equal channels, as DeblurGAN takes them.
        scaling: "zero_filled_max" divides input and target by the largest value of the cropped input of the slice;
            "zero_filled_max_uncropped" by that of the whole zero-filled slice, at least 1e-6 (seed 001);
            "symmetric" as the first, then maps [0, 1] to [-1, 1]; "none" leaves the file's units. An empty slice is
            divided by 1.
        shuffle: a new order of slices every epoch, from `seed`.
        seed: of order and fresh masks.
        clock: see `EpochClock`; None counts passes.
        drop_remainder: leave out the last incomplete batch (needed on TPU and under tf.distribute).
        metadata: yield a third element, a dict of (N,) float32: `scale` (magnitude times scale is in the file's units)
            and `data_range` (the target volume's maximum divided by `scale`, fastMRI's range for SSIM and PSNR).
        samples: (volume number, slice number) to use instead of all slices.
        kspace_key: of the k-space; None: `kspace`, else `kspace_4af` or `kspace_8af`.
        complex_axis: "last" for real arrays ending in (real, imaginary).
        shift: move the k-space centre from the corner to the middle.
        nan: "skip" takes the nearest finite slice of the volume in place of one with NaN or infinity, so the count of
            slices from the headers holds; "refuse" raises; "zero" sets them to 0.
        strict: raise for the first unusable file instead of leaving it out.
        lost: a set that (volume name, slice number) of those are put into whose file vanished or changed meanwhile. Each is
            read once more, then another slice of its size takes its place; more than 5 % of them, or one with `strict`, are
            a DataError (not of shards).

    Returns:
        `tf.data.Dataset` of float32 (N, h, w, channels) pairs, cardinality known from headers. Slices of different
        sizes come in batches of their own.

    Raises:
        UsageError: an argument is out of range. DataError: no usable volume, or none of the wanted kind.
    """
    _check_arguments(batch_size, channels, scaling, nan)
    if isinstance(path, Index | ShardIndex):
        index = path
        _check_indexed_target(index, target)
    else:
        index = index_masked(path, target, combine, kspace_key, strict, complex_axis)
    if isinstance(index, ShardIndex):
        check_decided(combine=combine, kspace_key=kspace_key, complex_axis=complex_axis, shift=shift or None,
                      nan=None if nan == "skip" else nan)
    chosen = list(all_samples(index) if samples is None else samples)
    masking = Masking(accelerations, center_fractions, mask_type, mask_seed)
    reader = SliceReader(complex_axis, "zero" if nan == "zero" else "refuse", shift)
    combining = Combining(combine, reader) if combine else None
    for volume in index.volumes:
        combining.check(volume) if combining else check_single_coil(volume)
    check_volumes_fit(index.volumes)
    crops = [output_size(v, crop) for v in index.volumes]
    stream = SliceStream(index, chosen, crops, reader, masking, shuffle, seed, clock or EpochClock(), metadata, nan, combining,
                         strict, lost)
    if not isinstance(index, ShardIndex):
        stream.check_first_slice()
    return _pipeline(stream, batch_size, channels, scaling, drop_remainder, metadata)


def _pipeline(
    stream: SliceStream, batch_size: int, channels: int, scaling: str, drop_remainder: bool, metadata: bool
) -> Any:
    import tensorflow as tf

    def to_pair(columns: Any, mask: Any, target: Any, crop: Any, maximum: Any) -> tuple:
        image, target, facts = _scaled_pair(
            columns, mask, target, static or crop, maximum, scaling, stream.computed_target
        )
        pair = tuple(tf.repeat(x[..., None], channels, axis=-1) if channels > 1 else x[..., None] for x in (image, target))
        return (*pair, facts) if metadata else pair

    sizes = Counter(stream.crops[number] for number, _ in stream.samples)
    static = next(iter(sizes)) if len(sizes) == 1 else None

    def make(share: Share) -> Any:
        dataset = _slices(stream, batch_size, share).map(to_pair, num_parallel_calls=PARALLEL)
        return batched(dataset, sizes, batch_size, drop_remainder, share=share)

    return shareable(make, static is not None and (drop_remainder or sizes.total() % batch_size == 0))


def _slices(stream: SliceStream, batch_size: int, share: Share) -> Any:
    """What `SliceStream.element` gives, one pass over a part of it."""
    import tensorflow as tf

    if not isinstance(stream.index, ShardIndex):
        return elements(stream, _signature(stream, tf), chosen=lambda rows: share.rows(rows, batch_size))
    from .kspace_shards.records import shard_slices  # imports TensorFlow, which listing files does not need

    return shard_slices(stream, batch_size, share)


def _scaled_pair(
    columns: Any, mask: Any, target: Any, crop: Any, maximum: Any, scaling: str, computed: bool
) -> tuple[Any, Any, dict[str, Any]]:
    """Input and target (h, w) as the network sees them, and what undoes the scaling."""
    import tensorflow as tf

    # A stored target is a centre crop itself: through the same sizes, or odd ones end a pixel apart.
    between = crop if computed else tf.shape(target)
    uncropped = scaling == "zero_filled_max_uncropped"
    size = (tf.shape(columns)[1], tf.size(mask)) if uncropped else between
    image, full = masked_and_full(columns, mask, size, full=computed)
    largest = tf.reduce_max(image if uncropped else _crop_tensor(image, crop))
    image = _crop_tensor(image, between)
    scale = tensor_scale(scaling, largest)
    target = full if computed else target
    image, target = (to_network(scaling, _crop_tensor(x, crop) / scale) for x in (image, target))
    return image, target, {"scale": scale, "data_range": maximum / scale}


def _crop_tensor(x: Any, crop: Any) -> Any:
    """center_crop for sizes known only when the graph runs; a static crop gives a static shape."""
    import tensorflow as tf

    top, left = ((tf.shape(x)[axis] - crop[axis]) // 2 for axis in (0, 1))
    return tf.slice(x, [top, left], [crop[0], crop[1]])


def _signature(stream: SliceStream, tf: Any) -> tuple:
    volumes = stream.index.volumes
    height, width = (n.pop() if len(n) == 1 else None for n in ({v.height for v in volumes}, {v.width for v in volumes}))
    return (
        tf.TensorSpec((width if stream.computed_target else None, height), tf.complex64),
        tf.TensorSpec((width,), tf.bool),
        tf.TensorSpec((None, None), tf.float32),
        tf.TensorSpec((2,), tf.int32),
        tf.TensorSpec((), tf.float32),
    )


def _check_indexed_target(index: Index | ShardIndex, target: str | None) -> None:
    """An index has chosen its target already; another one asked for here would be ignored without a word."""
    chosen = index.volumes[0].target_key or "kspace"
    if target not in (None, chosen):
        raise UsageError(f"The index was made for the target {chosen}, received target={target!r}. Give index_volumes "
                         "the target wanted.")


def _check_arguments(batch_size: Any, channels: Any, scaling: str, nan: str) -> None:
    check_batch_size(batch_size)
    if channels not in (1, 3):
        raise UsageError(f"The channels must be 1 or 3, received {channels!r}.")
    check_scaling(scaling)
    check_nan(nan)

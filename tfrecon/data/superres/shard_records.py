"""The images and facts `SuperresStream.element` gives, from records of shards: batches of them with Python's order and patches,
or without Python.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from ..batching import PARALLEL, Share, batched, visit_rows
from ..shards.by_place import PlacedRecords
from ..shards.in_sequence import elements_in_sequence
from ..shards.records import RecordReader
from .stream import NOBODY, SuperresStream
from .value_range import LARGEST


def batches_by_place(stream: SuperresStream, signature: tuple, chosen: Callable[[np.ndarray], np.ndarray]) -> Any:
    """One pass over a stream as a dataset: what `SuperresStream.element` would give of the files for the chosen rows.

    Args:
        signature: a `tf.TensorSpec` of the images (N, h, w) and one of the facts (N, 3).
    """
    records = PlacedRecords(stream, PictureRecords(stream))

    def batch(row: Any) -> tuple:
        visits = tf.reshape(row, (-1, 4))
        images = tf.data.Dataset.from_tensor_slices(tf.boolean_mask(visits, visits[:, 0] != NOBODY)).map(records.element)
        found = images.batch(stream.batch_size).get_single_element()
        return tuple(tf.ensure_shape(part, spec.shape) for part, spec in zip(found, signature))

    return visit_rows(stream, chosen).map(batch, num_parallel_calls=PARALLEL)


def batches_in_sequence(stream: SuperresStream, share: Share) -> Any:
    """The same, or a part of each batch, without Python when the data flow: in another order and with other patches.

    Where slices have several sizes, the incomplete batches come last in the order of the sizes.
    """
    sizes = Counter(stream.size(number) for number, _ in stream.samples)
    static = next(iter(sizes)) if len(sizes) == 1 else (None, None)
    dataset = elements_in_sequence(stream, PictureRecords(stream), stream.batch_size, share).map(
        lambda image, facts: (tf.ensure_shape(image, static), facts))
    return batched(dataset, sizes, stream.batch_size, stream.drop_remainder, share=share)


class PictureRecords(RecordReader):
    """Scales and cuts the images of records.

    Args:
        stream: says what is read and how, its index being a `ShardIndex`.
    """

    arrays = ("image", "stated", "maximum")
    drawn = tf.TensorSpec((2,), tf.int64)

    def __init__(self, stream: SuperresStream):
        contents = stream.index.contents
        super().__init__(contents)
        uncut = {volume.number: stream.uncut(number) for number, volume in enumerate(stream.index.volumes)}
        self._stream, self.value_range, self.patch = stream, stream.value_range, stream.patch
        self._uncut = np.array([uncut.get(v.number, (0, 0)) for v in contents], np.int64)

    def element(self, record: dict[str, Any], drawn: Any) -> tuple[Any, Any]:
        """The image (h, w) in the network's units, and (3,) scale, offset and data range; `drawn` is a patch's (top, left)."""
        image = self.array(record, "image", tf.float32, tf.stack([record["height"], record["width"]]))
        stated, maximum = (self.array(record, name, tf.float64, []) for name in ("stated", "maximum"))
        scale, offset = self._scale(image, stated)
        image = _crop_or_pad(image, tf.gather(self._uncut, record["volume"]))
        if self.patch:
            image = tf.slice(image, drawn, [self.patch, self.patch])
        facts = tf.stack([tf.cast(fact, tf.float32) for fact in (scale, offset, maximum / scale)])
        return (image - facts[1]) / facts[0], facts

    def draw(self, visit: np.ndarray) -> np.ndarray:
        return np.array(self._stream.corner(*map(int, visit)), np.int64)

    def draw_in_graph(self, record: dict[str, Any], key: Any) -> Any:
        room = tf.gather(self._uncut, record["volume"]) - (self.patch or 0) + 1
        return tf.math.floormod(tf.random.stateless_uniform([2], key, None, None, tf.int64), room)

    def _scale(self, image: Any, stated: Any) -> tuple[Any, Any]:
        """(scale, offset) of `choose_scale`, float64."""
        one, none = tf.constant(1.0, tf.float64), tf.constant(0.0, tf.float64)
        if self.value_range == "raw":
            return one, none
        if self.value_range == "slice":
            low, high = (tf.cast(end(image), tf.float64) for end in (tf.reduce_min, tf.reduce_max))
            return tf.where(high > low, (high - low) / LARGEST, one), low
        return tf.where(stated > 0, stated / LARGEST, one), none


def _crop_or_pad(image: Any, shape: Any) -> Any:
    """`transforms.crop_or_pad` of an image (H, W) to a shape known only when the data flow."""
    given = tf.shape(image, tf.int64)
    kept = tf.minimum(given, shape)
    image, before = tf.slice(image, (given - kept) // 2, kept), (shape - kept) // 2
    return tf.pad(image, tf.stack([before, shape - kept - before], axis=1))

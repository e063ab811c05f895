"""A record of a shard as the image and facts `SuperresStream.element` gives, in operations of TensorFlow alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ..shards.reading import RecordReader
from .stream import SuperresStream
from .value_range import LARGEST


class PictureRecords(RecordReader):
    """Scales and cuts the images of records.

    Args:
        stream: says what is read and how, its index being a `ShardIndex`.
    """

    arrays = ("image", "stated", "maximum")

    def __init__(self, stream: SuperresStream):
        contents = stream.index.contents
        super().__init__(contents)
        cut = {v.number: [max(n, stream.patch or 0) for n in size] for v, size in zip(stream.index.volumes, stream.sizes)}
        self.value_range, self.patch = stream.value_range, stream.patch
        self._cut = np.array([cut.get(v.number, (0, 0)) for v in contents], np.int64)

    def element(self, record: dict[str, Any], key: Any) -> tuple[Any, Any]:
        """The image (h, w) in the network's units, and (3,) scale, offset and data range; `key` is the seed of a patch."""
        image = self.array(record, "image", tf.float32, tf.stack([record["height"], record["width"]]))
        stated, maximum = (self.array(record, name, tf.float64, []) for name in ("stated", "maximum"))
        scale, offset = self._scale(image, stated)
        image = _crop_or_pad(image, tf.gather(self._cut, record["volume"]))
        if self.patch:
            image = _random_patch(image, self.patch, key)
        facts = tf.stack([tf.cast(fact, tf.float32) for fact in (scale, offset, maximum / scale)])
        return (image - facts[1]) / facts[0], facts

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


def _random_patch(image: Any, side: int, key: Any) -> Any:
    room = tf.shape(image, tf.int64) - side + 1
    corner = tf.math.floormod(tf.random.stateless_uniform([2], key, None, None, tf.int64), room)
    return tf.slice(image, corner, [side, side])

"""A record of a shard as the image and facts `SuperresStream.element` gives, in operations of TensorFlow alone.

Whatever a record says is checked in the graph; the text of such an error begins with the name of our own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from .stream import SuperresStream
from .value_range import LARGEST


class RecordReader:
    """Parses, checks, scales and cuts; its tables are by the number a volume has in the records.

    They are arrays, which become constants of the graph; tensors made here would lie on an accelerator, if there is one.

    Args:
        stream: says what is read and how, its index being a `ShardIndex`.
    """

    def __init__(self, stream: SuperresStream):
        contents = stream.index.contents
        cut = {v.number: [max(n, stream.patch or 0) for n in size] for v, size in zip(stream.index.volumes, stream.sizes)}
        self.value_range, self.patch = stream.value_range, stream.patch
        self._slices = np.array([v.slices for v in contents], np.int64)
        self._starts = np.cumsum(self._slices) - self._slices
        self._stored = np.array([v.target_shape for v in contents], np.int64)
        self._cut = np.array([cut.get(v.number, (0, 0)) for v in contents], np.int64)

    def parse(self, record: Any) -> dict[str, Any]:
        """The features of a record that names a slice there is, and its `place` among all slices."""
        numbers = dict.fromkeys(("height", "width", "volume", "slice"), tf.io.FixedLenFeature([], tf.int64))
        arrays = dict.fromkeys(("image", "stated", "maximum"), tf.io.FixedLenFeature([], tf.string))
        found = tf.io.parse_single_example(record, {**numbers, **arrays})
        volume, i = found["volume"], found["slice"]
        known = (volume >= 0) & (volume < len(self._slices))
        with _required(known, "a record of volume {}, which the manifest does not know", volume):
            count = tf.gather(self._slices, volume)
        with _required((i >= 0) & (i < count), "a record of slice {}, which volume {} does not have", i, volume):
            return {**found, "place": tf.gather(self._starts, volume) + i}

    def element(self, record: dict[str, Any], key: Any) -> tuple[Any, Any]:
        """The image (h, w) in the network's units, and (3,) scale, offset and data range; `key` is the seed of a patch."""
        image, stated, maximum = self.values(record)
        scale, offset = self._scale(image, stated)
        image = _crop_or_pad(image, tf.gather(self._cut, record["volume"]))
        if self.patch:
            image = _random_patch(image, self.patch, key)
        facts = tf.stack([tf.cast(fact, tf.float32) for fact in (scale, offset, maximum / scale)])
        return (image - facts[1]) / facts[0], facts

    def values(self, record: dict[str, Any]) -> tuple[Any, Any, Any]:
        """The image (height, width) in the file's units, and the stated and the real maximum of its volume, float64."""
        shape = tf.stack([record["height"], record["width"]])
        whole = tf.reduce_all(shape == tf.gather(self._stored, record["volume"]))
        whole &= tf.cast(tf.strings.length(record["image"]), tf.int64) == 4 * tf.reduce_prod(shape)
        whole &= (tf.strings.length(record["stated"]) == 8) & (tf.strings.length(record["maximum"]) == 8)
        where = record["slice"], record["volume"]
        with _required(whole, "the record of slice {} of volume {} has another size than the manifest says", *where):
            image = tf.reshape(tf.io.decode_raw(record["image"], tf.float32), shape)
            stated, maximum = (tf.io.decode_raw(record[name], tf.float64)[0] for name in ("stated", "maximum"))
        finite = tf.reduce_all(tf.math.is_finite(image)) & tf.math.is_finite(stated) & tf.math.is_finite(maximum)
        with _required(finite, "the record of slice {} of volume {} has NaN or infinity", *where):
            return tf.identity(image), stated, maximum

    def _scale(self, image: Any, stated: Any) -> tuple[Any, Any]:
        """(scale, offset) of `choose_scale`, float64."""
        one, none = tf.constant(1.0, tf.float64), tf.constant(0.0, tf.float64)
        if self.value_range == "raw":
            return one, none
        if self.value_range == "slice":
            low, high = (tf.cast(end(image), tf.float64) for end in (tf.reduce_min, tf.reduce_max))
            return tf.where(high > low, (high - low) / LARGEST, one), low
        return tf.where(stated > 0, stated / LARGEST, one), none


def _required(condition: Any, sentence: str, *values: Any) -> Any:
    """A context whose operations run only where the condition holds."""
    told = tf.strings.format(f"DataError: {sentence}", values)
    # Not tf.debugging.Assert: that makes two branches of every check.
    return tf.control_dependencies([tf.raw_ops.Assert(condition=condition, data=[told])])


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

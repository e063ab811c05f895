"""A record of a shard as what `SliceStream.element` gives, in operations of TensorFlow alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ..shards.reading import RecordReader
from ..stream import SliceStream

# Masks drawn beforehand where every visit shall have a fresh one: it gets one of so many, by chance.
FRESH_MASKS = 1024


class KspaceRecords(RecordReader):
    """Columns of k-space, mask, target, crop and the volume's maximum from records.

    Args:
        stream: says what is read and how, its index being a `ShardIndex`.
    """

    arrays = ("columns", "target", "mask", "maximum")

    def __init__(self, stream: SliceStream):
        contents, self._computed = stream.index.contents, stream.computed_target
        super().__init__(contents)
        crops = {volume.number: crop for volume, crop in zip(stream.index.volumes, stream.crops)}
        self._crops = np.array([crops.get(v.number, (0, 0)) for v in contents], np.int32)
        self._images = np.array([v.target_shape or (0, 0) for v in contents], np.int64)
        self._masks, self._first, self._count = _masks_of(stream)

    def element(self, record: dict[str, Any], key: Any) -> tuple[Any, ...]:
        """The values of `SliceStream.element`; `key` is the seed of a fresh mask."""
        height, width, volume = record["height"], record["width"], record["volume"]
        columns = self.array(record, "columns", tf.complex64, tf.stack([width, height]))
        target = self.array(record, "target", tf.float32, tf.gather(self._images, volume))
        mask = tf.cond(tf.strings.length(record["mask"]) > 0, lambda: self._own_mask(record), lambda: self._drawn(record, key))
        maximum = tf.cast(self.array(record, "maximum", tf.float64, []), tf.float32)
        if not self._computed:
            columns = tf.boolean_mask(columns, mask)
        return columns, mask, target, tf.gather(self._crops, volume), maximum

    def _own_mask(self, record: dict[str, Any]) -> Any:
        return self.array(record, "mask", tf.uint8, record["width"][None]) > 0

    def _drawn(self, record: dict[str, Any], key: Any) -> Any:
        volume, width = record["volume"], record["width"]
        chosen = tf.random.stateless_uniform([], key, 0, self._count, tf.int64)
        begin = tf.gather(self._first, volume) + chosen * width
        return tf.constant(self._masks)[begin : begin + width]


def _masks_of(stream: SliceStream) -> tuple[np.ndarray, np.ndarray, int]:
    """All masks the rule may give, one behind the other; for each volume where its first one begins; how many each has.

    Volumes of one width share the fresh ones.
    """
    drawn: list[np.ndarray] = []
    begins: dict[Any, int] = {}
    first, total, count = [], 0, 1 if stream.masking.seed is not None else FRESH_MASKS
    for volume in stream.index.contents:
        key = volume.name if count == 1 else volume.width
        if key not in begins:
            begins[key], total = total, total + count * volume.width
            drawn += [stream.masking.draw(volume.width, volume.name, (stream.seed, k)) for k in range(count)]
        first.append(begins[key])
    return np.concatenate(drawn), np.array(first, np.int64), count

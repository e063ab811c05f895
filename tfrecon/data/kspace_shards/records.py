"""What `SliceStream.element` gives, from records of shards: with Python's order and masks, or without Python."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from ..batching import PARALLEL, Share, visit_rows, without_python
from ..shards.by_place import PlacedRecords
from ..shards.in_sequence import elements_in_sequence
from ..shards.records import RecordReader
from ..stream import SliceStream

# Masks drawn beforehand where every visit shall have a fresh one and no Python draws it: it gets one of so many, by chance.
FRESH_MASKS = 1024


def shard_slices(stream: SliceStream, batch_size: int, share: Share) -> Any:
    """What `SliceStream.element` would give of the files, one pass over a part of it, as a dataset; see `masked_pairs`."""
    reader = KspaceRecords(stream)
    if without_python():
        return elements_in_sequence(stream, reader, batch_size, share)
    records = PlacedRecords(stream, reader)
    return visit_rows(stream, lambda rows: share.rows(rows, batch_size)).map(records.element, num_parallel_calls=PARALLEL)


class KspaceRecords(RecordReader):
    """Columns of k-space, mask, target, crop and the volume's maximum from records.

    Args:
        stream: says what is read and how, its index being a `ShardIndex`.
    """

    arrays = ("columns", "target", "mask", "maximum")
    drawn = tf.TensorSpec((None,), tf.bool)

    def __init__(self, stream: SliceStream):
        contents, self._computed = stream.index.contents, stream.computed_target
        super().__init__(contents)
        self._stream = stream
        crops = {volume.number: crop for volume, crop in zip(stream.index.volumes, stream.crops)}
        self._crops = np.array([crops.get(v.number, (0, 0)) for v in contents], np.int32)
        self._images = np.array([v.target_shape or (0, 0) for v in contents], np.int64)

    def element(self, record: dict[str, Any], drawn: Any) -> tuple[Any, ...]:
        """The values of `SliceStream.element`; `drawn` is the mask of a slice without one of its own, bool (width,)."""
        height, width, volume = record["height"], record["width"], record["volume"]
        columns = self.array(record, "columns", tf.complex64, tf.stack([width, height]))
        target = self.array(record, "target", tf.float32, tf.gather(self._images, volume))
        mask = tf.cond(tf.strings.length(record["mask"]) > 0, lambda: self._own_mask(record), lambda: drawn)
        maximum = tf.cast(self.array(record, "maximum", tf.float64, []), tf.float32)
        if not self._computed:
            columns = tf.boolean_mask(columns, mask)
        return columns, mask, target, tf.gather(self._crops, volume), maximum

    def _own_mask(self, record: dict[str, Any]) -> Any:
        return self.array(record, "mask", tf.uint8, record["width"][None]) > 0

    def draw(self, visit: np.ndarray) -> np.ndarray:
        number, i, epoch = map(int, visit[:3])
        return self._stream.drawn_mask(number, i, epoch)

    def draw_in_graph(self, record: dict[str, Any], key: Any) -> Any:
        masks, first, count = self._masks
        volume, width = record["volume"], record["width"]
        begin = tf.gather(first, volume) + tf.random.stateless_uniform([], key, 0, count, tf.int64) * width
        return tf.constant(masks)[begin : begin + width]

    @cached_property
    def _masks(self) -> tuple[np.ndarray, np.ndarray, int]:
        return _masks_of(self._stream)


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

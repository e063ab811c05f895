"""Records of TFRecord shards one after the other, for TPUs: Python builds the graph; none of it runs when the data flow.

Whatever is random comes from stateless operations on (seed, epoch, visit): the shards in a new order, eight of them read in
turns, their records through a buffer of at most 256, so that neighbours in a shard may stay near each other in an epoch. It is
not what the files' own reader draws, which needs Python: `by_place` does.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf

from ...errors import UsageError
from ..batching import Share
from .framing import record_offsets
from .records import RecordReader, first_record

_TURNS, _READ_BYTES = 8, 2**22
_BUFFER, _BUFFER_BYTES = 256, 2**28
_FILES, _RECORDS, _ELEMENT = range(3)  # what a seed is for


def elements_in_sequence(stream: Any, reader: RecordReader, batch_size: int, share: Share) -> Any:
    """The elements of one pass over the shards of a stream as a dataset.

    Args:
        stream: with `index` (a `ShardIndex`), `samples`, `shuffle`, `seed` and `clock`.
        reader: makes them of records.
        batch_size, share: of every so many elements, one after the other, those of this part; the records of the others are
            read and dropped.

    Raises:
        DataError: a shard has other records than the manifest says, or the first one is none of ours.
        UsageError: an order of samples that shards cannot be read in.
    """
    order = _Order(stream)
    record_offsets(stream.index, order.shards)  # their lengths are checked on the way

    def element(record: dict[str, Any], key: Any) -> Any:
        return reader.element(record, reader.draw_in_graph(record, key))

    with first_record(os.fsdecode(order.paths[0])):
        (record,) = _open(order.paths[0]).take(1)
        element(reader.parse(record), tf.zeros([2], tf.int64))

    def one_visit(epoch: Any, visit: Any) -> Any:
        key = _fold(tf.stack([tf.constant(stream.seed, tf.int64), epoch]), visit)
        own = _fold(key, _ELEMENT)
        return order.records(reader, key, visit).map(lambda record: (record, _fold(own, record["place"])))

    passes = tf.data.Dataset.range(1).map(lambda _: stream.clock.start_pass_in_graph())
    visits = passes.flat_map(lambda epoch: tf.data.Dataset.range(order.visits).map(lambda visit: (epoch, visit)))
    records = visits.flat_map(one_visit)
    if share.count > 1:
        records = _part(records, len(stream.samples) // batch_size * batch_size, batch_size, share.within(batch_size))
    return records.map(element, tf.data.AUTOTUNE)


def _part(records: Any, total: int, batch_size: int, within: slice) -> Any:
    """Of `total` records those at these places of their batches."""
    numbered = records.take(total).enumerate()
    return numbered.filter(lambda n, _: (n % batch_size >= within.start) & (n % batch_size < within.stop)).map(lambda _, r: r)


class _Order:
    """Which records are read, and when.

    Attributes:
        shards: the numbers of those that hold what is read. paths: where they lie. visits: how often an epoch reads them.
    """

    def __init__(self, stream: Any):
        index = stream.index
        used = [index.volumes[k] for k in sorted({k for k, _ in stream.samples})]
        shards = sorted({v.shard for v in used})
        self._counts = _visits_of_each(stream)
        self.shuffle, self.visits = stream.shuffle, int(self._counts.max())
        self.shards, self.paths = shards, [os.fsencode(index.shards[k].path) for k in shards]
        self._turns = [(shards.index(v.shard), v.slices) for v in index.contents if v.shard in shards]
        self._buffer = max(1, min(_BUFFER, _BUFFER_BYTES // max(v.record_bytes for v in used)))

    def records(self, reader: RecordReader, key: Any, visit: Any) -> Any:
        """A dataset of every record that is visited more than `visit` times, parsed."""
        records = (self._mixed(_fold(key, _FILES)) if self.shuffle else self._in_order()).map(reader.parse, tf.data.AUTOTUNE)
        records = records.filter(lambda record: tf.gather(self._counts, record["place"]) > visit)
        if not self.shuffle:
            return records
        # Of this function's graph alone: the order must not depend on the seed a program sets for all graphs.
        tf.random.set_seed(1)
        seed = tf.random.stateless_uniform([], _fold(key, _RECORDS), None, None, tf.int64)
        return records.shuffle(self._buffer, seed, reshuffle_each_iteration=False)

    def _mixed(self, key: Any) -> Any:
        """The shards in a new order, several of them read in turns."""
        paths, last = tf.constant(self.paths), tf.constant(len(self.paths) - 1, tf.int64)
        order = tf.data.Dataset.range(len(self.paths)).map(
            lambda i: tf.gather(paths, tf.random.experimental.index_shuffle(i, key, last)))
        return order.interleave(_open, cycle_length=min(_TURNS, len(self.paths)), num_parallel_calls=tf.data.AUTOTUNE)

    def _in_order(self) -> Any:
        """Volume by volume, whichever shards they lie in."""
        places, slices = (tf.constant(column, tf.int64) for column in zip(*self._turns))
        choice = tf.data.Dataset.from_tensor_slices((places, slices)).flat_map(
            lambda place, count: tf.data.Dataset.from_tensors(place).repeat(count))
        return tf.data.Dataset.choose_from_datasets([_open(path) for path in self.paths], choice)


def _visits_of_each(stream: Any) -> np.ndarray:
    """How often an epoch visits each slice of the folder; UsageError for an order that shards cannot be read in."""
    starts = np.cumsum([0] + [v.slices for v in stream.index.contents])
    places = np.array([starts[stream.index.volumes[k].number] + i for k, i in stream.samples])
    counts = np.bincount(places, minlength=starts[-1])
    possible = np.concatenate([np.flatnonzero(counts > visit) for visit in range(counts.max())])
    if not stream.shuffle and not np.array_equal(places, possible):
        raise UsageError("Shards are read from the first to the last slice, visit by visit; received samples in another "
                         "order. Sort them, or take shuffle=True.")
    return counts


def _open(path: Any) -> Any:
    return tf.data.TFRecordDataset(path, buffer_size=_READ_BYTES)


def _fold(key: Any, number: Any) -> Any:
    """A seed that depends on another and a number, int64 (2,)."""
    return tf.random.experimental.stateless_fold_in(key, tf.cast(number, tf.int64))

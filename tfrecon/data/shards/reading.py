"""Records of TFRecord shards in the order of an epoch. Python builds the graph; none of it runs when the data flow.

Whatever is random comes from stateless operations on (seed, epoch, visit): the shards in a new order, eight of them read in
turns, their records through a buffer of at most 256, so that neighbours in a shard may stay near each other in an epoch.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import tensorflow as tf

from ...errors import DataError, UsageError, shown
from ..batching import Share

_TURNS, _READ_BYTES = 8, 2**22
_BUFFER, _BUFFER_BYTES = 256, 2**28
_FILES, _RECORDS, _ELEMENT = range(3)  # what a seed is for


class RecordReader(ABC):
    """Parses and checks records in operations of TensorFlow; its tables are by the number a volume has in them.

    The tables are arrays, which become constants of the graph; tensors made here would lie on an accelerator, if there is one.
    Whatever a record says is checked in the graph; the text of such an error begins with the name of our own.

    Args:
        contents: all volumes of the folder.
    """

    arrays: tuple[str, ...] = ()  # features of a record that are bytes

    def __init__(self, contents: Any):
        self._slices = np.array([v.slices for v in contents], np.int64)
        self._starts = np.cumsum(self._slices) - self._slices
        self._stored = np.array([(v.height, v.width) for v in contents], np.int64)

    @abstractmethod
    def element(self, record: dict[str, Any], key: Any) -> Any:
        """What the pipeline goes on with, from a parsed record; `key` is a seed, int64 (2,)."""

    def parse(self, record: Any) -> dict[str, Any]:
        """The features of a record that names a slice there is, in the size it has, and its `place` among all slices."""
        numbers = dict.fromkeys(("height", "width", "volume", "slice"), tf.io.FixedLenFeature([], tf.int64))
        arrays = dict.fromkeys(self.arrays, tf.io.FixedLenFeature([], tf.string))
        found = tf.io.parse_single_example(record, {**numbers, **arrays})
        volume, i = found["volume"], found["slice"]
        known = (volume >= 0) & (volume < len(self._slices))
        with required(known, "a record of volume {}, which the manifest does not know", volume):
            count, stored = tf.gather(self._slices, volume), tf.gather(self._stored, volume)
        with required((i >= 0) & (i < count), "a record of slice {}, which volume {} does not have", i, volume):
            place = tf.gather(self._starts, volume) + i
        shape = tf.stack([found["height"], found["width"]])
        with required(tf.reduce_all(shape == stored), _OTHER_SIZE, i, volume):
            return {**found, "place": tf.identity(place)}

    def array(self, record: dict[str, Any], name: str, kind: Any, shape: Any) -> Any:
        """The array of a record, of a type of TensorFlow's, which must have this shape and finite numbers."""
        where, stored = (record["slice"], record["volume"]), record[name]
        size = tf.reduce_prod(tf.cast(shape, tf.int64)) * kind.size
        with required(tf.cast(tf.strings.length(stored), tf.int64) == size, _OTHER_SIZE, *where):
            values = tf.reshape(tf.io.decode_raw(stored, kind), shape)
        parts = (tf.math.real(values), tf.math.imag(values)) if kind.is_complex else (values,)
        finite = [tf.reduce_all(tf.math.is_finite(part)) for part in parts] if kind != tf.uint8 else []
        with required(tf.reduce_all(finite), "the record of slice {} of volume {} has NaN or infinity", *where):
            return tf.identity(values)


_OTHER_SIZE = "the record of slice {} of volume {} has another size than the manifest says"


def required(condition: Any, sentence: str, *values: Any) -> Any:
    """A context whose operations run only where the condition holds."""
    told = tf.strings.format(f"DataError: {sentence}", values)
    # Not tf.debugging.Assert: that makes two branches of every check.
    return tf.control_dependencies([tf.raw_ops.Assert(condition=condition, data=[told])])


def shard_elements(stream: Any, reader: RecordReader, batch_size: int, share: Share) -> Any:
    """The elements of one pass over the shards of a stream as a dataset.

    Args:
        stream: with `index` (a `ShardIndex`), `samples`, `shuffle`, `seed` and `clock`.
        reader: makes them of records.
        batch_size, share: of every so many elements, one after the other, those of this part; the records of the others are
            read and dropped.

    Raises:
        DataError: the first record is none of ours. UsageError: an order of samples that shards cannot be read in.
    """
    order = _Order(stream)
    _check_first_record(order.paths[0], reader)

    def one_visit(epoch: Any, visit: Any) -> Any:
        key = _fold(tf.stack([tf.constant(stream.seed, tf.int64), epoch]), visit)
        own = _fold(key, _ELEMENT)
        return order.records(reader, key, visit).map(lambda record: (record, _fold(own, record["place"])))

    passes = tf.data.Dataset.range(1).map(lambda _: stream.clock.start_pass_in_graph())
    visits = passes.flat_map(lambda epoch: tf.data.Dataset.range(order.visits).map(lambda visit: (epoch, visit)))
    records = visits.flat_map(one_visit)
    if share.count > 1:
        records = _part(records, len(stream.samples) // batch_size * batch_size, batch_size, share.within(batch_size))
    return records.map(reader.element, tf.data.AUTOTUNE)


def _part(records: Any, total: int, batch_size: int, within: slice) -> Any:
    """Of `total` records those at these places of their batches."""
    numbered = records.take(total).enumerate()
    return numbered.filter(lambda n, _: (n % batch_size >= within.start) & (n % batch_size < within.stop)).map(lambda _, r: r)


class _Order:
    """Which records are read, and when.

    Attributes:
        paths: the shards that hold what is read. visits: how often an epoch reads them.
    """

    def __init__(self, stream: Any):
        index = stream.index
        used = [index.volumes[k] for k in sorted({k for k, _ in stream.samples})]
        shards = sorted({v.shard for v in used})
        self._counts = _visits_of_each(stream)
        self.shuffle, self.visits = stream.shuffle, int(self._counts.max())
        self.paths = [index.shards[k].path for k in shards]
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


def _check_first_record(path: str, reader: RecordReader) -> None:
    try:
        with tf.device("CPU:0"):
            (record,) = _open(path).take(1)
            reader.element(reader.parse(record), tf.zeros([2], tf.int64))
    except (tf.errors.OpError, ValueError) as error:
        found = re.search(r"assertion failed: \[DataError: (.*?)\]", str(error))
        reason = found[1] if found else re.sub(r"\{\{.*?\}\}\s*", "", str(error).splitlines()[0])  # without TensorFlow's nodes
        raise DataError(f"{shown(path)}: its first record cannot be used ({reason}); copy it anew, or convert the data "
                        "again") from error


def _open(path: Any) -> Any:
    return tf.data.TFRecordDataset(path, buffer_size=_READ_BYTES)


def _fold(key: Any, number: Any) -> Any:
    """A seed that depends on another and a number, int64 (2,)."""
    return tf.random.experimental.stateless_fold_in(key, tf.cast(number, tf.int64))

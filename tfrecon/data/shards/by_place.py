"""Records of TFRecord shards in the order of HDF5 files, with the masks and patches that these would get.

Python says which record comes next and what is drawn for it, as it does of files; TensorFlow reads the record where it lies,
checks its sums, parses it. So training on shards is training on the files they were made from.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf

from .framing import record_offsets
from .records import RecordReader, first_record, required


class PlacedRecords:
    """Elements of a stream from records at their places.

    Args:
        stream: with `index` (a `ShardIndex`) and `samples`.
        reader: makes the elements of records.

    Raises:
        DataError: a shard has other records than the manifest says, or the first one wanted is none of ours.
    """

    def __init__(self, stream: Any, reader: RecordReader):
        index, self._reader = stream.index, reader
        used = {number for number, _ in stream.samples}
        self._offsets = record_offsets(index, {index.volumes[number].shard for number in used})
        starts = np.cumsum([0] + [volume.slices for volume in index.contents])
        self._numbers = np.array([volume.number for volume in index.volumes], np.int64)
        self._starts = starts[self._numbers]
        self._paths = [os.fsencode(index.shards[volume.shard].path) for volume in index.volumes]
        number, i = stream.samples[0]
        with first_record(os.fsdecode(self._paths[number])):
            self.element(tf.constant([number, i, 0, 0], tf.int64))

    def element(self, visit: Any) -> Any:
        """What `RecordReader.element` gives for a visit of the stream's: volume, slice, epoch, and what `draw` takes besides."""
        offset = tf.gather(self._offsets, tf.gather(self._starts, visit[0]) + visit[1])
        record = self._reader.parse(_record_at(tf.gather(self._paths, visit[0]), offset))
        wanted = (record["volume"] == tf.gather(self._numbers, visit[0])) & (record["slice"] == visit[1])
        with required(wanted, "a record of slice {} of volume {} where another one should be", record["slice"],
                      record["volume"]):
            record = {name: tf.identity(value) for name, value in record.items()}
        drawn = self._reader.drawn
        chance = tf.ensure_shape(tf.numpy_function(self._reader.draw, [visit], drawn.dtype), drawn.shape)
        return self._reader.element(record, chance)


def _record_at(path: Any, offset: Any) -> Any:
    """The record that begins at a byte of a file, its checksums right."""
    # Without a buffer: not a byte more than the record is read.
    records = tf.raw_ops.TFRecordDatasetV2(filenames=path[None], compression_type="", buffer_size=0, byte_offsets=offset[None])
    return tf.data.experimental.from_variant(records, tf.TensorSpec([], tf.string)).take(1).get_single_element()

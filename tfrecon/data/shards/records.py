"""A record of a TFRecord shard, parsed and checked in operations of TensorFlow: whatever it says is foreign."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from ...errors import DataError, shown


class RecordReader(ABC):
    """Parses and checks records in operations of TensorFlow; its tables are by the number a volume has in them.

    The tables are arrays, which become constants of the graph; tensors made here would lie on an accelerator, if there is one.
    Whatever a record says is checked in the graph; the text of such an error begins with the name of our own.

    Args:
        contents: all volumes of the folder.
    """

    arrays: tuple[str, ...] = ()  # features of a record that are bytes
    drawn: tf.TensorSpec

    def __init__(self, contents: Any):
        self._slices = np.array([v.slices for v in contents], np.int64)
        self._starts = np.cumsum(self._slices) - self._slices
        self._stored = np.array([(v.height, v.width) for v in contents], np.int64)

    @abstractmethod
    def element(self, record: dict[str, Any], drawn: Any) -> Any:
        """What the pipeline goes on with, from a parsed record and what was drawn for it."""

    @abstractmethod
    def draw(self, visit: np.ndarray) -> np.ndarray:
        """What chance decides for a visit of the stream's, of the type and shape of `drawn`: as for HDF5 files, in Python."""

    @abstractmethod
    def draw_in_graph(self, record: dict[str, Any], key: Any) -> Any:
        """The same without Python, from a seed, int64 (2,): of the same kind, not the same."""

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
            return {name: tf.identity(value) for name, value in {**found, "place": place}.items()}

    def array(self, record: dict[str, Any], name: str, kind: Any, shape: Any) -> Any:
        """The array of a record, of a type of TensorFlow's, which must have this shape and finite numbers."""
        where, stored = (record["slice"], record["volume"]), record[name]
        size = tf.reduce_prod(tf.cast(shape, tf.int64)) * kind.size
        with required(tf.cast(tf.strings.length(stored), tf.int64) == size, _OTHER_SIZE, *where):
            numbers = tf.io.decode_raw(stored, kind.real_dtype)
        # One look at the parts is faster than at complex numbers.
        finite = tf.reduce_all(tf.math.is_finite(numbers)) if kind.is_floating or kind.is_complex else True
        with required(finite, "the record of slice {} of volume {} has NaN or infinity", *where):
            return tf.reshape(tf.bitcast(tf.reshape(numbers, (-1, 2)), kind) if kind.is_complex else numbers, shape)


_OTHER_SIZE = "the record of slice {} of volume {} has another size than the manifest says"


def required(condition: Any, sentence: str, *values: Any) -> Any:
    """A context whose operations run only where the condition holds."""
    told = tf.strings.format(f"DataError: {sentence}", values)
    # Not tf.debugging.Assert: that makes two branches of every check.
    return tf.control_dependencies([tf.raw_ops.Assert(condition=condition, data=[told])])


@contextmanager
def first_record(path: str) -> Iterator[None]:
    """Where the first record to be read is looked at before the data flow: what is wrong with it becomes a DataError."""
    try:
        with tf.device("CPU:0"):
            yield
    except (tf.errors.OpError, ValueError) as error:
        found = re.search(r"assertion failed: \[DataError: (.*?)\]", str(error))
        reason = found[1] if found else re.sub(r"\{\{.*?\}\}\s*", "", str(error).splitlines()[0])
        reason = re.sub(r"\s*\[Op:.*", "", reason)  # without TensorFlow's nodes and operations
        raise DataError(f"{shown(path)}: the first record to be read cannot be used ({reason}); copy it anew, or convert the "
                        "data again") from error

"""The part of the pipelines that does not depend on the task: elements read by Python, batches of one size each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from ..errors import UsageError

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# Of transforms: one for each core at once, as far as one reader feeds them. What tf.data finds by itself is as many, a moment
# after every epoch's beginning.
PARALLEL = min(16, _CORES)
_THREADS = min(4, _CORES)
_ALIGNMENT = 64  # bytes, of TensorFlow's buffers


@dataclass(frozen=True)
class Share:
    """The part of every batch that one of several workers reads: they make the batches of one process together."""

    number: int = 0
    count: int = 1

    def within(self, batch_size: int) -> slice:
        """Which elements of a batch, `count` being a divisor of its size."""
        own = batch_size // self.count
        return slice(self.number * own, (self.number + 1) * own)

    def rows(self, rows: np.ndarray, batch_size: int) -> np.ndarray:
        """Of one pass' rows, one for each element, those of this part; of an incomplete batch none."""
        if self.count == 1:
            return rows
        whole = rows[: len(rows) // batch_size * batch_size].reshape(-1, batch_size, rows.shape[1])
        return whole[:, self.within(batch_size)].reshape(-1, rows.shape[1])


def shareable(make: Callable[[Share], Any], possible: bool) -> Any:
    """`make(Share())`; where it is possible, its method `own_part` (number, count) is a worker's part of each batch.

    Possible where all batches are full. A dataset that was changed afterwards has no such method: every worker reads all of it.
    """
    dataset = make(Share())
    if possible:
        dataset.own_part = lambda number, count: make(Share(number, count))
    return dataset


def elements(
    stream: Any, signature: tuple, together: int = 8, threads: int = _THREADS,
    chosen: Callable[[np.ndarray], np.ndarray] = lambda rows: rows,
) -> Any:
    """One pass over a stream as a dataset: its `visits()` as rows, then `element(row)` for each.

    Not `Dataset.from_generator`: on Python 3.11 and later its kernel tells glibc, for the whole process and whatever was
    set before, to give every freed buffer above 128 KiB back to the kernel at once: 680 page faults for every slice
    (benchmarks/README.md).

    Args:
        stream: `visits` gives int64 (elements, columns) and starts a new pass.
        signature: a `tf.TensorSpec` for each of the values `element` returns.
        together: how many elements TensorFlow asks Python for at a time; asking takes as long as reading a small one.
        threads: how many ask at the same time; they wait for one another in Python, but not where bytes are copied or inflated.
        chosen: the rows to read, of those of a pass.
    """
    import tensorflow as tf

    if _under_tpu_strategy():  # row 84: "No registered 'PyFunc'" in the middle of a run
        raise UsageError("These files are read by Python, which the input of a TPU cannot run. Make shards of them first, "
                         "`tfrecon convert IN OUT` (of k-space: --task masked), and give the folder of shards.")

    def flat(rows: np.ndarray) -> list[np.ndarray]:
        """The values of all elements, one after the other, and their shapes."""
        columns = list(zip(*map(stream.element, rows)))
        return [*map(_joined, columns),
                *(np.array([np.shape(value) for value in column], np.int64) for column in columns)]

    def read(rows: Any) -> tuple:
        kinds = [*(spec.dtype for spec in signature), *[tf.int64] * len(signature)]
        found = tf.numpy_function(flat, [rows], kinds)
        return tuple(found[: len(signature)]), tuple(
            tf.ensure_shape(shapes, (None, spec.shape.rank)) for shapes, spec in zip(found[len(signature) :], signature))

    def one_by_one(values: tuple, shapes: tuple) -> Any:
        ends = [tf.cumsum(tf.reduce_prod(shape, axis=1)) for shape in shapes]

        def one(i: Any) -> tuple:
            parts = (x[end[i] - tf.reduce_prod(shape[i]) : end[i]] for x, shape, end in zip(values, shapes, ends))
            return tuple(tf.ensure_shape(tf.reshape(part, shape[i]), spec.shape)
                         for part, shape, spec in zip(parts, shapes, signature))

        return tf.data.Dataset.range(tf.shape(shapes[0], tf.int64)[0]).map(one)

    return visit_rows(stream, chosen).batch(together).map(read, num_parallel_calls=threads).flat_map(one_by_one)


def visit_rows(stream: Any, chosen: Callable[[np.ndarray], np.ndarray] = lambda rows: rows) -> Any:
    """The chosen rows of one pass over a stream, its `visits()`, as a dataset of int64 (columns,)."""
    import tensorflow as tf

    def visits(_: Any) -> Any:
        rows = tf.numpy_function(lambda: chosen(stream.visits()), [], tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(rows, (None, None)))

    return tf.data.Dataset.range(1).flat_map(visits)


def without_python() -> bool:
    """Whether input has to run without Python where it can: for a TPU, in reach or of the strategy this is called under."""
    import tensorflow as tf

    return _under_tpu_strategy() or bool(tf.config.list_physical_devices("TPU"))


def _under_tpu_strategy() -> bool:
    import tensorflow as tf

    return type(tf.distribute.get_strategy()).__name__.startswith("TPUStrategy")


def _joined(arrays: Sequence[Any]) -> np.ndarray:
    """All numbers of arrays of one type, one after the other, where TensorFlow can use them without a copy."""
    parts = [np.ravel(array) for array in arrays]
    size = sum(part.nbytes for part in parts)
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % _ALIGNMENT
    return np.concatenate(parts, out=memory[begin : begin + size].view(parts[0].dtype))


def check_batch_size(batch_size: Any) -> None:
    """UsageError unless a whole number of at least 1."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise UsageError(f"The batch size must be a whole number of at least 1, received {batch_size!r}.")


def check_nan(nan: Any) -> None:
    """UsageError unless one of the three ways to treat slices that are not finite."""
    if nan not in ("skip", "refuse", "zero"):
        raise UsageError(f"nan must be skip, refuse or zero, received {nan!r}.")


def batched(
    dataset: Any, sizes: Counter, batch_size: int, drop_remainder: bool, sized: Callable[[Any], Any] = lambda image: image,
    share: Share = Share(),
) -> Any:
    """Batches of images of one size each, their number known, fetched ahead.

    Args:
        dataset: elements whose first is the image (h, w, channels).
        sizes: how many images of each size one pass yields.
        batch_size, drop_remainder: as in `tf.data.Dataset.batch`.
        sized: what of an element's first part has these sizes.
        share: the part of every batch that `dataset` is; the other arguments are those of whole batches.

    Raises:
        UsageError: not one batch comes together.
    """
    import tensorflow as tf

    count = count_batches(sizes, batch_size, drop_remainder)
    batch_size //= share.count
    if len(sizes) == 1:
        dataset = dataset.batch(batch_size, drop_remainder=drop_remainder)
    else:
        dataset = dataset.group_by_window(
            key_func=lambda first, *_: _size_key(sized(first)),
            reduce_func=lambda _, group: group.batch(batch_size, drop_remainder=drop_remainder),
            window_size=batch_size,
        )
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(tf.data.AUTOTUNE)


def _size_key(image: Any) -> Any:
    """One number for the first three sizes."""
    import tensorflow as tf

    sizes = tf.cast(tf.shape(image)[:3], tf.int64)
    return tf.reduce_sum(sizes * tf.constant([2**40, 2**20, 1], tf.int64)[: tf.size(sizes)])


def count_batches(sizes: Counter, batch_size: int, drop_remainder: bool) -> int:
    """How many batches of one size each come together; UsageError for none."""
    count = sum(n // batch_size if drop_remainder else -(-n // batch_size) for n in sizes.values())
    if not count:
        raise UsageError(f"A batch of {batch_size} is larger than the {sizes.total()} slices there are and the incomplete "
                         "last batch is dropped. Take a smaller batch size.")
    return count

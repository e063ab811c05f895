"""TensorFlow checkpoints (a prefix with an .index and .data files): tensors by name, no object is restored."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import WeightsError, shown

# Names in a checkpoint that are no weights of a network.
_BESIDE = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter", "global_step", "beta1_power", "beta2_power")
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def read_checkpoint(prefix: str) -> dict[str, np.ndarray]:
    """The weights in a TensorFlow checkpoint by name: slots of optimizers, counters and the object graph are left out.

    Raises:
        WeightsError: the files are missing, damaged, or declare more than they hold.
    """
    reader, table = _checkpoint(prefix)
    with _tensorflow_errors(prefix):
        return {name.removesuffix(_VALUE): reader.get_tensor(name) for name, _, _ in table}


def checkpoint_table(prefix: str) -> list[tuple[str, tuple[int, ...], str]]:
    """(name, shape, type) of the weights in a checkpoint."""
    return [(name.removesuffix(_VALUE), shape, kind) for name, shape, kind in _checkpoint(prefix)[1]]


def _checkpoint(prefix: str) -> tuple[Any, list[tuple[str, tuple[int, ...], str]]]:
    import tensorflow as tf

    with _tensorflow_errors(prefix):
        reader = tf.train.load_checkpoint(prefix)
        shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    table = [(name, tuple(shape), types[name].name) for name, shape in sorted(shapes.items())
             if _is_weight(name, types[name])]
    declared = sum(math.prod(shape) * types[name].size for name, shape, _ in table)
    stored = sum(os.path.getsize(part) for part in checkpoint_files(prefix)[1:])
    if declared > stored:
        raise WeightsError(f"{shown(prefix)}: declares {declared} bytes of weights and its files hold {stored}; the "
                           "checkpoint is damaged or incomplete, get all its files again.")
    return reader, table


def _is_weight(name: str, dtype: Any) -> bool:
    if dtype.name == "string" or name.startswith("optimizer/") or "/.OPTIMIZER_SLOT/" in name:
        return False
    return name.removesuffix(_VALUE) not in _BESIDE and name.rpartition("/")[2] not in ("Adam", "Adam_1", "Momentum")


def checkpoint_files(prefix: str) -> list[str]:
    """The index of a checkpoint and its parts, in order."""
    folder, name = os.path.split(prefix)
    parts = sorted(part for part in os.listdir(folder or ".") if part.startswith(f"{name}.data-"))
    return [f"{prefix}.index", *(os.path.join(folder, part) for part in parts)]


@contextmanager
def _tensorflow_errors(prefix: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # its reader turns codes into IndexError and others
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{shown(prefix)}: the TensorFlow checkpoint cannot be read ({reason}). It is damaged or a part "
                           "is missing; get the .index and all .data files again.") from error

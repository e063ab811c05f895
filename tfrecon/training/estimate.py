"""What a run will cost, measured on one step before it begins."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class StepCost:
    """Seconds of a training step, of the first one with its tracing and compiling, and the memory at its peak in bytes.

    `memory` is the device's where there is a GPU, else the whole process's.
    """

    seconds: float
    first_seconds: float
    memory: int


def measure_step(trainer: Any, dataset: Any) -> StepCost:
    """Take two training steps on the first batch and put everything back as it was.

    What Keras traces here serves `fit` as well, so that the measurement costs the two steps alone.

    Args:
        trainer: a compiled training class.
        dataset: batches to train on.
    """
    variables = trainer.every_variable
    before = [variable.numpy() for variable in variables]
    trainer.make_train_function()
    batches = iter(dataset.take(1).cache().repeat(2))
    times = []
    try:
        for _ in range(2):
            began = time.monotonic()
            logs = trainer.train_function(batches)
            next(iter(logs.values())).numpy()  # a device may still be at work when the call returns
            times.append(time.monotonic() - began)
    finally:
        for variable, value in zip(variables, before):
            variable.assign(value)
    return StepCost(times[1], times[0], _peak_memory())


def _peak_memory() -> int:
    if tf.config.list_physical_devices("GPU"):
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
